"""The program in a process of its own, without the second that Python takes to import it.

A process that has imported everything waits, and forks a child for each command. The child gets the command's words,
its environment, directory and streams, and from there on does what the `tiering` script does, to the interpreter's end.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

_WAITING = """
import atexit, gc, glob, importlib, json, os, pkgutil, signal, socket, sys
from tests.warm import become, without_waiting

os.fsync = without_waiting(os.fsync)
code = 1


def end():
    # The first registered runs last. What Python does afterwards would write to every object, and so copy every page.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


atexit.register(end)
import encodings.idna, lmdb, obstore, polars, s3fs, scipy.optimize, skops.io, sklearn.ensemble, zarr
import tiering.cli.app

for module in pkgutil.walk_packages(tiering.__path__, "tiering."):
    if not module.name.endswith(("__main__", "serve.torch", "measure.dlio")):  # torch alone takes seconds
        importlib.import_module(module.name)
threads = [open(name).read() for name in glob.glob("/proc/self/task/*/comm")]
# Polars has a thread that frees what was spilled to disk. The pool that it computes with must not have started.
threads = [name for name in threads if not name.startswith("polars-ooc")]
assert len(threads) == 1, f"a process with threads must not be forked: {threads}"
gc.collect()
gc.freeze()
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    data, streams, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    if not data:
        os._exit(0)
    words, environment, directory, own_session, user = json.loads(data)
    child = os.fork()
    if not child:
        break
    for stream in streams:
        os.close(stream)
    asked.sendall(json.dumps(child).encode())
    status = os.waitpid(child, 0)[1]
    asked.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())

asked.close()
if own_session:
    os.setsid()
for to, stream in enumerate(streams):
    os.dup2(stream, to)
    os.close(stream)
if os.isatty(1):
    sys.stdout, sys.stderr = (open(to, "w", buffering=1, closefd=False) for to in (1, 2))
os.environ.clear()
os.environ.update(environment)
os.chdir(directory)
if user is not None:
    become(user)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["tiering", *words]
try:
    tiering.cli.app.main()
    code = 0
except SystemExit as ended:
    code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
    raise
"""


def without_waiting(fsync: Callable[[int], None]) -> Callable[[int], None]:
    """Return a call that makes files durable only for a probe, which measures how long that takes."""

    def called(descriptor: int) -> None:
        if sys._getframe(1).f_globals["__name__"] == "tiering.probing.mount":
            fsync(descriptor)

    return called


def become(user: int) -> None:
    """Give up root's rights for good, but let other processes of the user look at this one as at any other."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


class WarmProgram:
    """Runs `tiering` with some words, one command at a time."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WAITING, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "_RJEM_MALLOC_CONF": "background_thread:false"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()

    def close(self) -> None:
        """End the waiting process."""
        self._socket.close()
        self._process.wait()

    def begin(
        self,
        words: list[str],
        environment: dict[str, str],
        directory: Path,
        streams: list[int],
        *,
        own_session: bool,
        user: int | None,
    ) -> int:
        """Start the program with some streams; return the process's number."""
        message = json.dumps([words, environment, str(directory), own_session, user]).encode(errors="surrogatepass")
        socket.send_fds(self._socket, [message], streams)
        return int(self._answer(None))

    def end(self, timeout: float | None) -> int:
        """Wait for the program that was started last; return its exit code. Raises TimeoutError."""
        return int(self._answer(timeout))

    def _answer(self, timeout: float | None) -> Any:
        self._socket.settimeout(timeout)
        if not (data := self._socket.recv(100)):
            raise AssertionError("the waiting process has ended")
        return json.loads(data)


class Running:
    """A command that runs, with the methods of subprocess.Popen that tests use.

    Its block waits for its end, and kills it after an error.
    """

    def __init__(
        self, words: list[str], environment: dict[str, str], directory: Path, *, own_session: bool, user: int | None
    ) -> None:
        self.args = words
        self.returncode: int | None = None
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed at its end
        self._program = _IDLE.pop() if _IDLE else _started()
        with open(os.devnull) as nothing:
            streams = [nothing.fileno(), self._out.fileno(), self._err.fileno()]
            self.pid = self._program.begin(words, environment, directory, streams, own_session=own_session, user=user)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.kill()
        self.wait()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            try:
                self.returncode = self._program.end(timeout)
            except (TimeoutError, BlockingIOError) as late:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from late
            _IDLE.append(self._program)
        return self.returncode

    def said(self) -> str:
        """Return what it has written to stderr so far."""
        return os.pread(self._err.fileno(), 1 << 30, 0).decode()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it wrote to stdout and stderr."""
        self.wait(timeout)
        found = tuple(os.pread(file.fileno(), 1 << 30, 0).decode() for file in (self._out, self._err))
        self._out.close(), self._err.close()
        return found


#: Programs that wait for a command. There is a second one only where a test runs two commands at a time.
_IDLE: list[WarmProgram] = []


def _started() -> WarmProgram:
    program = WarmProgram()
    atexit.register(program.close)
    return program


def start(
    *words: object,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    own_session: bool = False,
    user: int | None = None,
) -> Running:
    """Start `tiering` with some words in a process of its own.

    words: turned into text. cwd: its directory, by default this process's. env: variables beside this process's.
    own_session: it leads a group of processes, which can get signals as from a terminal. user: whom it becomes first.
    """
    directory = cwd or Path.cwd()
    return Running(
        [str(word) for word in words], os.environ | (env or {}), directory, own_session=own_session, user=user
    )


def run(
    *words: object, cwd: Path | None = None, env: dict[str, str] | None = None, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `tiering` as `start` does, to its end."""
    running = start(*words, cwd=cwd, env=env, user=user)
    try:
        out, err = running.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        raise
    return subprocess.CompletedProcess(["tiering", *running.args], running.returncode, out, err)


def on_terminal(*words: object, width: int, environment: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """Run a command in a terminal of that width; return its exit code, and the lines that it leaves on the screen.

    A line is what the program wrote between two line ends, without what it wrote over (a progress line) and colours.
    """
    code, text = _on_terminal(words, width, environment or {})
    text = re.sub(r"\x1b\[\?25[lh]", "", text)
    text = re.sub(r"[^\n]*\n(?:\r)?\x1b\[1A", "", text)
    lines = [re.split(r"\x1b\[2K|\r", line)[-1] for line in text.split("\n")]
    return code, [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line) for line in lines]


def written_on_terminal(*words: object, width: int) -> str:
    """Run a command in a terminal of that width; return all that it wrote, also what it wrote over, a line for each."""
    _, text = _on_terminal(words, width, {})
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", re.sub(r"\x1b\[2K|\r", "\n", text))


def _on_terminal(words: tuple[object, ...], width: int, environment: dict[str, str]) -> tuple[int, str]:
    program = _IDLE.pop() if _IDLE else _started()
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = os.environ | {"TERM": "xterm", "NO_COLOR": "1"} | environment
    env.pop("COLUMNS", None)
    program.begin([*map(str, words)], env, Path.cwd(), [theirs, theirs, theirs], own_session=True, user=None)
    os.close(theirs)
    parts = []
    with suppress(OSError):  # the kernel's way to say that the last process has closed the terminal
        while part := os.read(ours, 1 << 16):
            parts.append(part)
    os.close(ours)
    code = program.end(60)
    _IDLE.append(program)
    return code, b"".join(parts).decode().replace("\r\n", "\n")
