"""Pack images, or read epochs of them from a bucket through a bounded local cache, with one tool; told by bucket_peers.

Usage: python -m benchmarks.peers.bucket_reader TOOL pack IMAGES TO
       python -m benchmarks.peers.bucket_reader TOOL read URL CACHE BOUND EPOCHS

Reading prints a line for every epoch: its samples and seconds. The bucket's endpoint and keys are in the environment.
"""

# ruff: noqa: PLC0415 - each tool is in an interpreter of its own

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SHARD_BYTES = 8 << 20
BATCH = 64


def main() -> None:
    tool, what, *rest = sys.argv[1:]
    if what == "pack":
        {"tiering": pack_tiering, "streaming": pack_streaming, "litdata": pack_litdata}[tool](*map(Path, rest))
        return
    url, cache, bound, epochs = rest[0], Path(rest[1]), int(rest[2]), int(rest[3])
    opened = {"tiering": open_tiering, "streaming": open_streaming, "litdata": open_litdata}[tool](url, cache, bound)
    print("open", flush=True)
    for epoch in range(epochs):
        began, samples = time.perf_counter(), 0
        for count in opened(epoch):
            samples += count
        print(samples, time.perf_counter() - began, flush=True)


def pack_tiering(images: Path, to: Path) -> None:
    import tiering

    tiering.convert(images, to, "lmdb", shards=tiering.Shards(SHARD_BYTES))


def open_tiering(url: str, cache: Path, bound: int) -> Callable[[int], Iterable[int]]:
    import tiering

    store = tiering.cached(url, bound, cache)
    loader = tiering.Loader(store, BATCH, seed=1)

    def epoch(number: int) -> Iterable[int]:
        loader.set_epoch(number)
        return (len([bytes(image) for image in batch.images]) for batch in loader)

    return epoch


def pack_streaming(images: Path, to: Path) -> None:
    from benchmarks.peers.images import contents
    from benchmarks.peers.mosaic_streaming import streaming

    columns = {"image": "bytes", "label": "int"}
    with streaming.MDSWriter(out=str(to), columns=columns, size_limit=SHARD_BYTES) as writer:
        for _, image, label in contents(images):
            writer.write({"image": image, "label": label})


def open_streaming(url: str, cache: Path, bound: int) -> Callable[[int], Iterable[int]]:
    from torch.utils.data import DataLoader

    from benchmarks.peers.mosaic_streaming import streaming

    streaming.base.util.clean_stale_shared_memory()
    dataset = streaming.StreamingDataset(
        remote=url, local=str(cache), shuffle=True, batch_size=BATCH, cache_limit=bound, shuffle_seed=1
    )
    loader = DataLoader(dataset, BATCH, num_workers=1, persistent_workers=True, collate_fn=counted)
    return lambda _: iter(loader)


def pack_litdata(images: Path, to: Path) -> None:
    # Otherwise it works in, and first empties, /tmp/data and /tmp/chunks, whoever they belong to.
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = f"{to}-work/chunks"
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = f"{to}-work/data"
    import litdata

    from benchmarks.peers.images import listing
    from benchmarks.peers.litdata_chunks import sample_of

    litdata.optimize(sample_of, listing(images), str(to), chunk_bytes=SHARD_BYTES, num_workers=1)


def open_litdata(url: str, cache: Path, bound: int) -> Callable[[int], Iterable[int]]:
    import litdata

    keys = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]} | {name: os.environ[key] for name, key in keys.items()}
    dataset = litdata.StreamingDataset(
        litdata.streaming.resolver.Dir(path=str(cache), url=url),
        shuffle=True,
        drop_last=False,
        max_cache_size=bound,
        storage_options=options,
        seed=1,
    )
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=1, persistent_workers=True, collate_fn=counted
    )
    return lambda _: iter(loader)


def counted(items: list[dict[str, Any]]) -> int:
    """Read every image, and return how many there are."""
    return len([bytes(item["image"]) for item in items])


if __name__ == "__main__":
    main()
