"""NVIDIA's accelerators through the driver's library: its absence is said, and its answers are read as it lays them out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tiering.system.accelerators import Accelerator, Accelerators

#: The calls of NVML that are used, as nvml.h declares them, for two devices; the second one does not answer.
NVML = """
#include <string.h>
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process;
int ends;
int nvmlInit_v2(void) { return STATUS; }
int nvmlShutdown(void) { ends++; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned length) { strncpy(name, "H100 SXM", length); return 0; }
int nvmlDeviceGetUtilizationRates(void *device, utilization *use) { use->gpu = 31; return (long)device == 2 ? 999 : 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory *m) { m->total = 80; m->free = 50; m->used = 30; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *infos) {
  if (*count < 2) return 7;
  infos[0].pid = 41; infos[1].pid = 42; *count = 2; return 0;
}
"""


def library(directory: Path, status: int) -> str:
    source = directory / "nvml.c"
    source.write_text(NVML.replace("STATUS", str(status)))
    path = directory / f"libnvml-{status}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, source], check=True)
    return str(path)


def test_a_machine_without_a_driver_has_none_and_says_why():
    with Accelerators("libno-such-driver.so.1") as accelerators:
        assert accelerators.look() == ()
        assert "no NVIDIA driver" in accelerators.missing


@pytest.mark.parametrize("status", [0, 9])
def test_what_the_driver_answers(tmp_path, status):
    with Accelerators(library(tmp_path, status)) as accelerators:
        if status:
            assert accelerators.missing == "NVIDIA's driver does not answer (nvmlInit: error 9)"
            assert accelerators.look() == ()
        else:
            assert accelerators.missing == ""
            assert accelerators.look() == (Accelerator("H100 SXM", 0.31, 30, frozenset({41, 42})),)
