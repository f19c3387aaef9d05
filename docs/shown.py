"""Run the commands and the code that pages show, and write below each what it printed.

    python -m docs.shown [PAGE...]

A comment above a block asks for its output: `<!-- shown -->`. Commands run in a terminal of 80 columns, from the top of
the page to its end, in an empty directory with `fixtures/` in it; code runs in one namespace. The comment may say more:

- `<!-- shown: lines 1-7 now -->` keeps these lines of the output of each command, and those that begin with that word;
  a number as a word is `=16`.
- `<!-- shown: exit code 3 -->` expects that the last command fails. The others succeed.
- `<!-- shown: measured -->` marks figures that differ from run to run and from machine to machine: the test compares
  the words beside them.
- `<!-- shown: live -->` keeps the last picture that a command drew on its terminal before it took it away. The test
  compares how its lines begin.

Without the name of a page, those that differ in such figures alone, or in points in time, stay as they are.
`tests/docs/test_shown.py` does the same and compares.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import io
import os
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from tests import warm

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = (
    "README.md",
    "docs/tutorial.md",
    "docs/from_dataset_to_training.md",
    "docs/watching.md",
    "docs/traces.md",
    "docs/profiling.md",
    "docs/report.md",
    "docs/causes.md",
    "docs/recommending.md",
    "docs/placement.md",
    "docs/tiers.md",
    "docs/converting.md",
    "docs/fields.md",
    "docs/changing.md",
    "docs/exporting.md",
    "docs/serving.md",
    "docs/caching.md",
    "docs/ready.md",
    "docs/selections.md",
    "docs/mixtures.md",
    "docs/estimate.md",
    "docs/troubleshooting.md",
    "docs/clouds/aws.md",
    "docs/clouds/google.md",
    "docs/clouds/azure.md",
)
COLUMNS: Final = 80
_ROWS: Final = 50
#: Lines of a live view that only some machines have.
_OF_SOME_MACHINES: Final = ("memory", "accelerator")

_SETTING: Final = re.compile(r"\w+=")
_BLOCK: Final = re.compile(
    r"(?:^<!-- shown(?P<how>[^\n]*?) -->\n)?^```(?P<kind>console|python)\n(?P<body>.*?)^```\n"
    r"(?P<output>\n```text\n.*?^```\n)?",
    re.DOTALL | re.MULTILINE,
)


def commands(body: str) -> list[str]:
    """Return the commands of a console block as they are written; one goes on behind a backslash at a line's end."""
    return re.findall(r"^\$ ((?:.*\\\n)*.*)$", body, re.MULTILINE)


def made(page: str) -> str:
    """Return a page with the output that its blocks have now. Run it in an empty directory that holds fixtures/.

    Raises SystemExit if a command ends with another exit code than the page says.
    """
    names: dict[str, Any] = {"__name__": "shown"}

    def block(found: re.Match[str]) -> str:
        how, body = found["how"], found["body"]
        if found["kind"] == "console":
            return found[0].replace(body, _shown(body, how))
        printed = _printed(body, names, wanted=how is not None)
        if how is None or not printed:
            return found[0]
        return found[0].removesuffix(found["output"] or "") + f"\n```text\n{printed}```\n"

    return _BLOCK.sub(block, (ROOT / page).read_text())


def comparable(text: str) -> str:
    """Return a page without the figures of blocks that are measured, and without points in time."""

    def words(found: re.Match[str]) -> str:
        if "live" in (found["how"] or ""):
            first = dict.fromkeys(re.findall(r"^\$ .*|^[a-z]+(?= )", found["body"], re.MULTILINE))
            return "\n".join(word for word in first if word not in _OF_SOME_MACHINES)
        if "measured" not in (found["how"] or ""):
            return found[0]
        return re.sub(r"[ \d.,:%<>-]+(?:[kMGT]?B(?:/s)?|[mu]?s|min)?(?![a-z])", " ", found[0])

    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", _BLOCK.sub(words, text))


def _shown(body: str, how: str | None) -> str:
    """Run the commands of a block; return it with their output, or as it is."""
    expected = int(found[1]) if (found := re.search(r"exit code (\d+)", how or "")) else 0
    which = found[1] if (found := re.search(r"lines ([^,]+)", how or "")) else ""
    asked, parts = commands(body), []
    for number, command in enumerate(asked):
        lines = live(command) if "live" in (how or "") else run(command, expected if number == len(asked) - 1 else 0)
        parts += [f"$ {command}", *kept(lines, which)]
    return body if how is None else "".join(f"{part}\n" for part in parts)


