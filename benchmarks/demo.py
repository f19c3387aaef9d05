"""The whole way on real photographs: trace, profile, classify, recommend, convert, verify, bench.

Usage: python benchmarks/demo.py [DATASET]. Without DATASET it makes 20,000 photographs from the two that scikit-learn
ships. The trace is recorded then and there, of a small training loop over the dataset.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PLACE = Path("demo")
#: Of the training loop that is traced: from the second one on everything is read again.
EPOCHS = 3
TIERING = Path(sysconfig.get_path("scripts")) / "tiering"


def main() -> None:
    dataset = Path(sys.argv[1]) if len(sys.argv) > 1 else made()
    PLACE.mkdir(exist_ok=True)
    trace, program = PLACE / "train.parquet", HERE / "fixtures" / "programs" / "train_loop.py"
    profile, lmdb, zarr = PLACE / "profile.json", PLACE / "photos.lmdb", PLACE / "photos.zarr"
    training = [sys.executable, os.path.relpath(program), dataset, PLACE / "checkpoints", "--epochs", EPOCHS]
    run("trace", "-o", trace, "--", *training)
    run("profile", dataset, "--trace", trace, "-o", profile)
    run("classify", profile)
    run("recommend", profile)
    for store, kind in ((lmdb, "lmdb"), (zarr, "zarr")):
        run("convert", dataset, store, "--to", kind, "--overwrite")
        run("verify", store, "--source", dataset)
    run("bench", dataset, lmdb, zarr)
    run("bench", dataset, lmdb, "--images", 224, "--epochs", 2)
    print("\nEverything is still there to look at:")
    for path in (dataset, trace, profile, lmdb, zarr):
        print(f"  {path}")


def made() -> Path:
    dataset = PLACE / "photos"
    if not dataset.exists():
        PLACE.mkdir(exist_ok=True)
        partial = PLACE / "photos.partial"
        script = HERE / "fixtures" / "make_images.py"
        print(f"$ python fixtures/make_images.py --count 20000 --classes 10 {dataset}", flush=True)
        subprocess.run(["rm", "-rf", partial], check=True)
        subprocess.run([sys.executable, script, "--count", "20000", "--classes", "10", partial], check=True)
        partial.rename(dataset)
    return dataset


def run(*words: object) -> None:
    command = [str(word) for word in words]
    print(f"\n$ tiering {shlex.join(command)}", flush=True)
    subprocess.run([TIERING, *command], check=True)


if __name__ == "__main__":
    main()
