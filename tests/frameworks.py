"""An environment of its own with frameworks that are too large for the tests' own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def frameworks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with Lightning, Accelerate and JAX (200 MB), and everything that the tests' own environment has."""
    home = tmp_path_factory.mktemp("frameworks") / "venv"
    venv.create(home, with_pip=False)
    found = home / "bin" / "python"
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        found,
        "install",
        "-q",
        "lightning>=2.6",
        "accelerate>=1.10",
        "jax>=0.4",
    ]
    subprocess.run(install, check=True, timeout=1200)
    return found
