"""Page faults of real processes, as on a machine with many processors."""

from __future__ import annotations

import os
import subprocess
import sys

from tiering.system.page_fault_events import PageFaultEvents

THREADS = """
import sys, threading
print("ready", flush=True)
for line in sys.stdin:
    may_end = threading.Event()
    threads = [threading.Thread(target=may_end.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.readline()
    may_end.set()
    for thread in threads:
        thread.join()
    print("ended", flush=True)
"""


def test_threads_that_end_give_back_what_they_needed():
    before = len(os.listdir("/proc/self/fd"))
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-S", "-c", THREADS], text=True, **streams) as job:
        job.stdout.readline()
        events, held = PageFaultEvents(processors=()), []
        events.attach(job.pid)
        for _ in range(3):
            print(file=job.stdin, flush=True)
            job.stdout.readline()
            events.attach(job.pid)
            held.append(len(os.listdir("/proc/self/fd")))
            print(file=job.stdin, flush=True)
            job.stdout.readline()
            events.take()
            events.settle()
        job.stdin.close()
        events.close()
    assert held[0] > before + 40
    # The last of them may be ending yet.
    assert max(held) < held[0] + 40
    assert len(events.majors) < 20
