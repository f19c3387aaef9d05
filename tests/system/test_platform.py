"""On a system other than Linux, tiering says so in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tiering
from tiering.errors import MachineError
from tiering.system import require_linux

#: Windows has neither of these modules, nor this signal.
ELSEWHERE = """
import signal, sys, types
del signal.SIGHUP
sys.modules["fcntl"] = sys.modules["resource"] = None
import tiering.cli.app, tiering.system
tiering.system.sys = types.SimpleNamespace(platform="win32")
sys.argv = ["tiering", *sys.argv[1:]]
tiering.cli.app.main()
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", ELSEWHERE, *words], capture_output=True, text=True, check=False)


def test_a_command_fails_with_one_line(tmp_path):
    done = run("profile", str(tmp_path))
    assert done.returncode == 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("MachineError: tiering: expected Linux, found win32. Run it on Linux")


def test_help_is_shown_everywhere():
    assert run("--help").returncode == 0


def test_the_library_refuses(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MachineError, match="expected Linux, found darwin"):
        require_linux()
    monkeypatch.delitem(vars(tiering), "open_store", raising=False)
    with pytest.raises(MachineError, match="expected Linux"):
        _ = tiering.open_store
