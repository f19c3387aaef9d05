"""Compare two reports side by side: before and after packing, or two jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tiering.reporting.advice import in_words
from tiering.reporting.comparison_charts import of_both
from tiering.reporting.content import Content, Reported, gather
from tiering.reporting.frame import Section, render
from tiering.storage.output_file import write_output
from tiering.units import (
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
    format_usd,
)

#: The columns of a comparison.
COLUMNS: Final = ("figure", "A", "B", "B / A")


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of both sides. value of a side that does not have it: None."""

    what: str
    first: float | None
    second: float | None
    write: Callable[[float], str]

    @property
    def row(self) -> tuple[str, ...]:
        """The figure as a row of COLUMNS."""
        ratio = "-"
        if self.first and self.second is not None:
            change = self.second / self.first
            ratio = "<0.001 x" if 0 < change < 0.001 else f"{format_number(change)} x"
        return (self.what, *("-" if each is None else self.write(each) for each in (self.first, self.second)), ratio)


def write_comparison(
    first: Reported | Content,
    second: Reported | Content,
    output: str | os.PathLike[str],
    *,
    lenient: bool = False,
    columns: str | None = None,
    command: str = "",
    wording: Callable[[str], str] | None = None,
) -> None:
    """Write one HTML file that shows two datasets with their traces side by side.

    Args:
        first: A profile.json, an advice.json, a directory of images, or a packed store; a path or a URL. Or the
            Profile or SavedAdvice itself.
        second: The same, to compare with it.
        output: The file to write. It appears complete or not at all, and replaces an existing one.
        lenient: Count damaged lines of a trace, and skip them.
        columns: Columns of a trace that is a table, as for `profile_trace`.
        command: The command line to name in the report, if there is one.
        wording: As for write_report.

    Raises:
        UsageError: The extra `report` is not installed.
        InputError: One of the two cannot be read.
        OSError: The file cannot be written.

    Example:
        >>> tiering.write_comparison("before.json", "after.json", "report.html")  # doctest: +SKIP
    """
    sides = [
        each
        if isinstance(each, Content)
        else gather(each, lenient=lenient, columns=columns, command=command, pictures=False)
        for each in (first, second)
    ]
    write_output(output, comparison_page(sides[0], sides[1], wording))


def comparison_sections(first: Content, second: Content) -> list[Section]:
    """Return the sections of a comparison with their charts, in the order of the page."""
    return [("charts", "Charts of both", of_both(first, second))]


def comparison_page(first: Content, second: Content, wording: Callable[[str], str] | None = None) -> str:
    """Return the comparison as one HTML document. Raises UsageError if the extra `report` is not installed."""
    sections = comparison_sections(first, second)
    rows = list(figures_of(first, second))
    return render(
        "comparison.html.jinja",
        title=f"{_name(first)} and {_name(second)}",
        contents=[("figures-of-both", "Figures of both", []), *sections, ("sides", "Each by itself", [])],
        origin=first.origin,
        lessons=_lessons(rows),
        columns=COLUMNS,
        rows=[each.row for each in rows],
        charts=sections[0][2],
        sides=[
            ("A", first, in_words(first.saved, wording) if first.saved is not None else None),
            ("B", second, in_words(second.saved, wording) if second.saved is not None else None),
        ],
    )


def _name(content: Content) -> str:
    if content.profile.dataset is not None:
        return content.profile.dataset.root
    return content.traces[0].profile.source if content.traces else content.title


def _lessons(rows: Sequence[Compared]) -> list[str]:
    """Return sentences on the figures that differ most, at most three."""
    known = [each for each in rows if each.first and each.second]
    by_size = sorted(known, key=lambda each: -max(_ratio(each), 1 / _ratio(each)))
    made = []
    for each in by_size[:3]:
        if max(_ratio(each), 1 / _ratio(each)) < 1.05:
            break
        made.append(f"{each.what}: {each.write(each.first or 0)} in A, {each.write(each.second or 0)} in B.")
    return made


def _ratio(each: Compared) -> float:
    return (each.second or 1.0) / (each.first or 1.0)


def figures_of(first: Content, second: Content) -> Iterator[Compared]:
    """Yield every figure that at least one side has. Of several traces, the first counts."""
    for what, read, write in _FIGURES:
        values = read(first), read(second)
        if any(value is not None for value in values):
            yield Compared(what, *values, write)


def _of_dataset(name: str) -> Callable[[Content], float | None]:
    return lambda content: None if content.profile.dataset is None else float(getattr(content.profile.dataset, name))


def _of_trace(name: str) -> Callable[[Content], float | None]:
    def read(content: Content) -> float | None:
        value = getattr(content.traces[0].profile, name) if content.traces else None
        return None if value is None else float(value)

    return read


def _rate(content: Content) -> float | None:
    if not content.traces or not content.traces[0].profile.duration:
        return None
    return content.traces[0].profile.bytes_read / content.traces[0].profile.duration


def _epoch(content: Content) -> float | None:
    found = content.traces[0].profile.epochs_found if content.traces else None
    return None if found is None else found.period


def _call(op: str, percent: float) -> Callable[[Content], float | None]:
    def read(content: Content) -> float | None:
        evidence = content.traces[0].evidence if content.traces else None
        times = next((each for each in evidence.calls if each.op == op), None) if evidence is not None else None
        return None if times is None else times.percentile(percent)

    return read


def _share(kind: str) -> Callable[[Content], float | None]:
    def read(content: Content) -> float | None:
        evidence = content.traces[0].evidence if content.traces else None
        times = evidence.process_times if evidence is not None else None
        return None if times is None else times.shares[kind]

    return read


def _choice(name: str) -> Callable[[Content], float | None]:
    def read(content: Content) -> float | None:
        return None if content.saved is None else float(getattr(content.saved.recommendation.choice, name))

    return read


def _percent(share: float) -> str:
    return format_percent(share, digits=3)


_FIGURES: Final[tuple[tuple[str, Callable[[Content], float | None], Callable[[float], str]], ...]] = (
    ("Images", _of_dataset("files"), format_count),
    ("Bytes of the dataset", _of_dataset("bytes"), format_bytes),
    ("Mean size of an image", _of_dataset("size_mean"), format_bytes),
    ("Length of the trace", _of_trace("duration"), format_seconds),
    ("Time of an epoch, traced", _epoch, format_seconds),
    ("Bytes read", _of_trace("bytes_read"), format_bytes),
    ("Bytes read a second", _rate, format_rate),
    ("Read calls", _of_trace("reads"), format_count),
    ("Opens", _of_trace("opens"), format_count),
    ("Files", _of_trace("files"), format_count),
    ("Bytes written", _of_trace("bytes_written"), format_bytes),
    ("Share of bytes read again", _of_trace("reread_share"), _percent),
    ("Share of reads in sequence", _of_trace("sequentiality"), _percent),
    ("Share of time reading", _share("read"), _percent),
    ("Share of time writing", _share("write"), _percent),
    ("Share of time in other calls", _share("other"), _percent),
    ("Time of a read, median", _call("read", 50), format_seconds),
    ("Time of a read, p99", _call("read", 99), format_seconds),
    ("Time of an open, median", _call("open", 50), format_seconds),
    ("Advised: a later epoch", _choice("steady_epoch_s"), format_seconds),
    ("Advised: USD a month", _choice("monthly_usd"), format_usd),
)
