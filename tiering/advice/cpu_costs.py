"""Processor time of one sample, for each way to serve it.

`tiering.measure.calibration` measures these costs with the loader itself, on some of the images. Without a measurement,
`typical_costs` computes them from figures for one class of machine: 2 cores of AMD EPYC, 2026-11,
benchmarks/prediction.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tiering.advice.dataset_sizes import DatasetSizes
from tiering.io_sizes import PIXEL_CHUNK_BYTES
from tiering.literals import TrainingFormat

# The figures are pairs of s for each sample, and B/s or pixels/s for its size.
#: A view into a map whose pages are in memory, and a copy of it that leaves the processor's cache.
_VIEW, _VIEW_RATE = 1.0e-6, 12e9
#: Open, read and close a cached file in a worker.
_FILE, _FILE_RATE = 14e-6, 4e9
#: Decode a JPEG or the like and bring it to its shape. _RAW_RATE is for files of plain pixels.
_DECODE, _DECODE_RATE, _RAW_RATE = 30e-6, 55e6, 300e6
#: Copy a row of pixels from a map into a batch.
_ROW, _ROW_RATE = 6e-6, 2.5e9
#: Announce a file to the kernel.
_ANNOUNCE, _ANNOUNCE_RATE = 12e-6, 2.5e9
#: Bytes of JPEG for each pixel, for photographs of unknown dimensions.
_BYTES_PER_PIXEL: Final = 0.6
#: By codec: stored / plain bytes for photographs, and plain B/s that one core decodes. `tiering convert` measures both.
_CODECS: Final = {"zstd": (0.80, 0.65e9), "blosc-lz4": (0.84, 1.0e9)}


@dataclass(frozen=True, slots=True)
class Work:
    """Processor time of one sample.

    Attributes:
        seconds: In one thread.
        serial: Share that more threads do not divide, because it holds the GIL, or memory or caches that threads share
            (Amdahl's law). Above 1 where threads hinder each other.
    """

    seconds: float
    serial: float = 0.0

    def on(self, threads: float) -> float:
        """Return the seconds between two samples when this many threads work, at least 1."""
        return self.seconds * (self.serial + (1 - self.serial) / threads)


@dataclass(frozen=True, slots=True)
class Coding:
    """The cost of a codec for rows of pixels.

    Attributes:
        ratio: Stored bytes / plain bytes.
        work: Time of a sample out of a chunk that is already decoded. With one row to a chunk, decoding is included.
        chunk_s: Seconds to decode a whole chunk in one thread.
        chunk: Rows in a chunk.
    """

    ratio: float
    work: Work
    chunk_s: float
    chunk: int


@dataclass(frozen=True, slots=True)
class TrainingCosts:
    """Processor time of one sample of a store made for training.

    Attributes:
        view: Take a view out of a mapped store and copy it once. Nothing for pixels: crops are drawn from the map.
        decode: Decode an image and crop it, or crop pixels.
        make_s: Seconds to re-encode or decode an original for the store.
    """

    view: Work
    decode: Work
    make_s: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time of one sample of a dataset, for each way to serve it.

    Attributes:
        view: Take a view out of a mapped store and copy it once.
        file: Open, read and close a file.
        decode: Decode encoded bytes to pixels of one shape.
        row: Copy a row of pixels out of a mapped store into a batch.
        codings: Costs of each codec of pixels, by name.
        start_s: Seconds to start an epoch.
        fill: Seconds per byte that the kernel needs to bring uncached bytes into the page cache.
        touch: Seconds per byte that the first pass over a map takes longer: page faults, and bytes that no cache of the
            processor holds yet.
        fresh: Seconds per byte for the page faults of new memory for batches of pixels.
        tell_file_s: Seconds to announce a file.
        measured: Whether the costs were measured on this machine.
        crop: Crop an image out of a row of pixels, where training takes crops of them.
        make_s: Seconds to make a sample of a store made for training, beside reading the original.
        training: Costs of stores made for training, by format, where they were measured.
    """

    view: Work
    file: Work
    decode: Work
    row: Work
    codings: dict[str, Coding]
    start_s: float = 1e-3
    fill: float = 0.35e-9
    touch: float = 0.25e-9
    fresh: float = 0.5e-9
    tell_file_s: float = 35e-6
    measured: bool = False
    crop: Work = Work(0.0)
    make_s: float = 0.0
    training: Mapping[TrainingFormat, TrainingCosts] = field(default_factory=dict)


def pixels_of(data: DatasetSizes) -> float:
    """Return the pixels of a mean image, typical ones for its bytes where they are unknown."""
    return data.pixels or data.mean / (3 if data.raw else _BYTES_PER_PIXEL)


def typical_costs(data: DatasetSizes) -> Costs:
    """Return the costs of a dataset on a typical machine."""
    rate = _RAW_RATE if data.raw else _DECODE_RATE
    codings = {}
    if data.row_bytes:
        rows = max(1, PIXEL_CHUNK_BYTES // data.row_bytes)
        for name, (ratio, speed) in _CODECS.items():
            chunk_s = rows * data.row_bytes / speed
            codings[name] = Coding(
                ratio, Work(_ROW + data.row_bytes / _ROW_RATE + (chunk_s if rows == 1 else 0), 0.1), chunk_s, rows
            )
    return Costs(
        view=Work(_VIEW + data.mean / _VIEW_RATE, 1.0),
        file=Work(_FILE + data.mean / _FILE_RATE, 0.6),
        # Decoders release the GIL, and processes do not share it: only a measurement shows a share that does not scale.
        decode=Work(_DECODE + pixels_of(data) / rate),
        row=Work(_ROW + data.row_bytes / _ROW_RATE, 0.6),
        codings=codings,
        tell_file_s=_ANNOUNCE + data.mean / _ANNOUNCE_RATE,
    )
