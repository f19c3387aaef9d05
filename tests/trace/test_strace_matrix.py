"""Real programs under real strace with any options: equal bytes of data files, and an equal verdict."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tiering.trace.profile import profile_trace
from tiering.workload.verdict import classify

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "programs"
READER = "import os, sys; [open(f'in/{n}', 'rb').read() for _ in range(3) for n in os.listdir('in')]"
FORKS = (
    "import os, multiprocessing as m\ndef f(n): return len(open(f'in/{n}', 'rb').read())\n"
    "if __name__ == '__main__':\n    p = m.Pool(2); sum(p.map(f, os.listdir('in') * 4)); p.close(); p.join()\n"
)

#: Options, and whether the output goes to a file, into the command's stderr, or into a directory of files.
MATRIX = [
    *((["-f", "-ttt", "-T", extra], "file") for extra in ("-yy", "-y", "-q", "-i", "-n", "-Y", "-C", "-r", "-k")),
    *((["-f", extra], "file") for extra in ("-t", "-tt", "-r", "-v")),
    *((["-f", f"--timestamps=unix,{unit}"], "file") for unit in ("s", "ms", "us", "ns")),
    (["-f", "-ttt", "-e", "read=all"], "file"),
    (["-f", "-ttt", "--syscall-times=s"], "file"),
    (["-f", "-ttt", "-s", "4096", "-x"], "file"),
    (["-f", "-n", "-i", "-Y", "-r", "-ttt", "-y"], "file"),
    (["-f"], "stderr"),
    (["-f", "-ttt", "-y"], "stderr"),
    (["-f", "-tt", "-Y", "-i"], "stderr"),
    (["-ttt"], "files"),
    (["-ttt", "-T", "-yy"], "files"),
    (["-r"], "files"),
    ([], "files"),
]
PROGRAMS_RUN = {
    "cat": "cat in/* > out; cat in/* >> out",
    "cp": "cp -r in copy",
    "tar": "tar cf a.tar in && tar xf a.tar --one-top-level=out",
    "gzip": "gzip -k -r in",
    "checksum": "sha256sum in/* > sums; sha256sum in/* in/* > sums",
    "grep": "for word in a b c d; do grep -rc $word in > /dev/null; done; true",
    "sqlite": f"{sys.executable} {PROGRAMS}/write_heavy.py db",
    "reader": f'{sys.executable} -c "{READER}"',
    "forks": f"{sys.executable} forks.py; echo done >&2",
    "dd": "dd if=/dev/zero of=out bs=64k count=40 conv=fsync 2>/dev/null; cat out out > /dev/null",
}


def recorded(program: str, options: list[str], where: str, work: Path) -> Path:
    """Run a program under strace in a directory of its own, and return what strace wrote."""
    work.mkdir()
    (work / "in").mkdir()
    for number in range(20):
        (work / "in" / f"{number:02}").write_bytes(random.Random(number).randbytes(1000) * 20)
    (work / "forks.py").write_text(FORKS)
    log = work.parent / f"{work.name}.log"
    if where == "files":
        log.mkdir()
    to = {"file": ["-o", str(log)], "stderr": [], "files": ["-ff", "-o", str(log / "log")]}[where]
    command = ["strace", *options, *to, "sh", "-c", PROGRAMS_RUN[program]]
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    if where == "stderr":
        log.write_bytes(done.stderr)
    return log


def seen(log: Path) -> tuple[object, ...]:
    profile = profile_trace(log)
    verdict = classify(profile)
    return profile.bytes_read, profile.bytes_written, profile.bytes_reread, profile.whole, verdict.workload


@pytest.mark.parametrize(
    ("options", "where"), MATRIX, ids=lambda value: value if isinstance(value, str) else "".join(value)
)
def test_a_program_under_any_options_moves_the_same_bytes_for_the_same_verdict(tmp_path, options, where):
    found = seen(recorded("cat", options, where, tmp_path / "work"))
    assert found == (800_000, 800_000, 400_000, True, "mixed")


def test_a_program_whose_reads_were_not_traced_gets_no_verdict(tmp_path):
    found = seen(recorded("cat", ["-f", "-ttt", "-e", "trace=!read"], "file", tmp_path / "work"))
    assert found[-2:] == (False, "inconclusive")


@pytest.mark.slow
@pytest.mark.parametrize("program", [name for name in PROGRAMS_RUN if name != "cat"])
def test_ten_programs_under_the_matrix_of_options(tmp_path, program):
    rows = {}
    for number, (options, where) in enumerate(MATRIX):
        rows[" ".join([*options, where])] = seen(recorded(program, options, where, tmp_path / str(number)))
    assert len(set(rows.values())) == 1, "\n".join(f"{name}: {row}" for name, row in rows.items())
