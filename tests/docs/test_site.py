"""The built site: whom its pages are for, where its links lead, and how it looks and works in a browser."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

import tiering
from docs import site_hooks
from tests.browser import BROKEN_OPTIONS, serious
from tests.once import made_once

ROOT = Path(tiering.__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
WIDTHS = (1400, 768, 390)
#: For every run: outcomes, prose with code, and tables with long output. Each page is looked at below.
SOME = ("", "clusters/", "clouds/aws/")


def text(path: Path) -> str:
    """Return a page as the site has it."""
    file = SimpleNamespace(src_uri=path.relative_to(ROOT / "docs").as_posix())
    page = SimpleNamespace(file=file, is_homepage=False, meta={})
    return site_hooks.on_page_markdown(path.read_text(), page=page)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix())
def test_the_first_paragraph_of_a_page_says_whom_it_is_for(path):
    title, first, *_ = re.split(r"\n{2,}", text(path))
    assert title.startswith("# ")
    assert first.startswith("This page is for ")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site, built as `make docs` does."""

    def build(place):
        words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
        done = subprocess.run(
            words, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "site", build)


class Links(HTMLParser):
    """The places on a page, and where its links and its parts are."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name"):
                self.places.add(value)
            elif name in ("href", "src"):
                self.links.add(value)


def test_every_link_of_the_site_leads_somewhere(built):
    pages = {
        f"/{path.parent.relative_to(built).as_posix()}/".replace("/./", "/"): Links(path.read_text())
        for path in built.rglob("index.html")
    }
    assert len(pages) >= len(PAGES)
    broken = []
    for address, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target, place = urldefrag(urljoin(address, link))
            if target in pages:
                if place and unquote(place) not in pages[target].places:
                    broken.append((address, link))
            elif not (built / unquote(target).lstrip("/")).is_file():
                broken.append((address, link))
    assert broken == []


@pytest.fixture(scope="module")
def address(built):
    """The site on a web server of its own: search needs one."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=built))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(chromium, address):
    """Open a page of the site; `said` is what its console and the server complained about."""
    page = chromium.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("response", lambda answer: page.said.append(answer.url) if answer.status >= 400 else None)
    page.on("request", lambda request: page.said.append(request.url) if address not in request.url else None)
    yield page
    page.close()


#: What is wider than the window or than its own place. Tables scroll at every width; code on a phone and a tablet alone.
WIDER = """() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push(['page', document.documentElement.scrollWidth]);
  for (const each of document.querySelectorAll('.md-content *')) {
    if (!each.clientWidth || each.closest('.md-typeset__scrollwrap') || (innerWidth < 1220 && each.closest('pre'))) continue;
    const clipped = each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX != 'visible';
    if (clipped || each.getBoundingClientRect().right > innerWidth + 1)
      found.push([each.tagName, each.className, each.textContent.slice(0, 60)]);
  }
  return found.slice(0, 5);
}"""


def check(page, address, name, axe, schemes=("light", "dark")):
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{address}{name}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(WIDER) == [], (name, width)
            assert page.evaluate(BROKEN_OPTIONS, ".md-content") == [], (name, width)
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        # Colours pass from those of one width to those of another.
        page.wait_for_function("document.getAnimations().every(each => each.playState != 'running')")
        assert serious(page, axe) == [], (name, scheme)
        assert page.said == [], (name, scheme)


def test_pages_fit_every_screen_and_can_be_used_by_everyone(opened, address, axe):
    for number, name in enumerate(SOME):
        # Each page in one scheme here, and in both below.
        check(opened, address, name, axe, ("light", "dark")[number % 2 :][:1])


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix())
def test_a_page_fits_every_screen_in_light_and_dark(opened, address, axe, path):
    name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    check(opened, address, "" if name == "index" else f"{name}/", axe)


def test_the_search_finds_a_page_by_its_words(opened, address):
    opened.set_viewport_size({"width": 1400, "height": 900})
    opened.goto(address)
    opened.locator(".md-search__input").fill("torchrun nodes")
    found = opened.locator(".md-search-result__link", has_text="torchrun over nodes").first
    found.click()
    opened.wait_for_url("**/clusters/**")
    assert opened.locator("h2#torchrun-over-nodes").is_visible()
    assert opened.said == []


def test_the_python_reference_shows_names_with_their_signatures(built):
    page = (built / "reference/api/index.html").read_text()
    for name in ("convert", "Loader", "recommend"):
        signature = re.search(
            rf'<span class="n[cf]">{name}</span><span class="p">\(</span>(.*?)</code>', page, re.DOTALL
        )
        words = re.sub(r"<[^>]*>", "", signature[1])
        assert {"convert": "store: str", "Loader": "batch_size: int", "recommend": "profile:"}[name] in words
