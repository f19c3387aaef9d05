"""The report in a real browser: it opens offline, draws every chart, and can be used by everyone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from tests.conftest import FIXTURES
from tiering.cli.app import app

TRACE = FIXTURES / "traces" / "train_loop.strace.gz"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """axe-core's source: `make` puts it into the environment, else npm fetches it here."""
    place = Path(sys.prefix) / "axe"
    script = place / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        place = tmp_path_factory.mktemp("axe")
        npm = shutil.which("npm")
        assert npm, "the test needs npm, for axe-core (Debian: apt install npm)"
        subprocess.run(
            [npm, "install", "--silent", "--no-save", "--no-package-lock", "--prefix", place, "axe-core@4.10"],
            check=True,
        )
        script = place / "node_modules" / "axe-core" / "axe.min.js"
    return script.read_text()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    words = ["report", FIXTURES / "images", TRACE, "-o", path, "--ram", "4GiB"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    found = shutil.which("chromium")
    assert found, "the test needs chromium (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser"), executable_path=found, args=FLAGS, headless=True
        )
        context.set_default_timeout(120_000)
        yield context
        context.close()


def opened(context, path, scheme="light", width=1200):
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url[:80]))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=120_000)
    return page


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_opens_offline_draws_every_chart_and_has_no_accessibility_violation(chromium, report, axe, scheme):
    page = opened(chromium, report, scheme)
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert sum(url.startswith("file:") for url in page.asked) == 1
    marks = page.evaluate(
        "() => [...document.querySelectorAll('[data-figure]')].map(place => [place.dataset.figure,"
        " place.querySelectorAll('.point, .bars path, .lines path, .hm image, path.point').length])"
    )
    assert [name for name, _ in marks] == [
        "sizes", "shapes", "timeline-1", "heat-1", "shares-1", "misses-1", "verdict-1", "pareto",
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


def test_it_fits_a_phone_and_charts_follow_a_change_of_scheme(chromium, report):
    page = opened(chromium, report, width=360)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    back = "() => getComputedStyle(document.querySelector('#sizes .main-svg')).backgroundColor"
    before = page.evaluate(back)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => ({back})() !== before", arg=before)
    assert page.said == []
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
        + "".join(f"{n},read,</script><img src=x onerror=window.ran=1>{n % 3},0,100\n" for n in range(9))
    )
    path = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", str(some_photos), str(trace), "-o", str(path)])
    assert done.exit_code == 0, done.stderr
    page = opened(chromium, path)
    assert page.evaluate("() => window.ran") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.said == []
    page.close()
