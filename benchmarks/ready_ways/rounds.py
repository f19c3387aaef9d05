"""Runs ways in processes of their own, an epoch of each in every round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Way:
    """A row: its name, its filter, the module that makes it and the arguments, and whether it runs with --peers."""

    name: str
    filter: str
    module: str
    arguments: dict[str, Any]
    peer: bool = False


@dataclass
class Result:
    """What a section found: images/s of each round by way, of the processors and of wall, and why ways are missing."""

    cpu: dict[str, list[float]] = field(default_factory=dict)
    wall: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Server:
    """A process that makes ready batches, an epoch whenever it is asked to."""

    def __init__(self, way: Way, peers: str, errors: Any) -> None:
        python = peers if way.peer else sys.executable
        command = [python, "-m", "benchmarks.ready_ways.run", way.module, json.dumps(way.arguments)]
        self._errors = errors
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(),
            cwd=ROOT,
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def epoch(self, number: int) -> dict[str, Any]:
        """Serve an epoch and return what it took."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        self.process.wait()
        self._errors.seek(0)
        raise ChildProcessError(last_line(self._errors.read()))


@contextmanager
def served(way: Way, peers: str) -> Iterator[Server]:
    """Start a process, and end it."""
    with tempfile.TemporaryFile("w+") as errors:
        server = Server(way, peers, errors)
        try:
            yield server
        finally:
            assert server.process.stdin is not None
            server.process.stdin.close()
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()


def rounds(ways: list[Way], peers: str, count: int, *, expected: tuple[int, ...], kind: str, repeat: int = 1) -> Result:
    """Serve epochs of every way in every round, in a rotating order, after one that is not counted.

    peers: the interpreter of other tools. expected, kind: shape and type of an image. repeat: epochs in a round.
    """
    found, servers = Result(), []
    with ExitStack() as stack:
        for way in ways:
            try:
                server = stack.enter_context(served(way, peers))
                first = server.epoch(0)
            except ChildProcessError as error:
                found.missing[way.name] = str(error)
                print(f"missing: {way.name}: {error}", file=sys.stderr, flush=True)
                continue
            if tuple(first["shape"]) != expected or first["dtype"] != kind:
                sys.exit(f"{way.name} made {first['dtype']} {first['shape']}, expected {kind} {expected}")
            found.versions |= server.versions
            servers.append((way.name, server))
        for number in range(count):
            turn = number % max(1, len(servers))
            for name, server in servers[turn:] + servers[:turn]:
                each = [server.epoch(1 + number * repeat + again) for again in range(repeat)]
                images, cpu, wall = (sum(one[what] for one in each) for what in ("images", "cpu", "seconds"))
                found.cpu.setdefault(name, []).append(images / cpu)
                found.wall.setdefault(name, []).append(images / wall)
                rates = f"{images / cpu:,.0f} of the processors, {images / wall:,.0f} of wall"
                print(f"round {number + 1}: {name}: {rates}", file=sys.stderr, flush=True)
    return found


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it ended without a word")
