"""The process that somebody wants to watch: by its number, or by its name."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator

from tiering.errors import MachineError, UsageError
from tiering.system.process_files import Identity, command_line, counters_of, process_numbers, stat_of, user_of

#: How many processes an error lists.
_LISTED = 10
_LIST = "List processes: ps -eo pid,user,args"


def found_process(target: int | str) -> Identity:
    """Find a process that may be watched, by its number or a pattern of its command line.

    Raises UsageError if there is none, or several that are not one tree; MachineError if it belongs to somebody else.
    """
    pid = target if isinstance(target, int) else _named(target)
    stat = stat_of(pid) if pid > 0 else None
    if stat is None or stat.is_ended:
        found = "there is no such process" if stat is None else "it has ended"
        raise UsageError(f"process {pid}", found=found, action=f"{_LIST}.")
    if pid == os.getpid():
        raise UsageError(f"process {pid}", found="it is the watcher itself", action=f"{_LIST}.")
    _require_access(pid)
    return stat.identity


def _require_access(pid: int) -> None:
    """Raise MachineError for a process of another user, whose files in /proc may not be read."""
    try:
        if counters_of(pid) is not None:
            return
    except PermissionError as error:
        owner = user_of(pid)
        others = owner != os.geteuid()
        raise MachineError(
            f"process {pid}",
            expected="a process of your own",
            found=f"one of user {_user(owner)}" if others else "one that its own user may not inspect",
            action=f"Watch it {f'as {_user(owner)}, or ' if others else ''}as root: sudo tiering watch {pid}",
        ) from error
    raise UsageError(f"process {pid}", found="it has ended", action=f"{_LIST}.")


def _user(number: int | None) -> str:
    try:
        return pwd.getpwuid(number or 0).pw_name
    except KeyError:
        return str(number)


def _named(pattern: str) -> int:
    """Return the one process tree whose command line matches a regular expression."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            "name", rule="must be a regular expression", found=f"{pattern!r} ({error})", action="Escape it with \\."
        ) from error
    matches = {pid: line for pid, line in _command_lines() if wanted.search(line)}
    parents = {pid: stat.parent for pid in matches if (stat := stat_of(pid)) is not None}
    roots = [pid for pid in parents if not any(each in parents for each in _ancestors(pid))]
    if len(roots) == 1:
        return roots[0]
    if not roots:
        raise UsageError("name", found=f"no process is like {pattern!r}", action=f"{_LIST}.")
    listed = "; ".join(f"{pid} {matches[pid][:60]} ({_user(user_of(pid))})" for pid in roots[:_LISTED])
    more = f"; and {len(roots) - _LISTED} more" if len(roots) > _LISTED else ""
    raise UsageError(
        "name",
        expected=f"one process like {pattern!r}",
        found=f"{len(roots)}: {listed}{more}",
        action="Name one by its number, or by more of its command line.",
    )


def _command_lines() -> Iterator[tuple[int, str]]:
    """Yield number and command line of each process but the watcher and its ancestors."""
    mine = {os.getpid(), *_ancestors(os.getpid())}
    for pid in process_numbers():
        if pid not in mine and (line := command_line(pid)):
            yield pid, line


def _ancestors(pid: int) -> Iterator[int]:
    while (stat := stat_of(pid)) is not None and stat.parent > 0:
        pid = stat.parent
        yield pid
