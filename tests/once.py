"""Directories that tests only read are made once in a run, not once by each of its worker processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent.parent / "fixtures"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the directory of that name; the first that asks makes it, and the others wait. Nobody writes to it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    place = root / "once" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            begun = place.with_name(f"{name}.begun-{os.getpid()}")
            make(begun)
            begun.rename(place)
    return place


def photographs(factory: pytest.TempPathFactory, count: int, classes: int = 10, seed: int = 0) -> Path:
    """Photographs of about 6 kB in class folders, cut from those of the fixtures."""

    def draw(place: Path) -> None:
        words = ("--count", str(count), "--classes", str(classes), "--seed", str(seed))
        script = [sys.executable, FIXTURES / "make_images.py", *words, place]
        subprocess.run(script, check=True, capture_output=True)

    return made_once(factory, f"{count}-photographs-{classes}-{seed}", draw)
