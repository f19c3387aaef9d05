"""Every call of a running job on files, as the kernel records it for root: names, offsets, sizes, forks and ends."""

from __future__ import annotations

import time

import polars as pl

from tiering.system.call_recorder import CallRecorder
from tiering.system.inherited_files import exists
from tiering.system.process_files import link_of, threads_of
from tiering.system.process_tree import TreeLook
from tiering.trace.capturing.kernel_calls import KernelCalls
from tiering.trace.watching.data_files import DataFiles
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, Look, Source, Unavailable
from tiering.units import counted

_NAME = "system calls"
_SHOWS = (
    "every call on files since the watching began: opens by name, reads and writes with offsets, renames and removals"
)
_LACKS = "what came before, calls of 32-bit programs, and reads of mapped files"


def open_system_calls(tree: TreeLook, files: DataFiles, *, with_maps: bool) -> Source:
    """Follow the processes of a tree, if this user may. with_maps: report maps too, if no other source does."""
    try:
        recorder = CallRecorder()
    except OSError as error:
        reason = f"needs root, or CAP_BPF and CAP_PERFMON, on x86-64 ({error.strerror or error})"
        return Unavailable(SourceUse(_NAME, used=False, shows=_SHOWS, lacks=_LACKS, reason=reason))
    return SystemCalls(recorder, tree, files, with_maps=with_maps)


class SystemCalls:
    """Turns the calls of a job into events."""

    counted = True

    def __init__(self, recorder: CallRecorder, tree: TreeLook, files: DataFiles, *, with_maps: bool) -> None:
        self._recorder, self._files, self._with_maps = recorder, files, with_maps
        self._calls = KernelCalls(time.time() - time.monotonic())
        self._add(list(tree.alive))

    def use(self) -> SourceUse:
        """Return what the calls show."""
        return SourceUse(_NAME, used=True, shows=_SHOWS, lacks=_LACKS)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the kernel's ring is half full."""
        return self._recorder.fileno()

    def drain(self) -> None:
        """Process what the ring holds."""
        self._recorder.drain(self._calls.add)
        self._leave_ended()

    def take(self, look: Look) -> pl.DataFrame:
        """Return the calls since the look before."""
        ended = [pid for pid in self.alive() - look.tree.alive.keys() if not exists(pid)]
        self.drain()
        # The records of their ends are lost, unless `drain` found them.
        for pid in ended:
            self._calls.lose(pid)
        self._leave_ended()
        self._calls.calls.forget_names()
        known = self.alive()
        self._add([stat.pid for stat in look.tree.came if stat.pid not in known])
        if not len(self._calls.calls):
            return NO_EVENTS
        events = self._calls.calls.take().with_columns(group=pl.lit(look.job, pl.Int32))
        return events if self._with_maps else events.filter(pl.col("op") != "mmap")

    def alive(self) -> set[int]:
        """Return the processes that are recorded."""
        return set(self._calls.alive())

    def paths(self) -> set[str]:
        """Return the data files that are open now."""
        processes = self._calls.calls.tree.members.values()
        names = {opened.file.path for process in processes for opened in process.descriptors.values()}
        return {name for name in names if self._files.is_data(name)}

    def notes(self) -> list[str]:
        """Return what was lost."""
        lost, foreign = self._recorder.lost()
        return [
            *([f"{counted(lost, 'call')} came faster than they could be recorded, and are missing."] * bool(lost)),
            *([f"{counted(foreign, 'call')} of 32-bit programs are missing."] * bool(foreign)),
            *(
                [f"{counted(self._calls.strange, 'call')} at places that no file has are missing."]
                * bool(self._calls.strange)
            ),
            *(f"{name} moves data that no call shows." for name in sorted(self._calls.calls.unseen - {"read"})),
        ]

    def close(self) -> None:
        """Stop recording."""
        self._recorder.__exit__()

    def _leave_ended(self) -> None:
        for pid in self._calls.ended:
            self._recorder.leave(pid)
        self._calls.ended.clear()

    def _add(self, pids: list[int]) -> None:
        # Recorded first and read afterwards, so that no file that is opened meanwhile is missed.
        self._recorder.follow(pids)
        for pid in pids:
            self._calls.join(pid, link_of(f"/proc/{pid}/cwd") or "", len(threads_of(pid)))
