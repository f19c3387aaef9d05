"use strict";
(async () => {
  const light = { back: "#ffffff", text: "#1b1f24", grid: "#d5dbe1", c1: "#0b65b8", c2: "#b34700", c3: "#17703a", c4: "#c3cad2", c5: "#7a3e9d",
    heat: [[0, "#dcebf8"], [0.5, "#4a8fce"], [1, "#0a2f5c"]] };
  const dark = { back: "#14171b", text: "#e8ebee", grid: "#39424c", c1: "#6cb4f5", c2: "#f5a35c", c3: "#66d08f", c4: "#4a545f", c5: "#c9a0ea",
    heat: [[0, "#1b3550"], [0.5, "#4a94d8"], [1, "#e4f2ff"]] };
  const dim = matchMedia("(prefers-color-scheme: dark)");
  const fine = matchMedia("(pointer: fine)").matches;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures"), tables = read("csv");
  const places = [...document.querySelectorAll("[data-figure]")];
  // Colours are named in the figures under these keys alone, so that no label is ever taken for one.
  const named = new Set(["color", "colorscale", "fillcolor"]);
  const paint = (figure, theme) => JSON.parse(JSON.stringify(figure, (key, value) =>
    named.has(key) && typeof value === "string" && value in theme ? theme[value] : value));
  // Where there is little room, a path keeps its end, and words go on two lines.
  const shorter = (label, room) => {
    if (label.length <= room) return label;
    if (!label.includes(" ") || label.includes("/") || label.startsWith("…")) return "…" + label.slice(1 - room);
    const at = label.lastIndexOf(" ", Math.max(room, label.indexOf(" ")));
    const rest = label.slice(at + 1);
    return label.slice(0, at) + "<br>" + (rest.length > room ? rest.slice(0, room - 1) + "…" : rest);
  };
  const narrowed = (axis, labels, width) => {
    const room = Math.max(10, Math.floor(width * 0.32 / 7));
    const vals = axis.tickvals || labels, texts = axis.ticktext || labels;
    return { ...axis, tickmode: "array", tickvals: vals, ticktext: texts.map((text) => shorter(String(text), room)) };
  };
  const bytes = (size) => {
    const step = Math.min(6, Math.max(0, Math.floor(Math.log10(size) / 3)));
    return `${Number((size / 1000 ** step).toPrecision(3))} ${["B", "kB", "MB", "GB", "TB", "PB", "EB"][step]}`;
  };
  let print = false;
  const drawOne = (place) => {
    const theme = dim.matches && !print ? dark : light;
    const figure = paint(figures[place.dataset.figure], theme);
    const axis = { gridcolor: theme.grid, linecolor: theme.grid, zerolinecolor: theme.grid, color: theme.text };
    const width = print ? (place.closest(".small") ? 300 : 640) : place.clientWidth;
    if (!width) return null; // In a section that is folded: drawn when it opens.
    const layout = { ...figure.layout, paper_bgcolor: theme.back, plot_bgcolor: theme.back, width,
      font: { color: theme.text, size: 13, family: 'system-ui, "DejaVu Sans", sans-serif' },
      margin: { l: 56, r: 20, t: 16, b: 48 }, hoverlabel: { namelength: -1 },
      dragmode: fine ? "zoom" : false, xaxis: { ...axis, ...figure.layout.xaxis }, yaxis: { ...axis, ...figure.layout.yaxis } };
    layout.xaxis.title = { ...layout.xaxis.title, standoff: 10 };
    layout.yaxis.title = { ...layout.yaxis.title, standoff: 12 };
    if (layout.yaxis.type === "category") layout.yaxis = narrowed(layout.yaxis, figure.data[0].y, width);
    // Labels such as 200k would run into each other.
    if (layout.xaxis.type === "log") layout.xaxis.nticks = Math.max(2, Math.floor((width - 76) / 94));
    // The number beside a bar needs room in pixels, however wide the chart is.
    if (figure.data[0].orientation === "h") {
      const most = Math.max(...figure.data[0].x.map(Number)) || 1, plot = Math.max(60, width * 0.62);
      const longest = Math.max(...figure.data[0].text.map((text) => text.length));
      layout.xaxis.nticks = Math.max(3, Math.floor(plot / 70));
      layout.xaxis.range = [0, most * plot / Math.max(30, plot - 14 - 8 * longest)];
    }
    if (figure.data[0].type === "heatmap") figure.data[0].text = figure.data[0].z.map((row) => row.map((power) => power === null ? "nothing" : bytes(10 ** power)));
    if (layout.showlegend) {
      // A legend above the chart takes a row for as many entries as there is room for.
      const wide = figure.data.reduce((sum, each) => sum + 46 + 7.5 * String(each.name).length, 0);
      layout.margin.t = 22 + 20 * Math.ceil(wide / (width - 76));
      layout.legend = { orientation: "h", y: 1, yref: "container", yanchor: "top", x: 1, xanchor: "right" };
    }
    if (layout.annotations && layout.annotations.length) {
      // A label takes some 60 px: on a phone there is not room for all.
      const times = figure.data[0].x, scale = (width - 76) / times[times.length - 1];
      let last = -Infinity;
      layout.annotations = layout.annotations.filter(({ x }) => x * scale - last >= 60 && x * scale < width - 110 && ((last = x * scale), true));
      layout.margin.t += 18;
    }
    return Plotly.react(place, figure.data, layout, { displayModeBar: false, displaylogo: false });
  };
  const draw = async () => {
    await Promise.all(places.map((place) => drawOne(place)));
    document.documentElement.dataset.drawn = print ? "print" : `${innerWidth} ${dim.matches ? "dark" : "light"}`;
  };

  const save = (content, name, kind) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: kind }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const picture = async (place, format) => {
    const size = { width: 900, height: place.layout.height };
    const made = await Plotly.toImage(place, { format, ...size, scale: format === "png" ? 2 : 1 });
    if (format === "svg") return save(decodeURIComponent(made.slice(made.indexOf(",") + 1)), `${place.dataset.figure}.svg`, "image/svg+xml");
    const bytes = Uint8Array.from(atob(made.slice(made.indexOf(",") + 1)), (c) => c.charCodeAt(0));
    return save(bytes, `${place.dataset.figure}.png`, "image/png");
  };
  const zoom = (place, factor) => {
    const [low, high] = place._fullLayout.xaxis.range, middle = (low + high) / 2, half = (high - low) / 2 * factor;
    return Plotly.relayout(place, { "xaxis.range": [middle - half, middle + half], "xaxis.autorange": false });
  };
  const reset = (place) => drawOne(place);
  const csv = (place) => save(tables[place.dataset.figure].join("\r\n") + "\r\n", `${place.dataset.figure}.csv`, "text/csv");
  const tools = (place) => {
    const bar = place.parentElement.querySelector(".tools");
    const add = (words, label, act) => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = words; button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      bar.append(button);
    };
    const { data, layout } = figures[place.dataset.figure];
    if (data[0].type !== "bar") {
      add("+", "Zoom in", () => zoom(place, 0.5));
      add("−", "Zoom out", () => zoom(place, 2));
      add("Reset", "Reset the zoom", () => reset(place));
    }
    add("SVG", "Download as SVG", () => picture(place, "svg"));
    add("PNG", "Download as PNG", () => picture(place, "png"));
    add("CSV", "Download the data as CSV", () => csv(place));
    bar.hidden = false;
  };
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const folded = target.closest("details:not([open])") || target.querySelector("details.part:not([open])");
    if (folded) { folded.open = true; target.scrollIntoView(); }
  };
  try {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    places.forEach(tools);
    await draw();
    dim.addEventListener("change", () => draw());
    let waiting = 0, width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(waiting);
      waiting = setTimeout(() => draw(), 100);
    });
    document.querySelectorAll("details.part").forEach((part) => part.addEventListener("toggle", () => {
      if (part.open) part.querySelectorAll("[data-figure]").forEach((place) => drawOne(place));
    }));
    let folded = [];
    addEventListener("beforeprint", () => {
      folded = [...document.querySelectorAll("details.part:not([open])")];
      folded.forEach((part) => { part.open = true; });
      print = true;
      draw();
    });
    addEventListener("afterprint", () => { folded.forEach((part) => { part.open = false; }); print = false; draw(); });
    addEventListener("hashchange", unfold);
    unfold();
    if (location.hash.length > 1) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  } catch (error) {
    const failure = document.getElementById("failure");
    failure.textContent = `The charts cannot be drawn in this browser (${error.message}). Their tables are below each heading.`;
    failure.hidden = false;
    throw error;
  }
})();
