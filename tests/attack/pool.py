"""The pool: workers that take attacks; one that dies or hangs is named by its case, and another takes its place."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.attack.cases import Case

SECONDS = 20.0

#: Where others use the machine too, the wall clock goes so many times as fast.
_BUSY_MACHINE = 6
_START = 120.0


def _processor_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Result:
    """failures: what must not happen, in words; outcomes: by operation; skipped: no such place in the base."""

    case: Case
    failures: list[str]
    outcomes: dict[str, str]
    skipped: bool = False


def run(
    root: Path, cases: Iterable[Case], workers: int = 2, tell: Callable[[Result], None] = lambda result: None
) -> list[Result]:
    """Run cases on workers, in batches that end with none of them."""
    waiting = deque(cases)
    with ThreadPoolExecutor(workers) as threads:
        found = [threads.submit(_drain, root, waiting, tell) for _ in range(workers)]
        return [result for each in found for result in each.result()]


def _drain(root: Path, waiting: deque[Case], tell: Callable[[Result], None]) -> list[Result]:
    results: list[Result] = []
    worker: _Worker | None = None
    try:
        while True:
            try:
                case = waiting.popleft()
            except IndexError:
                return results
            worker = worker or _Worker(root)
            result = worker.attack(case)
            results.append(result)
            tell(result)
            if not worker.alive:
                worker.close()
                worker = None
    finally:
        if worker is not None:
            worker.close()


class _Worker:
    def __init__(self, root: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.attack.worker", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent.parent)]), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.alive = True
        self._held = b""
        if self._said(_START) is None:
            raise RuntimeError("a worker does not start")

    def attack(self, case: Case) -> Result:
        self._child.stdin.write(json.dumps(dataclasses.asdict(case)).encode() + b"\n")
        self._child.stdin.flush()
        at = "preparing"
        while True:
            said = self._patiently()
            if said is None:
                self.alive = False
                code = self._child.poll()
                if code is None:
                    return Result(case, [f"{at}: still at it after {SECONDS:.0f} s of processor time"], {})
                fate = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return Result(case, [f"{at}: the process died of {fate}"], {})
            if "at" in said:
                at = said["at"]
            elif said.get("done"):
                return Result(case, said["failures"], said["outcomes"], said.get("skipped", False))

    def _patiently(self) -> dict[str, Any] | None:
        """What the worker says next; None where it died, used up its seconds of processor time, or got none of any."""
        began, used = time.monotonic(), _processor_seconds(self._child.pid)
        while (said := self._said(1.0)) is None and self._child.poll() is None:
            spent = _processor_seconds(self._child.pid) - used
            if spent > SECONDS or time.monotonic() - began > _BUSY_MACHINE * SECONDS:
                return None
        return said

    def _said(self, seconds: float) -> dict[str, Any] | None:
        while b"\n" not in self._held:
            if not select.select([self._child.stdout], [], [], seconds)[0]:
                return None
            piece = os.read(self._child.stdout.fileno(), 1 << 16)
            if not piece:
                self._child.wait()
                return None
            self._held += piece
        line, self._held = self._held.split(b"\n", 1)
        return json.loads(line)

    def close(self) -> None:
        self.alive = False
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.communicate()
