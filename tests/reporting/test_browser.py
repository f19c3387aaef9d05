"""The report in a real browser: it opens offline, draws every chart, and can be used by everyone."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.browser import BROKEN_OPTIONS
from tests.conftest import FIXTURES
from tiering.cli.app import app

TRACE = FIXTURES / "traces" / "train_loop.strace.gz"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    words = ["report", FIXTURES / "images", TRACE, "-o", path, "--ram", "4GiB"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return path


def opened(context, path, scheme="light", width=1200):
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url[:80]))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=120_000)
    return page


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_opens_offline_draws_every_chart_and_has_no_accessibility_violation(chromium, report, axe, scheme):
    page = opened(chromium, report, scheme)
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert sum(url.startswith("file:") for url in page.asked) == 1
    marks = page.evaluate(
        "() => [...document.querySelectorAll('[data-figure]')].map(place => [place.dataset.figure,"
        " place.querySelectorAll('.point, path.js-fill, .bars path, .lines path, .hm image, path.point').length])"
    )
    assert [name for name, _ in marks] == [
        "pareto", "timeline-1", "doing-1", "access-sizes-1", "latency-1", "busiest-files-1", "heat-1", "shares-1",
        "misses-1", "verdict-1", "sizes", "shapes",
    ]  # fmt: skip
    assert [name for name, count in marks if count == 0] == []
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document)")
    assert len(found["passes"]) > 15
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in serious] == []
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), pytest.param("dark", 360, marks=pytest.mark.slow)])
def test_fields_have_small_charts(chromium, some_photos, axe, tmp_path, scheme, width):
    keys = sorted(path.relative_to(some_photos).as_posix() for path in some_photos.rglob("*") if path.is_file())
    rows = [f"{key},a,{n % 4},{n / 7},{'word ' * (n % 9)},same" for n, key in enumerate(keys)]
    (some_photos / "list.csv").write_text("path,label,stars,score,caption,kind\n" + "\n".join(rows) + "\n")
    profile, path = tmp_path / "profile.json", tmp_path / "report.html"
    for words in (["profile", some_photos / "list.csv", "-o", profile], ["report", profile, "-o", path]):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.stderr
    page = opened(chromium, path, scheme, width)
    assert page.said == []
    drawn = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.small [data-figure]')].map(place =>"
        " [place.dataset.figure, place.querySelectorAll('.fills path').length]))"
    )
    # All values of `kind` are of one size, so it is in the table alone.
    assert drawn == {"field-stars": 1, "field-score": 1, "field-caption": 1}
    assert page.locator("table:has(caption:text-is('Fields')) tbody tr").count() == 4
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document)")
    assert [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")] == []
    page.close()


#: What lies outside the window or its chart: the page's excess width, labels, and elements that hide a part of theirs.
OUTSIDE = """() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push(['page', document.documentElement.scrollWidth]);
  for (const place of document.querySelectorAll('[data-figure]')) {
    const box = place.getBoundingClientRect();
    if (box.right > innerWidth + 1) found.push([place.dataset.figure, box.right]);
    for (const text of place.querySelectorAll('text')) {
      const it = text.getBoundingClientRect();
      if (it.width && (it.left < box.left - 1 || it.right > box.right + 1 || it.top < box.top - 1
          || it.bottom > box.bottom + 1)) found.push([place.dataset.figure, text.textContent]);
    }
  }
  for (const each of document.querySelectorAll('main *, header *, nav *')) {
    if (each.closest('.scroll, svg, [data-figure]') || !each.clientWidth) continue;
    if (each.scrollWidth > each.clientWidth + 1) found.push([each.tagName, each.className, each.textContent.slice(0, 60)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    place = tmp_path_factory.mktemp("comparison")
    first, second, path = place / "a.json", place / "b.json", place / "report.html"
    other = FIXTURES / "traces" / "sqlite_log.strace"
    for words in (
        ["profile", FIXTURES / "images", "-t", TRACE, "-o", first],
        ["profile", FIXTURES / "images", "-t", other, "-o", second],
        ["report", first, second, "-o", path, "--ram", "4GiB"],
    ):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.stderr
    return path


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_nothing_is_clipped_on_a_phone_a_tablet_and_a_desk(chromium, axe, request, kind, scheme):
    page = opened(chromium, request.getfixturevalue(kind), scheme, 1400)
    for width in (1400, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_selector(f"html[data-drawn='{width} {scheme}']", state="attached")
        assert page.evaluate(OUTSIDE) == [], width
        assert page.evaluate(BROKEN_OPTIONS, "code") == [], width
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document)")
    assert [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")] == []
    assert page.said == []
    page.close()


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_every_chart_fits_a_printed_page(chromium, request, kind):
    page = opened(chromium, request.getfixturevalue(kind), "dark", 1400)
    page.locator("details.part > summary").first.click()
    page.wait_for_function("() => document.querySelector('details.part:not([open])')")
    # A4 without its margins of 14 mm, at 96 pixels an inch.
    width, height = 182 / 25.4 * 96, 269 / 25.4 * 96
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": int(width), "height": int(height)})
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.wait_for_selector("html[data-drawn='print']", state="attached")
    assert page.evaluate(OUTSIDE) == []
    figures = page.evaluate("() => [...document.querySelectorAll('figure')].map(each => each.offsetHeight)")
    assert min(figures) > 0
    assert max(figures) < height
    back = page.evaluate("() => getComputedStyle(document.querySelector('.main-svg')).backgroundColor")
    assert back == "rgb(255, 255, 255)"
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.part:not([open])").count() == 1
    assert page.said == []
    page.close()


def test_charts_follow_a_change_of_scheme(chromium, report):
    page = opened(chromium, report)
    back = "() => getComputedStyle(document.querySelector('#sizes .main-svg')).backgroundColor"
    before = page.evaluate(back)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => ({back})() !== before", arg=before)
    assert page.said == []
    page.close()


def test_a_chart_is_downloaded_and_zoomed(chromium, report):
    page = opened(chromium, report)
    tools = page.locator("#timeline-1 .tools")
    got = {}
    for kind in ("SVG", "PNG", "CSV"):
        with page.expect_download() as waiting:
            tools.get_by_text(kind, exact=True).click()
        got[kind] = (waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes())
    assert got["SVG"][0] == "timeline-1.svg"
    assert got["SVG"][1].startswith(b"<svg")
    assert got["PNG"][1].startswith(b"\x89PNG")
    lines = got["CSV"][1].decode().splitlines()
    assert lines[0] == "series,time since the trace began (s),rate (B/s)"
    assert len(lines) > 100
    seen = "() => document.querySelector('[data-figure=timeline-1]').layout.xaxis.range"
    before = page.evaluate(seen)
    tools.get_by_label("Zoom in").click()
    page.wait_for_function(f"before => ({seen})()[1] - ({seen})()[0] < 0.6 * (before[1] - before[0])", arg=before)
    assert page.said == []
    page.close()


def test_a_link_opens_the_section_that_it_leads_to(chromium, report):
    page = opened(chromium, report)
    page.locator("#dataset > details > summary").click()
    assert not page.locator("#sizes").is_visible()
    page.evaluate("() => { location.hash = 'sizes'; }")
    page.locator("#sizes .main-svg").first.wait_for()
    for link in page.evaluate("() => [...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))"):
        assert page.locator(f"[id='{link}']").count() == 1, link
    page.close()


def test_the_keyboard_reaches_the_content_and_the_data_of_a_chart(chromium, report):
    page = opened(chromium, report)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.locator("#sizes summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#sizes table").is_visible()
    page.close()


def test_a_hostile_name_is_shown_and_not_run(chromium, some_photos, tmp_path):
    first = min(p for p in some_photos.rglob("*") if p.is_file())
    first.rename(first.parent / "<img src=x onerror=window.ran=1>.jpg")
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "time,op,file,offset,size\n"
        + "".join(f"{n},read,</script><img src=x onerror=window.ran=1>{n % 3},0,{n + 1}12345678\n" for n in range(9))
    )
    path = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", str(some_photos), str(trace), "-o", str(path)])
    assert done.exit_code == 0, done.stderr
    page = opened(chromium, path)
    assert page.evaluate("() => window.ran") is None
    assert page.locator("img[src=x]").count() == 0
    # Neither long names with blanks nor large numbers leave their chart on a phone.
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_selector("html[data-drawn='390 light']", state="attached")
    assert page.evaluate(OUTSIDE) == []
    assert page.said == []
    page.close()
