"""Photographs for a benchmark, made from those of the fixtures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_MAKE = Path(__file__).parent.parent / "fixtures/make_images.py"


def drawn_photos(directory: Path, count: int, sides: str) -> Path:
    """Make JPEG files in a new directory, and return it. sides: range of their sides in pixels, such as "600-1000"."""
    command = [sys.executable, _MAKE, directory, "--count", str(count), "--side", sides, "--png", "0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return directory
