"""How busy the machine's NVIDIA accelerators are, by NVML, the driver's own library (docs.nvidia.com/deploy/nvml-api).

The library comes with the driver, so nothing needs to be installed. Without it there are no accelerators to see, which
is no error: `missing` says why.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

_LIBRARY: Final = "libnvidia-ml.so.1"
_NAME_BYTES: Final = 96
#: How many processes of one accelerator are looked at.
_MOST_PROCESSES: Final = 256
_SUCCESS: Final = 0


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator now.

    Attributes:
        name: Its model.
        busy: Share of the last sampling period (up to 1 s) in which it computed, in [0, 1].
        memory_used: B.
        pids: The processes that compute on it; None if the driver does not tell, as inside many containers.
    """

    name: str
    busy: float
    memory_used: int
    pids: frozenset[int] | None


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _ProcessInfo(ctypes.Structure):
    """nvmlProcessInfo_t of nvmlDeviceGetComputeRunningProcesses_v3."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    )


class Accelerators:
    """The accelerators of this machine, asked again and again. Use it as a context manager.

    Args:
        library: The name of NVML's library.

    Attributes:
        missing: Why no accelerator is seen; "" if some are.
    """

    def __init__(self, library: str = _LIBRARY) -> None:
        self._nvml: Any = None
        self._devices: list[tuple[str, ctypes.c_void_p]] = []
        try:
            self._nvml = ctypes.CDLL(library)
        except OSError:
            self.missing = f"no NVIDIA driver is installed ({library} is missing)"
            return
        if (status := self._nvml.nvmlInit_v2()) != _SUCCESS:
            self._nvml = None
            self.missing = f"NVIDIA's driver does not answer (nvmlInit: error {status})"
            return
        self._devices = list(self._found())
        self.missing = "" if self._devices else "NVIDIA's driver finds no accelerator"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml, self._devices = None, []

    def look(self) -> tuple[Accelerator, ...]:
        """Return the accelerators now, without those that do not answer. It costs about 0.1 ms for each."""
        return tuple(each for name, device in self._devices if (each := self._asked(name, device)) is not None)

    def _found(self) -> Iterator[tuple[str, ctypes.c_void_p]]:
        count = ctypes.c_uint()
        if self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != _SUCCESS:
            return
        for number in range(count.value):
            device, name = ctypes.c_void_p(), ctypes.create_string_buffer(_NAME_BYTES)
            if self._nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(device)) != _SUCCESS:
                continue
            named = self._nvml.nvmlDeviceGetName(device, name, _NAME_BYTES) == _SUCCESS
            yield name.value.decode(errors="replace") if named else f"accelerator {number}", device

    def _asked(self, name: str, device: ctypes.c_void_p) -> Accelerator | None:
        use, memory = _Utilization(), _Memory()
        if self._nvml.nvmlDeviceGetUtilizationRates(device, ctypes.byref(use)) != _SUCCESS:
            return None
        known = self._nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == _SUCCESS
        return Accelerator(name, use.gpu / 100, int(memory.used) if known else 0, self._pids(device))

    def _pids(self, device: ctypes.c_void_p) -> frozenset[int] | None:
        count, infos = ctypes.c_uint(_MOST_PROCESSES), (_ProcessInfo * _MOST_PROCESSES)()
        ask = getattr(self._nvml, "nvmlDeviceGetComputeRunningProcesses_v3", None)
        if ask is None or ask(device, ctypes.byref(count), infos) != _SUCCESS:
            return None
        # In a container the driver sees processes of other name spaces, and lists none.
        return frozenset(int(each.pid) for each in infos[: count.value]) or None
