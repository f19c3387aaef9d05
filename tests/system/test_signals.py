"""Signals that end a process are heard, whatever Python is doing when they come."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tiering.system.signals import ending_interrupts, exit_code_of

SWALLOWED = """
import os, signal, time
from tiering.system.signals import ending_interrupts, exit_code_of

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

try:
    with ending_interrupts():
        Closing()
        time.sleep(30)
except KeyboardInterrupt as error:
    raise SystemExit(exit_code_of(error))
"""


def test_a_signal_that_comes_in_a_destructor_still_ends_the_block():
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=25, check=False)
    assert (done.returncode, done.stderr) == (143, "")


def as_polars_does() -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        raise TypeError("'<unprintable str object>' is not a Polars data type") from None


def test_an_interruption_that_compiled_code_turned_into_an_error_of_its_own_is_one():
    with pytest.raises(KeyboardInterrupt) as raised, ending_interrupts():
        as_polars_does()
    assert exit_code_of(raised.value) == 128 + signal.SIGTERM
    with pytest.raises(TypeError, match="nobody"), ending_interrupts():
        raise TypeError("nobody interrupted this")
