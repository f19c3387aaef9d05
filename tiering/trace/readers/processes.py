"""Processes, descriptors and positions: the state that a trace of system calls implies but does not print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-f]{2})|(.))")
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_STANDARD = {0: "<stdin>", 1: "<stdout>", 2: "<stderr>"}
#: Descriptors that programs inherit besides standard streams, without anything missing from the trace.
_NO_DATA = ("/dev/", "/proc/", "/sys/", "/memfd:")


@dataclass(slots=True)
class File:
    """A file, pipe, socket or device by its name. size: B, or None while unknown."""

    path: str
    identity: int
    size: int | None = None


@dataclass(slots=True)
class OpenFile:
    """An open file description, which dup and fork share. offset: B, or None while unknown."""

    file: File
    offset: int | None
    append: bool = False


@dataclass(slots=True, eq=False)
class Process:
    """A process (not a thread), its group, and its descriptor table.

    begun: the trace shows how it began. end: how it ended; "" for status 0, None while the trace shows no end.
    asked_to_end: the signal with which another process asked it to end.
    """

    pid: int
    group: int
    descriptors: dict[int, OpenFile] = field(default_factory=dict)
    begun: bool = True
    end: str | None = None
    asked_to_end: str | None = None


def unescape(text: str) -> str:
    """Undo C escapes. text: Latin-1 for bytes. Bytes that are not UTF-8 stay visible as escapes."""
    if "\\" not in text and text.isascii():
        return text
    return _ESCAPE.sub(_byte, text.encode("latin-1")).decode("utf-8", errors="backslashreplace")


def _byte(match: re.Match[bytes]) -> bytes:
    octal, digits, letter = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    return bytes([int(digits, 16)]) if digits is not None else _LETTERS.get(letter, letter)


class Files:
    """The files of a trace: one File per name, however the tracer wrote it. Its length is the number of names.

    Memory grows with the names that are not forgotten.
    """

    def __init__(self) -> None:
        self.written: dict[str, File] = {}
        self._named: dict[str, File] = {}

    def __len__(self) -> int:
        return len(self.written) + len(self._named)

    def forget(self, but: Iterable[File]) -> None:
        """Forget all but some files. One that is used again has the same identity, but its size is unknown."""
        kept = {file.path for file in but}
        self.written = {text: file for text, file in self.written.items() if file.path in kept}
        self._named = {path: file for path, file in self._named.items() if path in kept}

    def annotated(self, text: str) -> File:
        """Look up the name after a descriptor: "/a/b", "pipe:[7]", "TCP:[...", "/dev/tty<char..."."""
        file = self.written.get(text)
        if file is None:
            name = text.split("<", 1)[0].removesuffix(" (deleted)")
            # The addresses of connections do not matter, so all of a protocol share one name.
            name = f"socket:{name.split(':', 1)[0]}" if name[:1].isupper() else unescape(name)
            file = self.written[text] = self.named(name)
        return file

    def named(self, path: str) -> File:
        """Look up a plain path."""
        file = self._named.get(path)
        if file is None:
            digest = blake2b(path.encode("utf-8", errors="surrogatepass"), digest_size=8).digest()
            file = self._named[path] = File(path, int.from_bytes(digest, "little"))
        return file


class ProcessTree:
    """The descent of processes. A thread counts as its process, and a group is named by the root of its tree."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.members: dict[int, Process] = {}
        #: Children that may not have finished their work: they ended with another status than 0, or by a signal.
        #: The bytes they moved decide whether it matters. A program may be done with them (multiprocessing.Pool ends
        #: its workers like this), but a time limit looks the same: `timeout` is the parent of the command it ends.
        self.failed: dict[int, str] = {}
        #: Descriptors of files that were used without an open in the trace.
        self.never_opened = 0
        self._root: Process | None = None
        self._roots: list[Process] = []
        self._named: int | None = None
        self._forking: dict[int, tuple[Process, str]] = {}
        #: Children that appeared before a fork returned, and the parent assumed for each.
        self._guessed: dict[int, tuple[Process, str]] = {}

    def process(self, tid: int, *, begins_with_exec: bool = False) -> Process:
        """Return the process of a thread, or infer it.

        An unknown thread that appears during a fork is taken for its child. Any other one belongs to the group with
        which the trace began, since its fork was filtered out or came before the tracer. But if it begins with execve,
        it is another traced command. On a terminal, strace names the first process (0 here) only while there are
        others: an unknown one is then that process.
        """
        process = self.members.get(tid)
        if process is not None:
            return process
        if self._forking:
            parent, flags = next(iter(self._forking.values()))
            self._guessed[tid] = (parent, _shares(flags))
            return self._child(tid, parent, flags)
        if (unnamed := self.members.get(0)) is not None:
            self._named = self._named or tid
            self.members[tid] = unnamed
            return unnamed
        root = self._root
        process = Process(tid, tid if root is None or begins_with_exec else root.group, begun=begins_with_exec)
        self._root = root or process
        if process.group == tid:
            self._roots.append(process)
        self.members[tid] = process
        return process

    def is_first(self, tid: int) -> None:
        """Record that this is the number of the first process, which had none before."""
        self._named = tid
        self.members[tid] = self.members[0]

    def number(self, tid: int) -> int:
        """Return the number by which a thread is known: 0 for the first process if it had none before."""
        return 0 if tid == self._named else tid

    def forking(self, tid: int, flags: str) -> None:
        """Record that a fork, vfork or clone has begun and not returned yet."""
        self._forking[tid] = (self.process(tid), flags)

    def forked(self, tid: int, child: int, flags: str) -> Process:
        """Record a fork, vfork or clone that returned its child's number."""
        self._forking.pop(tid, None)
        parent = self.process(tid)
        known, right = self.members.get(child), (parent, _shares(flags))
        guessed = self._guessed.pop(child, None)
        if known is None and guessed is not None:
            # The child has ended already: vfork returns after that.
            return parent if "CLONE_THREAD" in flags else Process(child, parent.group)
        # With several forks at a time, the child may have been assigned to the wrong one.
        return known if known is not None and guessed in (None, right) else self._child(child, parent, flags)

    def not_forked(self, tid: int) -> None:
        """Record that a fork failed."""
        self._forking.pop(tid, None)

    def gone(self, tid: int, how: str) -> None:
        """Forget a thread, whose number may be used again. how: as in Process.end."""
        process = self.members.pop(tid, None)
        self._forking.pop(tid, None)
        # If a thread ends, its process continues.
        if process is not None and self.number(tid) == process.pid:
            process.end = how
            why = how or (process.asked_to_end and f"it was sent {process.asked_to_end} before it ended")
            if why and process not in self._roots:
                self.failed[process.pid] = why

    def sent(self, tid: int, signal: str) -> None:
        """Record a signal that asks a process to end."""
        if (process := self.members.get(tid)) is not None:
            process.asked_to_end = process.asked_to_end or signal

    def gaps(self) -> list[str]:
        """Return reasons, so far, why the trace cannot contain the whole run."""
        found = [] if self._roots else ["the trace shows no process"]
        for root in self._roots:
            if not root.begun:
                found.append("the trace does not show how it began (there is no execve of its program)")
            found.append("the trace ends before it does" if root.end is None else root.end)
            if root.end == "" and root.asked_to_end is not None:
                found.append(f"it was sent {root.asked_to_end} before it ended")
        going = {id(process) for process in self.members.values() if process.end is None and process not in self._roots}
        if going and not any(root.end is None for root in self._roots):
            found.append(f"{len(going)} of its processes or threads are not seen to end (strace follows them with -f)")
        if self.never_opened:
            found.append(
                f"{self.never_opened} descriptors were used that are never seen to be opened, so that calls are missing"
            )
        return list(dict.fromkeys(filter(None, found)))

    def descriptor(self, process: Process, fd: int, annotation: str | None) -> OpenFile:
        """Return the open file of a descriptor. annotation: the path that -yy printed, if any."""
        known = process.descriptors.get(fd)
        if annotation is None:
            if known is None:
                self.never_opened += fd not in _STANDARD
                known = process.descriptors[fd] = OpenFile(self._unnamed(process, fd), None)
            return known
        file = self._files.annotated(annotation)
        if known is None:
            self.never_opened += (
                fd not in _STANDARD and file.path.startswith("/") and not file.path.startswith(_NO_DATA)
            )
            known = process.descriptors[fd] = OpenFile(file, None)
        elif known.file is not file:
            # The kernel's name counts. If both are paths, the file was renamed, which keeps the offset. Otherwise a
            # call that closed and reopened the descriptor was not traced.
            if file.path.startswith("/") and known.file.path.startswith("/"):
                known.file = file
            else:
                known = process.descriptors[fd] = OpenFile(file, None)
        return known

    def closed(self, process: Process, fd: int, annotation: str | None) -> File:
        """Forget a closed descriptor, and return its file.

        Another thread may have opened a file under that number before the trace shows the end of this call. That one
        stays.
        """
        known = process.descriptors.get(fd)
        if annotation is not None:
            file = self._files.annotated(annotation)
        else:
            file = self._unnamed(process, fd) if known is None else known.file
        if known is not None and known.file is file:
            del process.descriptors[fd]
        return file

    def _unnamed(self, process: Process, fd: int) -> File:
        return self._files.named(_STANDARD.get(fd, f"<descriptor {fd} of process {process.pid}>"))

    def _child(self, tid: int, parent: Process, flags: str) -> Process:
        if "CLONE_THREAD" in flags:
            child = parent
        elif "CLONE_FILES" in flags:
            child = Process(tid, parent.group, parent.descriptors)
        else:
            child = Process(tid, parent.group, dict(parent.descriptors))
        self.members[tid] = child
        return child


def _shares(flags: str) -> str:
    """Return what a child shares with its parent, according to the flags of clone."""
    return "process" if "CLONE_THREAD" in flags else "descriptors" if "CLONE_FILES" in flags else "nothing"
