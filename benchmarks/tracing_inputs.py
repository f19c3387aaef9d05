"""Large traces in several formats, made from random accesses, and programs to trace, for benchmarks.tracing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

EVENTS = 3_000_000
READ_LOOP = """
import pathlib, sys
for _ in range(3):
    for path in pathlib.Path(sys.argv[1]).iterdir():
        path.read_bytes()
"""
DATABASE = """
import sqlite3, sys
for turn in range(20):
    database = sqlite3.connect(sys.argv[1])
    database.execute("create table if not exists t (a, b)")
    for number in range(10):
        with database:
            database.executemany("insert into t values (?, ?)", [(number, "x" * 1000)] * 100)
    database.execute("select count(*) from t where b like ?", ("%y",)).fetchall()
    database.close()
"""
SOURCE = """
import sys
with open(sys.argv[1], "w") as file:
    file.write("#include <stdio.h>\\n")
    file.writelines(f"int f{n}(int a, int b) {{ return a * {n} + b % {n + 1}; }}\\n" for n in range(20_000))
    file.write("int main(void) { return puts(\\"x\\") < f1(0, 0); }\\n")
"""
#: Programs that move bytes in different ways. They get PYTHON, FILES (a directory of 2,000 files of 10 kB) and OUT.
PROGRAMS = {
    "a Python loop over files": f"$PYTHON -c '{READ_LOOP}' $FILES",
    "cp -r": "cp -r $FILES $OUT",
    "tar, then gzip": "tar cf $OUT -C $FILES . && gzip $OUT",
    "dd, 50 MB, synced": "dd if=/dev/zero of=$OUT bs=64k count=800 conv=fsync status=none",
    "git add and commit": "cd $FILES && git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm x",
    "gcc, 20,000 functions": f"$PYTHON -c '{SOURCE}' $OUT.c && gcc -O1 -o $OUT $OUT.c && $OUT > /dev/null",
    "SQLite, 20,000 rows in 200 transactions": f"$PYTHON -c '{DATABASE}' $OUT",
}
FIXTURES = Path(__file__).parents[1] / "fixtures" / "traces"


def msr(path: Path) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "at": 128166372003061629 + np.cumsum(rng.integers(0, 20000, EVENTS)),
            "host": pl.repeat("usr", EVENTS, eager=True),
            "disk": rng.integers(0, 2, EVENTS),
            "type": np.where(rng.random(EVENTS) < 0.7, "Read", "Write"),
            "offset": rng.integers(0, 50_000_000, EVENTS) * 4096,
            "size": rng.choice([4096, 8192, 65536], EVENTS),
            "took": rng.integers(1000, 100000, EVENTS),
        }
    ).write_csv(path, include_header=False)


def alibaba(path: Path) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "volume": rng.integers(0, 100, EVENTS),
            "type": np.where(rng.random(EVENTS) < 0.3, "R", "W"),
            "offset": rng.integers(0, 50_000_000, EVENTS) * 4096,
            "size": rng.choice([4096, 8192, 65536], EVENTS),
            "at": 1577808000000046 + np.cumsum(rng.integers(0, 2000, EVENTS)),
        }
    ).write_csv(path, include_header=False)


def spc(path: Path) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "unit": rng.integers(0, 5, EVENTS),
            "sector": rng.integers(0, 50_000_000, EVENTS) * 8,
            "size": rng.choice([4096, 8192, 65536], EVENTS),
            "type": np.where(rng.random(EVENTS) < 0.3, "r", "w"),
            "at": np.cumsum(rng.random(EVENTS) * 1e-3).round(6),
        }
    ).write_csv(path, include_header=False)


def libcachesim(path: Path) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "time": np.cumsum(rng.integers(0, 2, EVENTS)),
            "object": rng.integers(0, 1_000_000, EVENTS),
            "size": rng.integers(1, 100_000, EVENTS),
        }
    ).write_csv(path)


def strace(path: Path) -> None:
    with gzip.open(FIXTURES / "train_loop.strace.gz", "rb") as file:
        whole = file.read()
    with path.open("wb") as out:
        for _ in range(40):
            out.write(whole)


INPUTS: dict[str, Callable[[Path], None]] = {
    "strace": strace,
    "msr": msr,
    "alibaba": alibaba,
    "spc": spc,
    "libcachesim": libcachesim,
}
