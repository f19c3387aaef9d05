"""The program in a process of its own, without the second that Python takes to import it.

A process that has imported everything waits, and forks a child for each command. The child gets the command's words,
its environment, directory and streams, and from there on does what the `tiering` script does, to the interpreter's end.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_WAITING = """
import atexit, gc, glob, importlib, json, os, pkgutil, signal, socket, sys

code = 1


def end():
    # The first registered runs last. What Python does afterwards would write to every object, and so copy every page.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


atexit.register(end)
import lmdb, obstore, polars, s3fs, scipy.optimize, skops.io, sklearn.ensemble, zarr
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
    words, environment, directory = json.loads(data)
    child = os.fork()
    if not child:
        break
    for stream in streams:
        os.close(stream)
    asked.sendall(json.dumps(child).encode())
    status = os.waitpid(child, 0)[1]
    asked.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())

asked.close()
for to, stream in enumerate(streams):
    os.dup2(stream, to)
    os.close(stream)
os.environ.clear()
os.environ.update(environment)
os.chdir(directory)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["tiering", *words]
try:
    tiering.cli.app.main()
    code = 0
except SystemExit as ended:
    code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
    raise
"""


class WarmProgram:
    """Runs `tiering` with some words, as subprocess.run does."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WAITING, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "_RJEM_MALLOC_CONF": "background_thread:false"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()

    def close(self) -> None:
        """End the waiting process."""
        self._socket.close()
        self._process.wait()

    def run(
        self, words: list[str], environment: dict[str, str], directory: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run it; return what it wrote and its exit code. Raises subprocess.TimeoutExpired, and kills it before."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as nothing:
            message = json.dumps([words, environment, str(directory)]).encode(errors="surrogatepass")
            streams = [nothing.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(self._socket, [message], streams)
            self._socket.settimeout(timeout)
            child = self._answer()
            try:
                code = self._answer()
            except TimeoutError as late:
                os.kill(child, signal.SIGKILL)
                self._socket.settimeout(None)
                self._answer()
                raise subprocess.TimeoutExpired(words, timeout) from late
            said = []
            for stream in (out, err):
                stream.seek(0)
                said.append(stream.read().decode())
            return subprocess.CompletedProcess(["tiering", *words], code, *said)

    def _answer(self) -> Any:
        if not (data := self._socket.recv(100)):
            raise AssertionError("the waiting process has ended")
        return json.loads(data)


@functools.cache
def _program() -> WarmProgram:
    program = WarmProgram()
    atexit.register(program.close)
    return program


def run(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `tiering` with some words in a process of its own.

    words: turned into text. cwd: its directory, by default this process's. env: variables beside this process's.
    """
    return _program().run([str(word) for word in words], os.environ | (env or {}), cwd or Path.cwd(), timeout=300)
