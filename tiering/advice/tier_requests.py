"""The requests of an epoch in which every sample comes from its tier: how many, and how many bytes in all.

In a global order every sample of a packed store is a request of its own. In a block order (`shuffle="block"`) the
loader asks for a window of 16 blocks of 8 MiB at once, and neighbours become one request of up to 8 MiB. Every block
belongs to one rank, so more ranks hardly change the number of requests: a boundary between two ranks cuts a block, or
an encoded chunk, in two, and both ranks ask for their part, or for the whole chunk. Encoded chunks of several samples
are asked for one by one; those of one sample are neighbours like plain samples.

Example: 90,909 samples of 110 kB are 10 GB. One rank reads them with 1,193 requests of 8 MiB, 4 ranks with 3 more.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiering.advice.cpu_costs import Costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.stored_size import ZSTD_RATIO
from tiering.io_sizes import BLOCK_BYTES, CHUNK_BYTES
from tiering.literals import Format, ReadOrder


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of all nodes together.

    Attributes:
        count: How many.
        bytes: Bytes of all of them.
    """

    count: float
    bytes: float


def requests_of(
    data: DatasetSizes, store_format: Format, codec: str, costs: Costs, order: ReadOrder = "global", ranks: int = 1
) -> Requests:
    """Return the requests for every sample of an epoch, once each, with nothing cached.

    Args:
        data: The dataset.
        store_format: How it is kept.
        codec: Of "zarr" and "pixels".
        costs: Source of the chunks and ratios of codecs of pixels.
        order: The order in which samples are read.
        ranks: Processes that share each epoch. Each has at least one sample.
    """
    samples = data.samples
    cut = ranks - 1
    chunk = rows_of_a_chunk(data, store_format, codec, costs)
    if chunk is not None and (order == "global" or chunk[0] > 1):
        rows, chunk_bytes = chunk
        chunks = min(float(samples), max(1.0, samples / rows) + cut) if order == "block" else samples
        return Requests(chunks, chunks * chunk_bytes)
    item = chunk[1] if chunk else data.row_bytes if store_format == "pixels" else data.mean
    if store_format == "folder" or order == "global":
        return Requests(samples, samples * item)
    return Requests(min(float(samples), max(1.0, samples * item / BLOCK_BYTES) + cut), samples * item)


def rows_of_a_chunk(data: DatasetSizes, store_format: Format, codec: str, costs: Costs) -> tuple[float, float] | None:
    """Return the samples in an encoded chunk and its stored bytes; None where samples are stored plain.

    A sample that is larger than a chunk counts as one chunk of its size.
    """
    if store_format == "pixels":
        coding = costs.codings.get(codec)
        return None if coding is None else (coding.chunk, data.row_bytes * coding.chunk * coding.ratio)
    if store_format == "zarr" and codec != "none":
        return max(1.0, CHUNK_BYTES / data.mean), max(data.mean, CHUNK_BYTES) * ZSTD_RATIO
    return None
