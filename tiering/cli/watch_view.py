"""The live view of a watched job: what it moves, where it is in its epochs, and what its processes wait for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.live import Live
from rich.text import Text

from tiering.cli.output import talk
from tiering.text import shown, without_secrets
from tiering.trace.watching.epoch_estimate import EpochEstimate
from tiering.trace.watching.job_progress import Flow, JobProgress, ProcessProgress, ProgressTally
from tiering.units import counted, format_bytes, format_count, format_percent, format_rate, format_seconds

#: s between two pictures: each costs a millisecond or two of the watcher's twenty a second.
_BETWEEN: Final = 1.0
#: s between looks from which the picture seems to stand still, so that the title explains it.
_SELDOM: Final = 3.0
#: Columns from which memory and written bytes of a process fit.
_WIDE: Final = 110
#: Shares of the time from which a wait for the disk is coloured.
_NOTICED, _MUCH = 0.2, 0.5
_STATES: Final = ("disk", "lock", "pipe", "network", "sleeping")
#: Columns of the processes, and the characters of each; the program's name gets the rest.
_PID, _PROGRAM, _NETWORK = "pid", "program", "network"
_STATE_WIDTHS: Final = {"runs": 5, "waits: cpu": 10, "disk": 5, "lock/pipe": 9, _NETWORK: 7, "sleeps": 6}
_WIDTHS: Final = {_PID: 3, _PROGRAM: 0} | _STATE_WIDTHS | {"reads": 9, "writes": 9, "memory": 8, "threads": 7}
_BAR: Final = 12

#: A cell: its text, and its style.
Cell = tuple[str, str]


class WatchView:
    """Draws what a tally knows, about once a second."""

    def __init__(self, tally: ProgressTally) -> None:
        self._tally = tally
        self._live: Live | None = None
        self._drawn = float("-inf")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view on stderr for the block, and take it away afterwards."""
        with Live(console=talk(soft_wrap=False), auto_refresh=False, transient=True, vertical_overflow="crop") as live:
            self._live = live
            yield
        self._live = None

    def refresh(self) -> None:
        """Draw the view again, if that is due."""
        if self._live is None or self._tally.seconds - self._drawn < _BETWEEN:
            return
        if (progress := self._tally.progress()) is None:
            return
        self._drawn = progress.seconds
        width, height = self._live.console.size
        self._live.update(drawn(progress, width, height), refresh=True)


def drawn(progress: JobProgress, width: int, height: int) -> Text:
    """Return the picture of a job for a terminal of some columns and rows.

    Its lines are put together here: Rich's tables would take ten times as long, and slow down what is watched.
    """
    lines = [_title(progress, width), Text(), *_flows(progress), Text(), *_job(progress), Text()]
    # One row for the heads of the columns, and one for the cursor.
    lines += _processes(progress.processes, width, max(2, height - len(lines) - 2))
    for each in lines:
        each.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True).join(lines)


def _title(progress: JobProgress, width: int) -> Text:
    each = progress.processes
    processes = f"{format_count(len(each))} process{'' if len(each) == 1 else 'es'}"
    threads = counted(sum(process.threads for process in each), "thread")
    seldom = f", a look each {_time(progress.look_seconds)}" if progress.look_seconds > _SELDOM else ""
    watcher = format_percent(progress.watcher, digits=2)
    right = f"  {format_seconds(round(progress.seconds))}{seldom}, watcher {watcher} of a core"
    left = f"{_clean(progress.command)} ({progress.root}): {processes}"
    if cell_len(f"{left}, {threads}{right}") <= width:
        left += f", {threads}"
    return Text(set_cell_size(left, max(0, width - len(right))), "bold") + Text(right, "not bold")


def _flows(progress: JobProgress) -> Iterator[Text]:
    widths = (12, 12, 12, 12)
    yield _row([("", ""), ("now", "bold"), ("requests/s", "bold"), ("so far", "bold")], widths)
    for name, flow in (
        ("read", progress.read),
        ("written", progress.written),
        ("mapped", progress.mapped),
        ("from storage", progress.storage_read),
    ):
        yield _row([(text, "") for text in (name, *_flow(flow))], widths)


def _flow(flow: Flow | None) -> tuple[str, str, str]:
    if flow is None:
        return "-", "", "not shown"
    requests = "" if flow.requests_per_s is None else format_count(flow.requests_per_s)
    return format_rate(round(flow.bytes_per_s)), requests, format_bytes(flow.bytes)


