"""Accelerator utilisation as `tiering bench` and DLIO print it, and the two blocks of docs/benchmarks.md that show it.

    python -m benchmarks.emulated [--images DIR] [--count 6000] [--work DIR] [--write docs/benchmarks.md]

6,000 photographs of 600 to 1,000 pixels a side, made from those of the fixtures unless --images names others, are
packed as LMDB. `tiering bench` serves them as folder and as store to the job of eight H100; DLIO 2.0.0, as it is on
PyPI, serves the store to two. DLIO is installed into --work, and uses torch and tiering of this environment. It takes
some minutes, most of them to draw and to pack.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import tiering
from benchmarks.drawn_photos import drawn_photos
from benchmarks.peers.__main__ import replaced
from tests import warm

#: The job of eight H100, by `tiering bench --emulate h100`: samples a second, and those in a batch.
JOB = ("--samples-per-second", "14286", "--batch-size", "400")
#: What DLIO imports for this workload, beside torch and TensorFlow.
DLIO = [
    *["dlio_benchmark==2.0.0", "pydftracer==1.0.2", "hydra-core", "omegaconf", "antlr4-python3-runtime==4.9.3"],
    *["PyYAML", "h5py", "mpi4py", "mpich"],
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a directory of photographs; never changed")
    parser.add_argument("--count", type=int, default=6000, help="photographs to draw")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        work = Path(name)
        if asked.images:
            (work / "photos").symlink_to(asked.images.resolve())
        else:
            drawn_photos(work / "photos", asked.count, "600-1000")
        os.chdir(work)
        tiering.convert("photos", "photos.lmdb", "lmdb")
        with tiering.open_store("photos.lmdb") as store:
            samples = len(store)
        for title, text in (("emulated: tiering bench", bench()), ("emulated: DLIO", dlio(work, samples))):
            print(text)
            if asked.write:
                page = Path(__file__).parent.parent / asked.write
                page.write_text(replaced(page.read_text(), title, f"```text\n{text}\n```"))


def bench() -> str:
    """Return the command, and its table without the directory in which it ran."""
    words = ("bench", "photos", "photos.lmdb", *JOB)
    code, lines = warm.on_terminal(*words, width=160)
    head = next((at for at, line in enumerate(lines) if line.startswith("store ")), None)
    if code or head is None:
        sys.exit("\n".join(lines))
    here = len(f"{Path.cwd()}/")
    rows = [lines[head][:5] + lines[head][5 + here :], *(line[here:] for line in lines[head + 1 : head + 5])]
    return "\n".join([f"$ tiering {' '.join(words)}", *(row.rstrip() for row in rows)])


def dlio(work: Path, samples: int) -> str:
    """Install DLIO, run it on the store, and return what it says of each accelerator."""
    home = work / "dlio"
    venv.create(home, with_pip=True)
    pip = [home / "bin/python", "-m", "pip", "install", "-q", "--no-deps", "--only-binary", "pydftracer"]
    subprocess.run([*pip, *DLIO], check=True)
    site = next((home / "lib").glob("python3*")) / "site-packages"
    (site / "host.pth").write_text(sysconfig.get_path("purelib"))
    (site / "tensorflow.py").touch()
    for name in ("train", "valid"):
        (work / "list" / name).mkdir(parents=True)
    (work / "list/train/store.jpeg").write_text(f"{work}/photos.lmdb\n")
    reader = {
        "data_loader": "pytorch",
        "data_loader_sampler": "index",
        "sample_shuffle": "seed",
        "data_loader_classname": "tiering.measure.dlio.StoreDataLoader",
    }
    dataset = {"data_folder": "list", "format": "jpeg", "num_files_train": 1, "num_samples_per_file": samples}
    words = [
        *("workload=resnet50_h100", "++workload.framework=pytorch", "++workload.train.epochs=2"),
        *(f"++workload.reader.{name}={value}" for name, value in reader.items()),
        *(f"++workload.dataset.{name}={value}" for name, value in dataset.items()),
    ]
    done = subprocess.run(
        [home / "bin/mpiexec", "-n", "2", home / "bin/dlio_benchmark", *words],
        capture_output=True, text=True, cwd=work, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(tiering.__file__).parent.parent)},
    )  # fmt: skip
    said = [line.rstrip() for line in re.findall(r"\[METRIC\] [^=\n]*$", done.stdout + done.stderr, re.MULTILINE)]
    if done.returncode or not said:
        sys.exit(done.stderr[-2000:] or done.stdout[-2000:])
    return "\n".join(said)


if __name__ == "__main__":
    main()
