"""A watched job of plain files, with the rights to see its calls: exact epochs, bytes and names."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time

import pytest

from tiering.system import bpf
from tiering.system.process_files import stat_of
from tiering.system.process_tree import ProcessTree
from tiering.trace.profile import profile_trace
from tiering.trace.watching.data_files import DataFiles
from tiering.trace.watching.source import Look
from tiering.trace.watching.system_calls import open_system_calls
from tiering.trace.watching.watch import watch

#: Two workers as a DataLoader has them: forked for each epoch, each reads whole small files in a shuffled order. The
#: program itself keeps one file open from before it is watched.
JOB = """
import os, random, sys
kept = open(os.path.join(sys.argv[1], "000"), "rb", buffering=0)
kept.read(100)
print("ready", flush=True)
sys.stdin.readline()
for epoch in range(3):
    names = sorted(os.listdir(sys.argv[1]))
    random.Random(epoch).shuffle(names)
    workers = []
    for worker in range(2):
        workers.append(os.fork())
        if workers[-1] == 0:
            for name in names[worker::2]:
                with open(os.path.join(sys.argv[1], name), "rb") as file:
                    file.read()
            os._exit(0)
    for worker in workers:
        os.waitpid(worker, 0)
kept.read()
sys.stdin.readline()
"""


@pytest.fixture
def files(tmp_path):
    directory = tmp_path / "files"
    directory.mkdir()
    for number in range(200):
        (directory / f"{number:03}").write_bytes(os.urandom(10_000))
    return directory


def test_shuffled_epochs_over_small_files_are_exact(tmp_path, files):
    words = [sys.executable, "-c", JOB, str(files)]
    job = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert job.stdin is not None
    assert job.stdout is not None
    job.stdout.readline()

    def let_it_work(look):
        if job.stdin is not None and not job.stdin.closed:
            job.stdin.write("go\ngo\n")
            job.stdin.close()

    made = watch(job.pid, tmp_path / "t", on_look=let_it_work, seconds=60)
    job.wait()
    assert [source.used for source in made.sources if source.name == "system calls"] == [True]
    profile = profile_trace(tmp_path / "t")
    of_file = 10_000 - 100
    assert profile.bytes_read == pytest.approx(3 * 200 * 10_000 + of_file, abs=6)
    assert profile.epochs_found is not None
    assert profile.epochs_found.count == 3
    assert profile.files == 200
    assert profile.bytes_reread == 2 * 200 * 10_000 + of_file


def test_a_process_whose_end_was_lost_is_forgotten():
    """Its number may be given away again, to a process of somebody else."""
    words = [sys.executable, "-S", "-c", "import os, sys\nif not os.fork(): sys.stdin.read()\nelse: os.wait()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as job:
        tree = ProcessTree([stat_of(job.pid).identity])
        calls = open_system_calls(tree.look(), DataFiles(None), with_maps=False)

        def look():
            return calls.take(Look(time.time(), 0.1, tree.look(), {}, job.pid))

        while len(calls.alive()) < 2:
            look()
        (child,) = calls.alive() - {job.pid}
        assert recorded(calls, child)
        job.stdin.close()
        job.wait()
        # Nobody emptied the ring in time.
        calls._recorder.take()
        look()
        assert calls.alive() == set()
        assert not recorded(calls, child)
        assert not recorded(calls, job.pid)
        calls.close()


def recorded(calls, pid):
    """Return whether the kernel records a process."""
    try:
        bpf.value_of(calls._recorder._tree, struct.pack("<I", pid))
    except FileNotFoundError:
        return False
    return True


def test_a_kernel_without_a_tracepoint_is_told_by_its_name():
    with pytest.raises(OSError, match="this kernel has no btf_trace_nothing"):
        bpf.tracepoint_types(["sys_exit", "nothing"])
