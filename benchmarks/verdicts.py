"""Verdicts on runs that did not come to their end: record training runs, cut their traces, and count what is wrong.

Usage: python benchmarks/verdicts.py DIR [--runs 50] [--cuts 20]

DIR keeps the recordings, which are not made a second time. Each run is a real training program under real strace; a
tenth more unpack their images first, so that their beginning is another workload. Each trace is cut at random places
among the lines that move data, and judged as what is left when the run was

  killed       as it is left when the machine goes: text that breaks off
  by SIGKILL   ended by that signal
  interrupted  ended by SIGINT
  crashed      ended with status 1
  filtered     broken off, and without one kind of calls, as under `-e trace=`; and so the whole of it

A verdict other than that of the whole run, and other than inconclusive, is confident and wrong: there may be none. Some
runs are really killed by SIGKILL as well, to see that the others are like them.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tiering.trace.capturing.strace import ASKED
from tiering.trace.profile import profile_trace
from tiering.workload.label import label
from tiering.workload.verdict import classify

HERE = Path(__file__).resolve().parent.parent / "fixtures"
STRACE = ("strace", "-f", "-ttt", "-T", "-y", "-s", "1", "-q")
ENDS = {"by SIGKILL": "killed by SIGKILL", "interrupted": "killed by SIGINT", "crashed": "exited with 1"}
FILTERS = ("read", "pread64", "openat")
_DATA = re.compile(rb"^\d+ +[0-9.]+ (?:read|pread64|mmap|write|pwrite64)\(.*</(?!usr|lib|etc|proc|sys|dev).*= [1-9]")
_NOISE = re.compile(
    rb"site-packages|/lib/python|\.so\b|\.pyc?\b|\.venv/|[<\"]/(?:usr|lib|lib64|etc|proc|sys|dev)\b|__pycache__"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A training run: its name, the command (for sh) and what makes its data, and the truth where mappings hide it."""

    name: str
    before: str
    command: str
    truth: str | None = None


