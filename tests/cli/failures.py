"""How every command fails: an exit code, one line on stderr, and nothing on stdout."""

from __future__ import annotations


def error_line(done, code):
    """Return the one line of error. done: the result of a process, or of Typer's runner."""
    assert (done.exit_code if hasattr(done, "exit_code") else done.returncode) == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line
