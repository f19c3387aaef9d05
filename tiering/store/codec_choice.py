"""Choose a codec: measure the candidates on some samples, and take the one with the shortest expected epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from tiering.store.codecs import Codec, parse_codec
from tiering.system.machine import usable_cores

#: The codecs to try, in order of preference: Zarr's own default before the kinds of blosc. Plain lz4 is missing because
#: the Zarr v3 specification does not have it, and gzip because it decodes four times slower than zstd at about the same
#: size.
CANDIDATES: Final = ("none", "zstd", "blosc-lz4-noshuffle", "blosc-lz4", "blosc-zstd")

#: Further candidates for numbers of several bytes, whose upper bytes vary little.
SHUFFLED: Final = ("blosc-lz4-shuffle", "blosc-zstd-shuffle")

#: The assumed bandwidth of the storage, bytes/s: that of a local NVMe or SATA SSD.
DISK_BANDWIDTH: Final = 1e9

#: Choose the first candidate whose time, multiplied by this, is no longer than the best. So neither noise nor a tiny
#: gain decides.
_TOLERANCE: Final = 0.9

#: Enough for a ratio and a speed; the slowest candidate encodes it in 0.2 s.
_MEASURED_BYTES: Final = 8 << 20
_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class CodecCost:
    """The cost of a shuffled epoch with one candidate.

    ratio: stored / plain bytes. decode_speed: plain bytes/s of one core; infinite for "none".
    seconds: expected, per plain byte of the epoch.
    """

    codec: str
    ratio: float
    decode_speed: float
    seconds: float


@dataclass(frozen=True, slots=True)
class CodecChoice:
    """A codec and the estimates it was chosen by.

    name: of the codec. read_amplification: plain bytes of the chunks that a shuffled epoch decodes, per byte asked
    for. estimates: one per candidate, in the order of CANDIDATES.
    """

    name: str
    read_amplification: float
    estimates: tuple[CodecCost, ...]


def choose_codec(
    samples: Sequence[bytes],
    chunk_bytes: int,
    *,
    item: int = 1,
    bandwidth: float = DISK_BANDWIDTH,
    cores: int | None = None,
) -> CodecChoice:
    """Choose the codec with which a shuffled epoch takes the least time, by measuring CANDIDATES on samples.

    samples: some of the dataset, each as its bytes are packed; chunk_bytes: bytes of a chunk; item: bytes of one number
    (with several, SHUFFLED are candidates, too); bandwidth: of the storage when it is read, bytes/s; cores: that decode
    at once, by default the usable ones.

    The model: a plain chunk is mapped, so only the bytes of a sample are read. Each encoded chunk that a sample touches
    is read and decoded completely, and reading overlaps with decoding. Chunks that stay decoded or cached between
    samples are not taken into account. The first candidate within 10 % of the best is chosen; "none" comes first.

    Returns the choice; for no bytes "none", without estimates. Raises ValueError if a number is not positive.
    """
    decoders = usable_cores() if cores is None else cores
    if not (chunk_bytes > 0 and bandwidth > 0 and decoders > 0):
        raise ValueError(f"chunk_bytes, bandwidth and cores must be positive: {chunk_bytes}, {bandwidth}, {decoders}")
    together = b"".join(samples)
    if not together:
        return CodecChoice("none", 1.0, ())
    chunks = _spread([together[at : at + chunk_bytes] for at in range(0, len(together), chunk_bytes)], chunk_bytes)
    amplification = _read_amplification([len(sample) for sample in samples], chunk_bytes)
    candidates = CANDIDATES if item == 1 else (*CANDIDATES, *SHUFFLED)
    codecs = (parse_codec(name, item) for name in candidates)
    estimates = tuple(_estimate(codec, chunks, amplification, bandwidth, decoders) for codec in codecs)
    best = min(estimate.seconds for estimate in estimates)
    name = next(estimate.codec for estimate in estimates if estimate.seconds * _TOLERANCE <= best)
    return CodecChoice(name, amplification, estimates)


def _spread(chunks: list[bytes], chunk_bytes: int) -> list[bytes]:
    """Pick about _MEASURED_BYTES of the chunks, evenly."""
    picked = min(len(chunks), max(1, _MEASURED_BYTES // chunk_bytes))
    return [chunks[at * len(chunks) // picked] for at in range(picked)]


def _read_amplification(sizes: list[int], chunk_bytes: int) -> float:
    """Return the bytes of all chunks that samples touch, divided by the bytes of the samples.

    This is the mean of the samples' own ratios, weighted by their bytes: an epoch pays for chunks, not for ratios.
    """
    ends = list(accumulate(sizes, initial=0))
    touched = sum((end - 1) // chunk_bytes - begin // chunk_bytes + 1 for begin, end in pairwise(ends) if end > begin)
    return touched * chunk_bytes / ends[-1]


def _estimate(codec: Codec, chunks: list[bytes], amplification: float, bandwidth: float, cores: int) -> CodecCost:
    if codec.name == "none":
        return CodecCost(codec.name, 1.0, math.inf, 1 / bandwidth)
    stored = [codec.encode(chunk) for chunk in chunks]
    plain = sum(map(len, chunks))
    ratio = sum(map(len, stored)) / plain
    speed = plain / min(_seconds(codec.decode, stored) for _ in range(_RUNS))
    return CodecCost(codec.name, ratio, speed, amplification * max(ratio / bandwidth, 1 / (speed * cores)))


def _seconds(decode: Callable[[bytes], object], stored: list[bytes]) -> float:
    """Time the decoding of chunks in CPU time of this thread, so that other processes do not disturb it.

    All the work is on this thread, since blosc's own threads are turned off.
    """
    begin = time.thread_time()
    for chunk in stored:
        decode(chunk)
    return max(time.thread_time() - begin, 1e-9)