def kept(lines: list[str], which: str) -> Iterator[str]:
    """Give the lines that `which` names by numbers and first words, such as "1-7 now", or all; "..." for each gap."""
    numbers, words = set(), set()
    for part in which.split():
        low, _, high = part.partition("-")
        if low.isdigit():
            numbers |= set(range(int(low), int(high or low) + 1))
        else:
            words.add(part.removeprefix("="))
    gap = False
    for number, line in enumerate(lines, 1):
        if not which or number in numbers or line.split(" ")[0] in words:
            gap = False
            yield line
        elif not gap:
            gap = True
            yield "..."


def run(command: str, expected: int = 0) -> list[str]:
    """Run a command in a terminal, or in a shell where it needs one; return its lines.

    expected: its exit code. Raises SystemExit for another one.
    """
    command = command.replace("\\\n", "")
    words = shlex.split(command)
    settings = dict(word.split("=", 1) for word in takewhile(_SETTING.match, words))
    words = words[len(settings) :]
    if words[0] == "tiering" and not re.search(r"[|&;<>$*`~#]", command):
        code, lines = warm.on_terminal(*words[1:], width=COLUMNS, environment=settings)
    else:
        done = subprocess.run(  # noqa: S602 - the commands of our own pages
            command,
            shell=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment() | {"COLUMNS": str(COLUMNS)},
            check=False,
        )
        code, lines = done.returncode, done.stdout.splitlines()
    if code != expected:
        raise SystemExit(f"{command}: expected exit code {expected}, found {code}\n" + "\n".join(lines))
    return _without_place([line.rstrip() for line in lines])


def live(command: str) -> list[str]:
    """Run a command of a shell in a terminal; return the last picture that it drew there before it took it away."""
    command = command.replace("\\\n", "")
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
    running = subprocess.Popen(  # noqa: S602 - the commands of our own pages
        command,
        shell=True,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=_environment() | {"TERM": "xterm"},
    )
    os.close(theirs)
    parts = []
    with contextlib.suppress(OSError):  # the kernel's way to say that the last process has closed the terminal
        while part := os.read(ours, 1 << 16):
            parts.append(part)
    os.close(ours)
    running.wait()
    text = b"".join(parts).decode().replace("\r\n", "\n")
    drawn, ended, _ = text.rpartition("\x1b[?25h")  # the cursor, which was hidden while the picture stood
    if not ended:
        raise SystemExit(f"{command}: expected a picture, found\n{text}")
    picture = re.sub(r"\x1b\[[0-9;]*m", "", drawn.rpartition("\x1b[2K")[2])
    return [line.rstrip() for line in picture.rstrip().split("\n")]


def _environment() -> dict[str, str]:
    """Return the variables for a shell: it finds the programs of this environment first, and nothing is coloured."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": programs, "NO_COLOR": "1"}


def _without_place(lines: list[str]) -> list[str]:
    """Leave out the directory in which the commands run; fill the lines of an error again, which it made too short."""
    here = f"{Path.cwd()}/"
    begin = next((n for n, line in enumerate(lines) if re.match(r"\w+Error: ", line)), None)
    if begin is not None and here in "".join(lines[begin:]):
        error = " ".join(lines[begin:]).replace(here, "")
        lines = [*lines[:begin], *textwrap.wrap(error, COLUMNS, break_long_words=False, break_on_hyphens=False)]
    lines = [line.replace(here, "") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _printed(code: str, names: dict[str, Any], *, wanted: bool) -> str:
    """Run code; return what it printed, and the value of its last line as a notebook shows it."""
    tree = ast.parse(code)
    last = tree.body.pop() if wanted and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(tree, "<page>", "exec"), names)  # noqa: S102 - the code of our own pages
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<page>", "eval"), names)  # noqa: S307
            if value is not None:
                print(value)  # noqa: T201 - into the page
    return said.getvalue().replace(f"{Path.cwd()}/", "")


@contextlib.contextmanager
def empty_directory() -> Iterator[Path]:
    """Work in an empty directory that holds fixtures/ alone."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("fixtures").symlink_to(ROOT / "fixtures")
        yield Path(place)


def main(pages: list[str], say: Callable[[str], object] = sys.stdout.write) -> None:
    """Make pages again."""
    for page in pages or PAGES:
        with empty_directory():
            text = made(page)
        before = (ROOT / page).read_text()
        changed = text != before if pages else comparable(text) != comparable(before)
        if changed:
            (ROOT / page).write_text(text)
        say(f"{page}: {'written' if changed else 'as it was'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