def _job(progress: JobProgress) -> Iterator[Text]:
    """Yield the lines about files, dataset and epochs."""
    yield Text(f"{'files in use':<14}{format_count(progress.files)}")
    yield Text(f"{'dataset':<14}{_touched(progress)}")
    yield _epoch(progress.epoch, knows_dataset=progress.touched_share is not None)
    memory = progress.memory
    if memory is not None and memory.limit is not None and memory.used is not None:
        yield Text(f"{'memory':<14}{format_bytes(memory.used)} used of {format_bytes(memory.limit)} allowed")
    for each in progress.accelerators:
        used = format_bytes(each.memory_used)
        others = ", not by this job" if each.ours is False else ""
        yield Text(f"{'accelerator':<14}{format_percent(each.busy)} busy{others}, {used} used: {_clean(each.name)}")


def _epoch(epoch: EpochEstimate | None, *, knows_dataset: bool) -> Text:
    if epoch is None:
        hint = "" if knows_dataset else "; --dataset PATH says how many bytes it has"
        return Text(f"{'epoch':<14}not known yet{hint}")
    full = round(_BAR * epoch.done)
    return Text.assemble(
        f"{'epoch':<14}{format_count(epoch.number)} ", ("━" * full, "cyan"), ("━" * (_BAR - full), "dim"), " ",
        _of_epoch(epoch),
    )  # fmt: skip


def _touched(progress: JobProgress) -> str:
    if progress.touched is None:
        return "no source shows which bytes were read"
    touched = format_bytes(progress.touched)
    share = progress.touched_share
    said = f"{touched} touched" if share is None else f"{format_percent(share)} touched ({touched})"
    again = progress.reread_share
    return said if again is None else f"{said}; {format_percent(again)} of the bytes read were read again"


def _of_epoch(epoch: EpochEstimate) -> str:
    counted_from = "" if epoch.anchored else ", from the first look"
    if epoch.seconds is None or epoch.seconds_left is None:
        return f"{format_percent(epoch.done)}, nothing is read now{counted_from}"
    return f"{format_percent(epoch.done)}, {_time(epoch.seconds_left)} left of {_time(epoch.seconds)}{counted_from}"


def _time(seconds: float) -> str:
    return format_seconds(round(seconds) if seconds >= 10 else round(seconds, 1))


def _processes(each: Sequence[ProcessProgress], width: int, rows: int) -> Iterator[Text]:
    """Yield the heads of the columns, the busiest processes, and the sum of the others."""
    columns = dict(_WIDTHS)
    if width < _WIDE:
        left_out = ["writes", "memory", "threads"]
        if all(process.network < 0.005 for process in each):
            left_out.append(_NETWORK)
        for name in left_out:
            del columns[name]
    columns[_PID] = max(columns[_PID], *(len(str(process.pid)) for process in each))
    columns[_PROGRAM] = max(8, width - sum(columns.values()) - 2 * len(columns))
    widths = list(columns.values())
    yield _row([(name, "bold") for name in columns], widths, left=1)
    few = each if len(each) <= rows else each[: rows - 1]
    for process in few:
        cells = _cells((process,), str(process.pid), _clean(process.command))
        yield _row([cells[name] for name in columns], widths, left=1)
    if rest := each[len(few) :]:
        cells = _cells(rest, "", f"{format_count(len(rest))} more")
        yield _row([cells[name] for name in columns], widths, left=1)


def _cells(each: Sequence[ProcessProgress], pid: str, name: str) -> dict[str, Cell]:
    """Return the cells of some processes: sums of amounts, and means of shares."""
    shares = {state: sum(getattr(process, state) for process in each) / len(each) for state in _STATES}
    disk = shares["disk"]
    return {
        _PID: (pid, ""),
        _PROGRAM: (name, ""),
        "runs": (_share(sum(process.processor for process in each)), ""),
        "waits: cpu": (_share(sum(process.queued for process in each)), ""),
        "disk": (_share(disk), "red" if disk >= _MUCH else "yellow" if disk >= _NOTICED else ""),
        "lock/pipe": (_share(shares["lock"] + shares["pipe"]), ""),
        _NETWORK: (_share(shares["network"]), ""),
        "sleeps": (_share(shares["sleeping"]), ""),
        "reads": (_rate(sum(process.read_per_s for process in each)), ""),
        "writes": (_rate(sum(process.written_per_s for process in each)), ""),
        "memory": (format_bytes(sum(process.resident for process in each)), ""),
        "threads": (format_count(sum(process.threads for process in each)), ""),
    }


def _share(share: float) -> str:
    """Return a share, or nothing for one that rounds to nothing."""
    return format_percent(share) if share >= 0.005 else ""


def _rate(rate: float) -> str:
    return format_rate(round(rate)) if rate >= 0.5 else ""


def _row(cells: Sequence[Cell], widths: Sequence[int], left: int = 0) -> Text:
    """Return cells side by side: the one at `left` begins at its left edge, all others end at their right one."""
    row = Text()
    for position, ((text, style), width) in enumerate(zip(cells, widths, strict=True)):
        if position:
            row.append("  ")
        row.append(set_cell_size(text, width) if position == left else text.rjust(width), style)
    return row


def _clean(text: str) -> str:
    return shown(without_secrets(text))
