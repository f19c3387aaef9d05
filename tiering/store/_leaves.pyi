from tiering.arrays import IndexArray

def add_values(
    leaf: bytearray,
    first: int,
    sample: int,
    next_page: int,
    data: memoryview,
    sizes: IndexArray,
    out: bytearray,
    offsets: memoryview,
    leaves: IndexArray,
    /,
) -> tuple[int, int, int, int, int, int]: ...
