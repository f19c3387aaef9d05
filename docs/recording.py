"""Draw the picture at the top of README: a session in a terminal, recorded from real output, for light and dark pages.

    python -m docs.recording

The first command stands there with its answer; the lines of the others appear one after the other. Viewers that animate
nothing, and readers who asked for less motion, see all of them.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from docs.shown import COLUMNS, ROOT, empty_directory, kept, run

IMAGES: Final = ROOT / "docs" / "images"
_ADVICE: Final = """\
tiering recommend fixtures/profiles/photographs.json --tier nfs --ram 64GiB \\
  --threads 48 --cpus 48 --accelerator h100 --accelerators-per-node 8 --reencode"""
#: What README's first story shows: commands, and the lines of their output that are kept.
SESSION: Final = (
    ("tiering classify fixtures/traces/dataloader.kineto.json.gz", "6-9"),
    (_ADVICE, "1-3 5-7 now"),
    ("tiering convert fixtures/images small.lmdb --to lmdb --short-side 256", ""),
)


class Colours(NamedTuple):
    """What a picture is drawn in."""

    ground: str
    frame: str
    text: str
    prompt: str
    command: str
    answer: str


LIGHT: Final = Colours("#ffffff", "#d0d7de", "#424a53", "#0f766e", "#1f2328", "#8250df")
DARK: Final = Colours("#0d1117", "#30363d", "#b1bac4", "#2dd4bf", "#f0f6fc", "#d2a8ff")

_FONTS: Final = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'
_STEP: Final = 18  # pixels a line
_SIDE: Final = 16
_LETTER: Final = 7.8  # pixels wide, at 13 pixels in any monospaced font
_TYPED: Final = 0.012  # s a letter
_PAUSE: Final = 0.8  # s in which an answer is read before the next command


def session() -> list[tuple[str, bool]]:
    """Run the session in an empty directory; return its lines, and whether each was typed."""
    lines: list[tuple[str, bool]] = []
    for command, which in SESSION:
        lines += [(line, True) for line in f"$ {command}".split("\n")]
        lines += [(line, False) for line in kept(run(command), which) if line != "..."]
        lines.append(("", False))
    return lines[:-1]


def picture(lines: list[tuple[str, bool]], colours: Colours) -> str:
    """Draw lines as an SVG document."""
    width, height = round(COLUMNS * _LETTER + 2 * _SIDE), len(lines) * _STEP + 2 * _SIDE
    drawn, now, waited = [], 0.0, True
    for row, (line, typed) in enumerate(lines):
        if typed and not waited:
            now += _PAUSE
        waited = typed
        if not line:
            continue
        place = f'x="{_SIDE}" y="{_SIDE + _STEP * row + 13}"'
        if not now:
            drawn.append(f"<text {place}>{_coloured(line, typed)}</text>")
            continue
        seconds = _TYPED * len(line) if typed else 0.05
        moving = f"typed {seconds:.2f}s steps({len(line)}) {now:.2f}s" if typed else f"shown {seconds}s {now:.2f}s"
        drawn.append(f'<text {place} style="animation: {moving} backwards">{_coloured(line, typed)}</text>')
        now += seconds
    words = escape(" ".join(line for line, typed in lines if typed))
    body = "\n".join(drawn)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    rim = f'x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" xml:space="preserve">
<title>A session in a terminal: {words}</title>
<style>
text {{ font: 13px {_FONTS}; fill: {colours.text}; white-space: pre }}
.prompt {{ fill: {colours.prompt} }}
.command {{ fill: {colours.command}; font-weight: 600 }}
.answer {{ fill: {colours.answer} }}
@keyframes shown {{ from {{ opacity: 0 }} }}
@keyframes typed {{ from {{ clip-path: inset(0 100% 0 0) }} to {{ clip-path: inset(0 0 0 0) }} }}
@media (prefers-reduced-motion: reduce) {{ text {{ animation: none !important }} }}
</style>
<rect {rim} fill="{colours.ground}" stroke="{colours.frame}"/>
{body}
</svg>
"""


def _coloured(line: str, typed: bool) -> str:
    if typed:
        prompt, rest = ("$ ", line[2:]) if line.startswith("$ ") else ("", line)
        return f'<tspan class="prompt">{prompt}</tspan><tspan class="command">{escape(rest)}</tspan>'
    kind = ' class="answer"' if line.startswith(("->", "now")) else ""
    return f"<tspan{kind}>{escape(line)}</tspan>"


def pictures() -> dict[Path, str]:
    """Return both pictures, by their files. Runs the session in an empty directory that holds fixtures/."""
    lines = session()
    return {
        IMAGES / "session-light.svg": picture(lines, LIGHT),
        IMAGES / "session-dark.svg": picture(lines, DARK),
    }


def main() -> None:
    """Draw both."""
    with empty_directory():
        made = pictures()
    for path, text in made.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
