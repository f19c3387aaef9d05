"""What mkdocs does to pages that other programs write: they, too, begin with whom they are for."""

from __future__ import annotations

from typing import Any, Final

#: Their titles, and whom they are for.
_BEGINNINGS: Final = {
    "reference/cli.md": (
        "Command line",
        "This page is for those who look up a command, a flag or its default. `tiering COMMAND --help` says the same.",
    ),
}


def on_page_markdown(markdown: str, /, *, page: Any, **_: Any) -> str:
    """Put the readers of a generated page below its title, and leave out the home page's menu, which has one entry."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri not in _BEGINNINGS:
        return markdown
    title, readers = _BEGINNINGS[page.file.src_uri]
    return f"# {title}\n\n{readers}\n{markdown.partition(chr(10))[2]}"
