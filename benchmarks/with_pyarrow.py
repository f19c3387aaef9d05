"""An environment of its own with pyarrow, and everything that this one has: pyarrow starts threads when imported."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def with_pyarrow(home: Path) -> Path:
    """Make the environment, unless it is there, and return its interpreter."""
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=False)
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    if not (packages / "pyarrow").exists():
        install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "pyarrow>=20"]
        subprocess.run(list(map(str, install)), check=True, timeout=1200)
    return python
