"""Convert images from bucket to bucket on a loopback S3 server, with a share of the requests answered 503.

    python benchmarks/bucket_to_bucket.py --images DIR [--share 0.05]

Needs the dev extra (moto's server). Compares the store in the bucket with one that is packed locally.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import tiering
from tests.packing.test_s3 import but_for_the_manifest, downloaded
from tests.s3 import FaultyProxy, s3_environment, s3_server
from tests.sources.trees.test_remote import upload
from tiering.testing import tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.05)
    options = parser.parse_args()
    said = {}
    with tempfile.TemporaryDirectory() as directory, s3_server() as endpoint, s3_environment(endpoint):
        work = Path(directory)
        upload(options.images, "s3://photos/images")
        for kind in ("lmdb", "zarr"):
            here = tiering.convert(options.images, work / kind, kind)
            with FaultyProxy(endpoint, options.share, seed=1) as proxy, s3_environment(proxy.endpoint):
                began = time.perf_counter()
                tiering.convert("s3://photos/images", f"s3://photos/{kind}", kind)
                seconds = time.perf_counter() - began
            there = tree(downloaded(f"s3://photos/{kind}", work / f"{kind}-there"))
            said[kind] = {
                "samples": here.samples,
                "seconds": round(seconds, 1),
                "requests": proxy.requests,
                "failed": proxy.failures,
                "equal": but_for_the_manifest(there) == but_for_the_manifest(tree(work / kind)),
                "verified": tiering.verify(f"s3://photos/{kind}", source="s3://photos/images").ok,
            }
    print(json.dumps(said, indent=2))
    sys.exit(not all(each["equal"] and each["verified"] for each in said.values()))


if __name__ == "__main__":
    main()