def runs(count: int) -> Iterator[Run]:
    """Give as many runs as are asked for: kinds in turn, each with numbers of its own."""
    chance = random.Random(18)
    loop, torch = f"{HERE}/programs/train_loop.py", f"{HERE}/programs/torch_loop.py"
    for number in range(count):
        epochs, images, workers = chance.randint(3, 8), chance.choice((80, 200, 400)), chance.randint(0, 3)
        make = f"{sys.executable} {HERE}/make_images.py --count {images} --classes 5 images"
        kind = number % 10
        if kind < 4:
            every = chance.choice((1, 2, 10))
            command = f"{sys.executable} {loop} images out --epochs {epochs} --checkpoint-every {every}"
            yield Run(f"{number:02} loop {epochs}x{images}", make, command)
        elif kind < 7:
            command = f"{sys.executable} {torch} folder images --epochs {epochs} --workers {workers}"
            yield Run(f"{number:02} torch {epochs}x{images}, {workers} workers", make, command)
        elif kind == 7:
            arrays = f"{sys.executable} {torch} make-npz shards"
            yield Run(f"{number:02} npz {epochs}", arrays, f"{sys.executable} {torch} npz shards --epochs {epochs}")
        else:
            to = "lmdb" if kind == 8 else "zarr"
            pack = f"{make} && {sys.executable} -m tiering.cli.app convert images s.{to} --to {to}"
            yield Run(
                f"{number:02} {to} {epochs}",
                pack,
                f"{sys.executable} {torch} {to} s.{to} --epochs {epochs}",
                "re-read-heavy",
            )
    for number in range(count, count + count // 10):
        pack = f"{sys.executable} {HERE}/make_images.py --count 200 --classes 5 images"
        train = f"tar xf a.tar && exec {sys.executable} {loop} images out --epochs {chance.randint(3, 8)}"
        yield Run(f"{number:02} unpacked first", f"{pack} && tar cf a.tar images && rm -r images", f"sh -c '{train}'")


def record(run: Run, to: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="verdicts-") as name:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(["sh", "-c", run.before], cwd=name, env=environment, check=True, capture_output=True)
        partial = to.with_suffix(".partial")
        command = [*STRACE, "-o", str(partial), "sh", "-c", f"exec {run.command}"]
        subprocess.run(command, cwd=name, env=environment, check=True, capture_output=True)
        partial.rename(to)


def without_machinery(lines: list[bytes]) -> list[bytes]:
    """Leave out what the interpreter does with its own files, and calls that tiering does not ask strace for.

    They are nine lines of ten, and in no figure; without them a cut is judged in a tenth of the time.
    """
    kept, dropped = [], set()
    for line in lines:
        thread, _, rest = line.split(maxsplit=2)
        name = rest.removeprefix(b"<... ").split(b"(")[0].split()[0]
        begun = line.rstrip().endswith(b"<unfinished ...>")
        if rest.startswith(b"<... "):
            drop = thread in dropped
            dropped.discard(thread)
        else:
            known = name.decode("latin-1") in ASKED
            drop = not rest.startswith((b"+++", b"---")) and (
                not known or (b"exec" not in name and bool(_NOISE.search(line)))
            )
            dropped |= {thread} if drop and begun else set()
        if not drop:
            kept.append(line)
    return kept


def judged(trace: Path) -> tuple[str, bool]:
    verdict = classify(profile_trace(trace))
    return verdict.workload, verdict.whole


def filtered(lines: list[bytes], call: str) -> bytes:
    dropped = f" {call}(".encode(), f"<... {call} ".encode()
    return b"".join(line for line in lines if not any(each in line for each in dropped))


def cut(trace: Path, truth: str | None, cuts: int, seed: int) -> tuple[str, list[tuple[str, str]]]:
    """Cut one trace at random places, and return the truth and (what was done to it, the verdict)."""
    lines = without_machinery(trace.read_bytes().splitlines(keepends=True))
    whole = profile_trace(trace)
    real = truth or label(whole.bytes_read, whole.bytes_written, whole.bytes_reread)
    places = [at for at, line in enumerate(lines) if _DATA.match(line) and not _NOISE.search(line)]
    chance = random.Random(seed)
    root = lines[0].split()[0]
    found = [("whole", judged(trace)[0])]
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "cut.strace"

        def verdict(kind: str, content: bytes) -> None:
            made.write_bytes(content)
            found.append((kind, judged(made)[0]))

        for _ in range(cuts):
            at = chance.choice(places)
            text = b"".join(lines[:at])
            verdict("killed", text + lines[at][: chance.randrange(len(lines[at]))])
            time_now = lines[at].split()[1]
            ended = text + lines[at]
            for kind, how in ENDS.items():
                verdict(kind, ended + root + b" " + time_now + f" +++ {how} +++\n".encode())
            verdict("filtered", filtered(lines[: at + 1], chance.choice(FILTERS)))
        for call in FILTERS:
            verdict("filtered", filtered(lines, call))
    return real, found


def killed(run: Run, cuts: int) -> list[str]:
    """Kill a run with SIGKILL at random moments, and return the verdicts."""
    found, chance = [], random.Random(run.name)
    with tempfile.TemporaryDirectory(prefix="verdicts-") as name:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(["sh", "-c", run.before], cwd=name, env=environment, check=True, capture_output=True)
        for _ in range(cuts):
            log = Path(name) / "log"
            command = [*STRACE, "-o", str(log), "sh", "-c", f"exec {run.command}"]
            tracer = subprocess.Popen(command, cwd=name, env=environment, stdout=subprocess.DEVNULL)
            time.sleep(chance.uniform(1.0, 5.0))
            children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
            for pid in children[:1]:
                os.kill(int(pid), signal.SIGKILL)
            tracer.wait()
            found.append(judged(log)[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--live", type=int, default=3, help="runs that are really killed")
    asked = parser.parse_args()
    asked.directory.mkdir(parents=True, exist_ok=True)
    chosen = {run: asked.directory / f"{number:03}.strace" for number, run in enumerate(runs(asked.runs))}
    for run, trace in chosen.items():
        if not trace.exists():
            record(run, trace)
    table: dict[str, Counter[str]] = {}
    wrong = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        work = [
            (run, pool.submit(cut, trace, run.truth, asked.cuts, number))
            for number, (run, trace) in enumerate(chosen.items())
            if trace.exists()
        ]
        for run, future in work:
            truth, found = future.result()
            for kind, workload in found:
                said = "right" if workload == truth else "inconclusive" if workload == "inconclusive" else "wrong"
                table.setdefault(kind, Counter())[said] += 1
                if said == "wrong":
                    wrong.append(f"{run.name}: {kind}, {workload} instead of {truth}")
            print(f"{run.name:32} {truth:14} {Counter(workload for _, workload in found)}", flush=True)
    for run in [run for run in chosen if run.truth is None][: asked.live]:
        for workload in killed(run, 5):
            said = "inconclusive" if workload == "inconclusive" else "right" if workload == "re-read-heavy" else "wrong"
            table.setdefault("really killed", Counter())[said] += 1
    for kind, counts in table.items():
        print(f"{kind:14} {sum(counts.values()):6} judged: " + ", ".join(f"{n} {said}" for said, n in counts.items()))
    print("\n".join(wrong) or "No verdict is confident and wrong.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
