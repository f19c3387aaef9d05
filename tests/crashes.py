"""A process that is struck by a signal at a system call of our choice, to see what the next one finds.

A warm process forks a child for every run, so that a run costs no start of Python; strace strikes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Self

#: System calls that change a file system, one way or another.
CHANGING = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat"),
    *("symlink", "symlinkat", "ftruncate", "fallocate", "write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync"),
    *("msync", "chmod", "fchmod", "fchmodat"),
)

_WARM = """
import json, os, signal, sys
import tiering, tiering.cli.app
from tiering.cli.app import app
from tiering.packing import append
from tiering.packing import source_comparison as compare
from tiering.packing import export
from tiering.packing import log, relabel, remove
from tiering.packing import repair
from tiering.packing import convert as run
from tiering.packing import sync
from tiering.packing import verify
import zarr, polars, lmdb

for line in sys.stdin:
    words = json.loads(line)
    gate, opener = os.pipe()
    child = os.fork()
    if not child:
        os.read(gate, 1)
        null = os.open(os.devnull, os.O_RDWR)
        said = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream, to in enumerate((null, null, said)):
            os.dup2(to, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            app(words)
        except SystemExit as end:
            code = end.code
        except KeyboardInterrupt:
            code = 130
        os._exit(code or 0)
    print(child, flush=True)
    sys.stdin.readline()
    os.write(opener, b"!")
    print(os.waitpid(child, 0)[1], flush=True)
    os.close(gate), os.close(opener)
"""


class Strikes:
    """Runs commands of the program, each struck by a signal at one of its system calls."""

    def __init__(self, log: Path) -> None:
        self._log, self._said = log, log.with_name(f"{log.name}.stderr")

    def __enter__(self) -> Self:
        self._warm = subprocess.Popen(
            [sys.executable, "-c", _WARM, self._said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._warm.stdin.close()
        self._warm.wait()
        self._warm.stdout.close()

    def points(self, words: list[object], within: str = "") -> list[tuple[str, int]]:
        """Run a command unharmed; return every call that it made, and for which time in its thread.

        within: a part of the path of a file that the call is about; "" for all calls.
        """
        self._run(words, ["-o", str(self._log), "-y", "-e", f"trace={','.join(CHANGING)}"])
        times: dict[tuple[str, str], int] = {}
        found: dict[tuple[str, int], None] = {}
        for line in self._log.read_text().splitlines():
            if call := re.match(r"(\d+)\s+(\w+)\(", line):
                times[call.groups()] = times.get(call.groups(), 0) + 1
                if within in line:
                    found[call[2], times[call.groups()]] = None
        return sorted(found)

    def count(self, words: list[object]) -> dict[str, int]:
        """Run a command unharmed; return how often a thread of it made each of the calls at most."""
        most: dict[str, int] = {}
        for call, number in self.points(words):
            most[call] = max(number, most.get(call, 0))
        return most

    def strike(self, words: list[object], call: str, number: int, signal_name: str) -> int:
        """Run a command that gets a signal as it makes a call for the given time; return its exit code or -signal."""
        return self.tamper(words, f"{call}:signal={signal_name}:when={number}")

    def tamper(self, words: list[object], rule: str) -> int:
        """Run a command while strace injects something by its rule; return the exit code or -signal."""
        return self._run(words, ["-o", os.devnull, "-e", f"inject={rule}"])

    def said(self) -> str:
        """Return what the last command said on stderr."""
        return self._said.read_text()

    def _run(self, words: list[object], options: list[str]) -> int:
        self._warm.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        child = int(self._warm.stdout.readline())
        command = ["strace", "-f", *options, "-p", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            said = strace.stderr.readline()
            assert "attached" in said, said
            self._warm.stdin.write("go\n")
            status = int(self._warm.stdout.readline())
            strace.stderr.read()
        return os.waitstatus_to_exitcode(status)
