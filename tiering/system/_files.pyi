from tiering.arrays import AnyArray, IndexArray, MaskArray

def list_names(directory: int, /) -> tuple[bytes, bytes]: ...
def neighbours(paths: list[bytes], /) -> list[int]: ...
def look_at_files(
    directory: int, names: bytes, ends: IndexArray, modes: IndexArray, sizes: IndexArray, changed: IndexArray, /
) -> None: ...
def read_files(
    directory: int,
    names: AnyArray,
    ends: IndexArray,
    sizes: IndexArray,
    out: memoryview,
    crcs: AnyArray,
    read: MaskArray,
    /,
) -> None: ...
