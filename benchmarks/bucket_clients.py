"""obstore against s3fs: the time of the client, reading ranges out of a bucket.

Usage: python -m benchmarks.bucket_clients [--ranges N] [--rounds N]

Both read the same 110 kB ranges of one object from the S3 server of the tests on loopback, 32 in flight. What the
client itself takes is the processor time of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable

import obstore
import s3fs
from obstore.store import from_url

from tests.s3 import BUCKET, s3_environment, s3_server

SIZE = 110_000
IN_FLIGHT = 32
OBJECT = 4_000_000


async def read(ask: Callable[[int], Awaitable[object]], ranges: int) -> tuple[float, float]:
    """Read so many ranges; return ranges/s, and s of this process's processor time for one."""
    places = iter([(number * 7_919 * 4096) % (OBJECT - SIZE) for number in range(ranges)])

    async def reader() -> None:
        for place in places:
            await ask(place)

    began, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*(reader() for _ in range(IN_FLIGHT)))
    return ranges / (time.perf_counter() - began), (time.process_time() - spent) / ranges


async def measure(endpoint: str, ranges: int, rounds: int) -> None:
    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    await obstore.put_async(store, "object", os.urandom(OBJECT))
    files = s3fs.S3FileSystem(asynchronous=True, endpoint_url=endpoint)
    session = await files.set_session()

    async def by_obstore(place: int) -> object:
        return await obstore.get_range_async(store, "object", start=place, end=place + SIZE)

    async def by_s3fs(place: int) -> object:
        return await files._cat_file(f"{BUCKET}/object", start=place, end=place + SIZE)  # noqa: SLF001 - its only way

    clients = {"obstore": by_obstore, "s3fs": by_s3fs}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, ask in clients.items():
            found[name].append(await read(ask, ranges))
    print("| client | ranges/s | ms of processor time a range |\n| --- | --- | --- |")
    for name, figures in found.items():
        rate, spent = (statistics.median(each) for each in zip(*figures, strict=True))
        print(f"| {name} | {rate:,.0f} | {1000 * spent:.2f} |")
    await session.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranges", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with s3_server() as endpoint, s3_environment(endpoint):
        asyncio.run(measure(endpoint, asked.ranges, asked.rounds))


if __name__ == "__main__":
    main()
