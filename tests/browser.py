"""Chromium, and axe-core, which finds what keeps people from using a page."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_FLAGS = [
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
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser, as a context of playwright's."""
    # Imported here, by the few workers that run these tests.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    found = shutil.which("chromium")
    assert found, "the test needs chromium (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser"), executable_path=found, args=_FLAGS, headless=True
        )
        context.set_default_timeout(120_000)
        yield context
        context.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
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


#: Options such as --short-side that stand on two lines, in elements that a selector names.
BROKEN_OPTIONS = """selector => {
  const found = [];
  for (const place of document.querySelectorAll(selector)) {
    const walk = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      for (const option of walk.currentNode.data.matchAll(/(?<![\\w-])--?[a-z][\\w-]*/g)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, option.index);
        range.setEnd(walk.currentNode, option.index + option[0].length);
        if (new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1) found.push(option[0]);
      }
    }
  }
  return found;
}"""


def serious(page: Any, axe: str) -> list[tuple[str, list[str]]]:
    """Return what axe-core finds on a page that is serious or critical: its rules, and some of the elements."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
