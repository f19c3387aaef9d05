"""Help on a command: how to type it, what it does, an example, and its options in panels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group as Stack
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text
from typer import Context
from typer.core import TyperArgument, TyperCommand, TyperGroup

from tiering.cli.output import out
from tiering.cli.panels import OUTPUT, PROGRAM
from tiering.cli.prose import wrapped

#: Columns of a wide terminal that help uses: longer lines are hard to read.
_WIDEST: Final = 100
#: Columns of names and values of options. What is longer gets a line of its own.
_NAMES: Final = 26
#: Columns of a panel's borders and padding.
_EDGES: Final = 4
_EXAMPLE: Final = "Example: "


def show_help(command: TyperCommand | TyperGroup, context: Context) -> None:
    """Print the help of a command, or of a group of commands."""
    console = out()
    console.width = min(shutil.get_terminal_size().columns, _WIDEST)
    width = console.width - 2
    parts: list[Any] = [Text(line, style="bold") for line in wrapped(f"Usage: {_usage(command, context)}", width, 7)]
    for paragraph in (command.help or "").split("\n\n"):
        text = " ".join(paragraph.split()).replace("`", "")
        style = "green" if text.startswith(_EXAMPLE) else ""
        parts += [Text()] + [Text(line, style=style) for line in _sentence(text, width)]
    console.print(Padding(Stack(*parts), (1, 1)))
    for title, rows in _panels(command, context).items():
        body = Text("\n").join(_lines(rows, console.width - _EDGES))
        console.print(Panel(body, title=escape(title), title_align="left", border_style="dim", width=console.width))
    if command.epilog:
        console.print(Padding(Stack(*(Text(line) for line in wrapped(command.epilog, width))), (1, 1)))


def _sentence(text: str, width: int) -> list[str]:
    """Return the lines of a paragraph. An example that is too long goes on after a backslash, so it can be copied."""
    if not text.startswith(_EXAMPLE):
        return wrapped(text, width)
    lines = wrapped(text, width - 2, len(_EXAMPLE))
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _usage(command: TyperCommand | TyperGroup, context: Context) -> str:
    words = [context.command_path, "[OPTIONS]"]
    if isinstance(command, TyperGroup):
        return " ".join([*words, "COMMAND ..."])
    for each in command.params:
        if isinstance(each, TyperArgument):
            name = _value(each)
            words.append(name if each.required else f"[{name}]")
    return " ".join(words)


#: A row of a panel: what is typed, and what it means.
_Row = tuple[str, Text]


def _panels(command: TyperCommand | TyperGroup, context: Context) -> dict[str, list[_Row]]:
    """Return the rows of each panel: commands, arguments, options as declared; results and help last."""
    found: dict[str, list[_Row]] = {}
    help_row: list[_Row] = []
    for each in command.get_params(context):
        if getattr(each, "hidden", False):
            continue
        if isinstance(each, TyperArgument):
            found.setdefault("Arguments", []).append((_value(each), _meaning(each, context)))
        elif each.name == "help":
            help_row = [(_names(each), Text("Show this help and exit."))]
        else:
            panel = getattr(each, "rich_help_panel", None) or PROGRAM
            found.setdefault(panel, []).append((_names(each), _meaning(each, context)))
    last = PROGRAM if isinstance(command, TyperGroup) else OUTPUT
    found[last] = [*found.pop(last, ()), *help_row]
    return {**_commands(command, context), **found} if isinstance(command, TyperGroup) else found


def _commands(group: TyperGroup, context: Context) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for name in group.list_commands(context):
        if each := group.get_command(context, name):
            purpose = Text((each.help or "").split("\n\n")[0].replace("\n", " "))
            found.setdefault(getattr(each, "rich_help_panel", None) or "Commands", []).append((name, purpose))
    return found


def _names(option: Any) -> str:
    """Return how an option is typed: `-o, --output FILE`."""
    names = sorted(option.opts, key=len)
    text = ", ".join(names) + "".join(f"/{name}" for name in option.secondary_opts)
    return text if option.is_flag else f"{text} {_value(option)}"


def _value(parameter: Any) -> str:
    """Return what stands for the value of a parameter: SIZE, or lmdb|zarr."""
    return str(parameter.metavar or parameter.name.upper())


def _meaning(parameter: Any, context: Context) -> Text:
    """Return the help of a parameter, with its default."""
    text = Text((parameter.help or "").replace("`", ""))
    if parameter.required and not isinstance(parameter, TyperArgument):
        text.append(" [required]", style="dim red")
    if parameter.show_default and not getattr(parameter, "is_flag", False):
        default = parameter.get_default(context, call=False)
        if default not in (None, ""):
            text.append(f" [default: {getattr(default, 'value', default)}]", style="dim")
    if parameter.envvar and getattr(parameter, "show_envvar", True):
        text.append(f" [env: {parameter.envvar}]", style="dim")
    return text


def _lines(rows: list[_Row], width: int) -> Iterator[Text]:
    """Yield the lines of a panel's rows, each in two columns."""
    names = min(_NAMES, max(len(name) for name, _ in rows) + 2)
    for name, meaning in rows:
        left = Text(name, style="bold cyan")
        if len(name) > names - 2:
            yield left
            left = Text()
        for line in _folded(meaning, width - names):
            left.pad_right(names - len(left))
            yield left + line
            left = Text()


def _folded(text: Text, width: int) -> list[Text]:
    """Return a styled text in lines, broken at spaces only."""
    lines, start = [], 0
    for line in wrapped(text.plain, width):
        begin = text.plain.index(line, start)
        start = begin + len(line)
        lines.append(text[begin:start])
    return lines
