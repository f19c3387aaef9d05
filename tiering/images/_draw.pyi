from tiering.arrays import AnyArray, MaskArray, PixelArray
from tiering.images.geometry import GeometryArray, StoredPart
from tiering.images.markers import Encoded

def draw_jpeg(
    data: Encoded,
    width: int,
    height: int,
    parts: list[StoredPart],
    table: AnyArray | None,
    interpolation: int,
    antialias: bool,
    /,
) -> bool: ...
def draw_pixels(
    pixels: PixelArray, parts: list[StoredPart], table: AnyArray | None, interpolation: int, antialias: bool, /
) -> None: ...
def draw_batch(
    pixels: PixelArray | list[PixelArray],
    geometries: GeometryArray,
    mirrored: MaskArray,
    out: PixelArray,
    table: AnyArray | None,
    interpolation: int,
    antialias: bool,
    /,
) -> None: ...
