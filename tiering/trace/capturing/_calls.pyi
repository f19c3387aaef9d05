from collections.abc import Callable

from tiering.arrays import AnyArray
from tiering.trace.readers.processes import File, OpenFile, Process

def add(
    taken: bytes | memoryview,
    at: int,
    members: dict[int, Process],
    directories: dict[int, str],
    written: dict[str, File],
    name: Callable[[str], File],
    numbers: dict[int, int],
    files: list[File],
    open_file: type[OpenFile],
    begin: float,
    rows: AnyArray,
    used: int,
    /,
) -> tuple[int, int]: ...
def finished(taken: bytes | memoryview, /) -> int: ...
