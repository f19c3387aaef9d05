"""One peer, one fresh process: pack, or serve epochs and print what they took as a line of JSON.

Usage: python -m benchmarks.peers.run PEER pack IMAGES TO
       python -m benchmarks.peers.run PEER serve AT --epochs 0 [1 ...] [--seconds 20] [--copy]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

BATCH_SIZE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    doing = parser.add_subparsers(dest="doing", required=True)
    packing = doing.add_parser("pack")
    packing.add_argument("images", type=Path)
    packing.add_argument("to", type=Path)
    serving = doing.add_parser("serve")
    serving.add_argument("at", type=Path)
    serving.add_argument("--epochs", type=int, nargs="+", required=True)
    serving.add_argument("--seconds", type=float, default=20, help="stop an epoch then, and take the rate so far")
    serving.add_argument("--copy", action="store_true", help="copy every byte once, as a decoder would read it")
    asked = parser.parse_args()
    peer = import_module(f"benchmarks.peers.{asked.peer}")
    if asked.doing == "pack":
        peer.pack(asked.images, asked.to)
        print(json.dumps({"versions": {name: metadata.version(name) for name in peer.PACKAGES}, "how": peer.HOW}))
        return
    epoch = peer.opened(asked.at, BATCH_SIZE)
    served = [measured(epoch(number), asked.seconds, asked.copy) for number in asked.epochs]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"epochs": served, "memory": memory}))


def measured(batches: Any, seconds: float, copy: bool) -> dict[str, Any]:
    """Serve an epoch: samples, bytes, seconds, and whether it came to its end."""
    scratch = bytearray(16 << 20)
    samples = size = 0
    whole = True
    began = time.perf_counter()
    for images, labels in batches:
        assert len(images) == len(labels)
        if copy:
            for image in images:
                data = memoryview(image)
                scratch[: data.nbytes] = data
                size += data.nbytes
        else:
            # What is delivered must be there: the sizes are looked at, and the bytes are not.
            size += sum(map(len, images))
        samples += len(images)
        if time.perf_counter() - began > seconds:
            whole = False
            break
    return {"samples": samples, "bytes": size, "seconds": time.perf_counter() - began, "whole": whole}


if __name__ == "__main__":
    main()
