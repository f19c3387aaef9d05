"""What mkdocs does to pages beside its plugins.

Pages that other programs write begin with whom they are for, too. No line breaks within an option of a command.
"""

from __future__ import annotations

import re
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


def on_page_content(html: str, /, **_: Any) -> str:
    """Keep each option such as --short-side on one line: a browser would break it behind a hyphen."""
    parts = re.split(r"(<[^>]*>)", html)
    for at in range(0, len(parts), 2):  # text lies between tags
        parts[at] = re.sub(r"(?<![\w-])--?[a-z][\w-]*", r'<span class="option">\g<0></span>', parts[at])
    return "".join(parts)
