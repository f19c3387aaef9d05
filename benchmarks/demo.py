"""The whole way on real photographs: trace, profile, classify, recommend, convert, verify, bench.

Usage: python benchmarks/demo.py [DATASET]. Without DATASET it makes 20,000 photographs from the two that scikit-learn
ships. The trace is recorded then and there, of a small training loop over the dataset. At the end stand the rates that
were measured, with what they are rates of, and the commands for data of one's own.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

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
    encoded = measured(dataset, lmdb, zarr)
    ready = measured(dataset, lmdb, "--images", 224, "--epochs", 2)
    print(headline(encoded, ready))
    print("\nEverything is still there to look at; the dataset is as it was:")
    for path in (dataset, trace, profile, lmdb, zarr):
        print(f"  {path}")
    print(YOURS)


#: What comes next.
YOURS = """
Your own data (make demo DATASET=DIRECTORY does all of the above with it):
  tiering profile DATASET -o profile.json    what it holds, and what is damaged
  tiering watch PID -o job.parquet           why a running job waits; and a trace
  tiering profile DATASET --trace job.parquet -o profile.json
  tiering recommend profile.json             where to keep it, at what price
  tiering convert DATASET photos.lmdb --to lmdb
  tiering bench DATASET photos.lmdb --images 224    before you rely on it
  tiering report profile.json                all of it as one HTML file
Nothing of this changes your data. How to go on: docs/index.md"""


def headline(encoded: list[dict[str, Any]], ready: list[dict[str, Any]]) -> str:
    """Return the rates of the benchmarks, with what they are rates of. Both begin with the folder."""
    count, size = encoded[0]["samples"], encoded[0]["image_bytes"] / encoded[0]["samples"] / 1000
    kinds = [each["kind"] for each in encoded]
    dropped = "dropped" if encoded[0]["cold"] else "kept: this file system does not let go of it"
    return "\n".join(
        [
            f"\nMeasured just now, on this machine: {count:,} images of {size:.3g} kB, images/s",
            f"{'':<30}{''.join(f'{kind:>16}' for kind in kinds)}",
            rates("decoded, cropped to 224 x 224", [each["later_samples_per_s"] for each in ready]),
            rates("encoded, first epoch", [each["first_samples_per_s"] for each in encoded]),
            rates("encoded, later epochs", [each["later_samples_per_s"] for each in encoded]),
            "A training that decodes on this processor gets the first row. The others say",
            f"what storage delivers: the first epoch from the disk (page cache {dropped}),",
            "later ones from memory. Small files gain most: docs/benchmarks.md has",
            "photographs of 110 kB, other tools, and the limits of the disk.",
        ]
    )


def rates(what: str, found: list[float]) -> str:
    """Return a row: the folder's rate, and the others' with how many times that is."""
    cells = [f"{rate:,.0f}" + (f" ({rate / found[0]:.1f} x)" if number else "") for number, rate in enumerate(found)]
    return f"{what:<30}{''.join(f'{cell:>16}' for cell in cells)}"


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


def measured(*words: object) -> list[dict[str, Any]]:
    command = [str(word) for word in ("bench", *words, "--json")]
    print(f"\n$ tiering {shlex.join(command)}", flush=True)
    done = subprocess.run([TIERING, *command], check=True, stdout=subprocess.PIPE)
    found: list[dict[str, Any]] = json.loads(done.stdout)["measurements"]
    return found


if __name__ == "__main__":
    main()
