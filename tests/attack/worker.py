"""A worker of the pool: copies a base, attacks it, and does with it all that people do with stores.

Says on standard output what it is about to do, so that whoever waits knows what killed it or hangs.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

import tiering
from tests.attack.cases import Case, apply, copy
from tiering.cli.app import app
from tiering.errors import TieringError

#: Seven operations for each store; a cache has no verify, export and append of its own.
OPERATIONS = ("open", "info", "read", "serve", "verify", "export", "append")

MOST_BYTES = 512 << 20

#: Where plain numbers in columns and shards are attacked, readers of local maps may serve other bytes: verify and
#: export, which look at every CRC-32C, may not be satisfied then.
_OF_DATA = ("column", "lie", "bomb", "file")


def main() -> None:
    """Take cases as lines of JSON, and answer each with a line of JSON."""
    root = Path(sys.argv[1])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    # Whatever takes much more than it may is an error of its own here, and not the end of the machine.
    resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))

    def say(**words: Any) -> None:
        out.write(json.dumps(words) + "\n")
        out.flush()

    say(ready=True)
    for line in sys.stdin:
        case = Case(**json.loads(line))
        case = Case(case.base, case.kind, case.file, case.attack, tuple(case.path))
        sandbox = root / "sandboxes" / f"{os.getpid()}"
        try:
            copy(root, case, sandbox)
            say(done=True, **attack(root, case, sandbox, say))
        except Exception:  # noqa: BLE001 - so that the pool goes on
            say(done=True, failures=[f"the harness itself: {traceback.format_exc()}"], outcomes={})
        finally:
            shutil.rmtree(sandbox, ignore_errors=True)


def attack(root: Path, case: Case, sandbox: Path, say: Callable[..., None]) -> dict[str, Any]:
    """Attack a sandbox, do everything with it, and return what came of it."""
    if not apply(case, sandbox):
        return {"skipped": True, "failures": [], "outcomes": {}}
    before = _snapshot(sandbox)
    held = _held(root, case)
    operations = _cache_operations(sandbox, held) if case.base == "cache" else _operations(root, sandbox, held, case)
    outcomes: dict[str, str] = {}
    failures: list[str] = []
    os.environ["TMPDIR"] = tempfile.tempdir = str(sandbox / "tmp")
    for name, run in operations.items():
        say(at=name)
        with _peak() as peak:
            outcomes[name] = _outcome(run)
        if outcomes[name].startswith("raw"):
            failures.append(f"{name}: {outcomes[name]}")
        if peak[0] > MOST_BYTES:
            failures.append(f"{name}: {peak[0] >> 20} MiB")
    after = _snapshot(sandbox)
    failures += [f"changed: {path}" for path in {**before, **after} if before.get(path) != after.get(path)]
    failures += [f"left behind: {path.name}" for path in (sandbox / "tmp").iterdir()]
    return {"failures": failures, "outcomes": outcomes}


def _operations(root: Path, sandbox: Path, held: list[bytes], case: Case) -> dict[str, Callable[[], Any]]:
    store, precise = sandbox / "store", case.kind not in _OF_DATA
    satisfied = False

    def read() -> None:
        opened = tiering.open_store(store)
        everything = np.arange(len(opened))
        opened.announce(everything)
        images = [bytes(image) for image in opened.read(everything)]
        assert not precise or images == held
        opened[0], opened[-1], opened.index.keys(everything)
        opened.close()

    def serve() -> None:
        opened = tiering.open_store(store)
        for batch in tiering.Loader(opened, 5, seed=1, threads=1, transform=lambda sample: sample.key):
            assert len(batch.keys) == len(batch.labels)
        served = [(index, bytes(image)) for batch in tiering.Loader(opened, 5, seed=1, threads=1)
                  for index, image in zip(batch.indices.tolist(), batch.images, strict=True)]  # fmt: skip
        assert not precise or [image for _, image in sorted(served)] == held
        opened.close()

    def verify() -> None:
        nonlocal satisfied
        _command("verify", store)
        satisfied = True

    def export() -> None:
        tiering.export(store, sandbox / "out")
        exported = sorted(path.read_bytes() for path in (sandbox / "out").rglob("*") if path.is_file())
        assert exported == sorted(held) or case.base == "pixels" or not satisfied

    def append() -> None:
        # Where it always lies, so that an append that is unfinished goes on by its receipts.
        with ThreadPoolExecutor(1) as executor:
            tiering.append(root / "more", store, on_error="skip", workers=executor)
        if satisfied and case.kind in ("json", "name"):
            assert tiering.verify(store).ok

    return {
        "open": lambda: tiering.open_store(store).close(),
        "info": lambda: _command("info", store),
        "read": read,
        "serve": serve,
        "verify": verify,
        "export": export,
        "append": append,
    }


def _cache_operations(sandbox: Path, held: list[bytes]) -> dict[str, Callable[[], Any]]:
    def with_cache(use: Callable[[tiering.Store], Any]) -> Callable[[], None]:
        def run() -> None:
            store = tiering.cached(sandbox / "store", "4MB", sandbox / "cache")
            try:
                use(store)
            finally:
                store.close()

        return run

    def read(store: tiering.Store) -> None:
        assert [bytes(image) for image in store.read(np.arange(len(store)))] == held

    def serve(store: tiering.Store) -> None:
        for batch in tiering.Loader(store, 5, threads=1):
            for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
                assert bytes(image) == held[index]

    return {
        "info": lambda: _command("cache", "info", "--cache-dir", sandbox / "cache"),
        "verify": lambda: _command("cache", "verify", "--cache-dir", sandbox / "cache"),
        "open": with_cache(len),
        "read": with_cache(read),
        "serve": with_cache(serve),
    }


def _command(*words: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exit_code in (2, 3, 4):
        raise TieringError("command", found=done.output)
    if done.exit_code == 1:
        assert "problem" in done.output or "damaged" in done.output, done.output
        raise TieringError("verify", found="damage")
    if done.exit_code:
        raise RuntimeError(f"exit code {done.exit_code}: {done.output[-400:]} {done.exception!r}")


def _outcome(run: Callable[[], Any]) -> str:
    try:
        run()
    except TieringError as error:
        return type(error).__name__
    except BaseException as error:  # noqa: BLE001 - whatever it is, it has no name
        at = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(at))
        return f"raw {type(error).__name__}: {str(error)[:300]} at {where}"
    return "ok"


def _held(root: Path, case: Case) -> list[bytes]:
    base = "lmdb" if case.base in ("unfinished", "cache") else case.base
    with np.load(root / "bases" / base / "holds.npz") as arrays:
        return [arrays[name].tobytes() for name in arrays.files]


def _snapshot(sandbox: Path) -> dict[str, tuple[object, ...]]:
    """Everything but what a command was told to write: names, kinds, modes, and contents."""
    found: dict[str, tuple[object, ...]] = {}
    for at, directories, names in os.walk(sandbox):
        if Path(at) == sandbox:
            directories[:] = [name for name in directories if name not in ("store", "out", "tmp", "cache")]
        for name in [*directories, *names]:
            path = Path(at) / name
            about = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(sandbox))] = (about.st_mode, about.st_mtime_ns if content else 0, content)
    return found


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Measure the most memory that was resident within the block, in bytes, and that of children."""
    Path("/proc/self/clear_refs").write_text("5")
    peak = [0]
    yield peak
    status = Path("/proc/self/status").read_text()
    mine = int(status.split("VmHWM:")[1].split()[0]) << 10
    peak[0] = max(mine, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)


if __name__ == "__main__":
    main()
