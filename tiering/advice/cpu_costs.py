"""Costs: the processor's time for a sample, by each way to serve it.

They are measured on the machine and the images at hand (tiering.measure.calibration), or figured from class figures:
2 cores of AMD EPYC, 2026-11, benchmarks/prediction.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tiering.advice.dataset_sizes import Data

#: s and B/s: a view of a warm map, and a copy of it that leaves the processor's cache.
_VIEW, _VIEW_RATE = 1.0e-6, 12e9
#: s and B/s: open, read and close a warm file in a worker.
_FILE, _FILE_RATE = 14e-6, 4e9
#: s and pixels/s: decode a JPEG or the like and bring it to its shape; pixels that are stored as they are. What an
#: image costs however small it is mostly holds the interpreter's lock, what its pixels cost does not.
_DECODE, _DECODE_RATE, _RAW_RATE = 30e-6, 55e6, 300e6
_DECODE_SERIAL, _PIXEL_SERIAL = 0.7, 0.05
#: s and B/s: copy a row of pixels from a map into a batch.
_ROW, _ROW_RATE = 6e-6, 2.5e9
#: s and B/s: announce a file.
_TELL, _TELL_RATE = 12e-6, 2.5e9
#: Pixels of a photograph when nothing is known of them: B of JPEG to a pixel.
_BYTES_A_PIXEL: Final = 0.6
#: Bytes of a compressed chunk of pixels at least, as tiering convert packs it.
PIXEL_CHUNK: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Work:
    """Processor time of one sample: s in one thread, of which the share `serial` is not divided among threads.

    Serial is what holds the interpreter's lock, memory or caches that threads share (Amdahl's law).
    """

    seconds: float
    serial: float = 0.0

    def on(self, threads: float) -> float:
        """Return s between two samples when so many threads, at least 1, work."""
        return self.seconds * (self.serial + (1 - self.serial) / threads)


@dataclass(frozen=True, slots=True)
class Coding:
    """A codec on rows of pixels. ratio: stored / plain bytes; work: a sample whose chunk is decoded for it, or held.

    chunk: rows in a chunk, which is decoded as a whole: s in one thread.
    """

    ratio: float
    work: Work
    chunk_s: float
    chunk: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time for one sample of a dataset, by way.

    view: out of a mapped store, copied once; file: open, read, close; decode: encoded bytes to pixels of one shape;
    row: pixels out of a mapped store into a batch; codings: by name of the codec. start_s: of an epoch.
    fill: s a byte that the kernel takes to bring cold bytes into the page cache; touch: s a byte that a reader takes
    for the faults of a map's pages, the first time; fresh: s a byte of the faults of memory for batches of pixels, the
    first time; tell_file_s: to announce a file. measured: on the machine at hand.
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


def class_costs(data: Data) -> Costs:
    """Return what class figures make of a dataset."""
    pixels = data.pixels or data.mean / (3 if data.raw else _BYTES_A_PIXEL)
    rate = _RAW_RATE if data.raw else _DECODE_RATE
    codings = {}
    if data.row_bytes:
        rows = max(1, PIXEL_CHUNK // data.row_bytes)
        for name, (ratio, speed) in _CODECS.items():
            chunk_s = rows * data.row_bytes / speed
            codings[name] = Coding(
                ratio, Work(_ROW + data.row_bytes / _ROW_RATE + (chunk_s if rows == 1 else 0), 0.1), chunk_s, rows
            )
    return Costs(
        view=Work(_VIEW + data.mean / _VIEW_RATE, 1.0),
        file=Work(_FILE + data.mean / _FILE_RATE, 0.6),
        decode=_together(Work(_DECODE, _DECODE_SERIAL), Work(pixels / rate, _PIXEL_SERIAL)),
        row=Work(_ROW + data.row_bytes / _ROW_RATE, 0.6),
        codings=codings,
        tell_file_s=_TELL + data.mean / _TELL_RATE,
    )


def _together(one: Work, other: Work) -> Work:
    """Return what two pieces of work are, one after the other."""
    seconds = one.seconds + other.seconds
    return Work(seconds, (one.seconds * one.serial + other.seconds * other.serial) / seconds)


#: Bytes left of photographs as pixels, and plain B/s of decoding by one core; tiering convert measures a sample.
_CODECS: Final = {"zstd": (0.80, 0.65e9), "blosc-lz4": (0.84, 1.0e9)}
