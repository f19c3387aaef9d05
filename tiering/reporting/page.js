"use strict";
(async () => {
  const light = { back: "#ffffff", text: "#1b1f24", grid: "#d5dbe1", c1: "#0b65b8", c2: "#b34700", c3: "#17703a",
    heat: [[0, "#dcebf8"], [0.5, "#4a8fce"], [1, "#0a2f5c"]] };
  const dark = { back: "#14171b", text: "#e8ebee", grid: "#39424c", c1: "#6cb4f5", c2: "#f5a35c", c3: "#66d08f",
    heat: [[0, "#1b3550"], [0.5, "#4a94d8"], [1, "#e4f2ff"]] };
  const dim = matchMedia("(prefers-color-scheme: dark)");
  const fine = matchMedia("(pointer: fine)").matches;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  // Colours are named in the figures under these keys alone, so that no label is ever taken for one.
  const paint = (figure, theme) => JSON.parse(JSON.stringify(figure, (key, value) =>
    (key === "color" || key === "colorscale") && typeof value === "string" && value in theme ? theme[value] : value));
  const draw = (theme) => Promise.all([...document.querySelectorAll("[data-figure]")].map((place) => {
    const figure = paint(figures[place.dataset.figure], theme);
    const axis = { gridcolor: theme.grid, linecolor: theme.grid, zerolinecolor: theme.grid, color: theme.text };
    const layout = { ...figure.layout, paper_bgcolor: theme.back, plot_bgcolor: theme.back, autosize: true,
      font: { color: theme.text, size: 13, family: 'system-ui, "DejaVu Sans", sans-serif' },
      margin: { l: 56, r: 16, t: 34, b: 48 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
      dragmode: fine ? "zoom" : false, xaxis: { ...axis, ...figure.layout.xaxis }, yaxis: { ...axis, ...figure.layout.yaxis } };
    if (layout.annotations && layout.annotations.length) {
      // A label takes some 60 px: on a phone there is not room for all.
      const times = figure.data[0].x, scale = (place.clientWidth - 72) / times[times.length - 1];
      let last = -Infinity;
      layout.annotations = layout.annotations.filter(({ x }) => x * scale - last >= 60 && ((last = x * scale), true));
      layout.legend = { ...layout.legend, y: 1.1 }; layout.margin.t = 64;
    }
    return Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false, displaylogo: false });
  }));
  try {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    await draw(dim.matches ? dark : light);
    dim.addEventListener("change", () => draw(dim.matches ? dark : light));
    addEventListener("beforeprint", () => { draw(light); });
    addEventListener("afterprint", () => { draw(dim.matches ? dark : light); });
    document.documentElement.dataset.drawn = "yes";
  } catch (error) {
    const failure = document.getElementById("failure");
    failure.textContent = `The charts cannot be drawn in this browser (${error.message}). Their tables are below each heading.`;
    failure.hidden = false;
    throw error;
  }
})();
