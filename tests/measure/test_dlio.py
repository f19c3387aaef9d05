"""DLIO itself, as it is on PyPI, runs on our stores: with all samples of an epoch on each of one and of two ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv

import pytest

from tests.conftest import FIXTURES

#: What DLIO 2.0.0 imports for this workload, without TensorFlow, DALI and torch; the environment of the tests has torch.
PACKAGES = [
    *["dlio_benchmark==2.0.0", "pydftracer==1.0.2", "hydra-core", "omegaconf", "antlr4-python3-runtime==4.9.3"],
    *["PyYAML", "h5py", "mpi4py", "mpich"],
]


@pytest.fixture(scope="module")
def dlio(tmp_path_factory):
    """An environment with DLIO, whose imports find the packages of this one behind its own."""
    home = tmp_path_factory.mktemp("dlio") / "venv"
    venv.create(home, with_pip=True)
    pip = [home / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", "--only-binary", "pydftracer"]
    done = subprocess.run([*pip, *PACKAGES], capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode != 0:
        pytest.fail(f"DLIO could not be installed: {done.stderr[-500:]}")
    site = next((home / "lib").glob("python3*")) / "site-packages"
    (site / "host.pth").write_text(sysconfig.get_path("purelib"))
    # DLIO imports TensorFlow for a profiler that only TensorFlow workloads use.
    (site / "tensorflow.py").touch()
    return home / "bin"


def run(dlio, work, store, samples, *, ranks=1):
    for name in ("train", "valid"):
        (work / "data" / name).mkdir(parents=True)
    (work / "data" / "train" / "store.jpeg").write_text(f"{store}\n")
    reader = {
        "data_loader": "pytorch",
        "data_loader_classname": "tiering.measure.dlio.StoreDataLoader",
        "data_loader_sampler": "index",
        "batch_size": 10,
        "sample_shuffle": "seed",
    }
    dataset = {
        "data_folder": work / "data",
        "format": "jpeg",
        "num_files_train": 1,
        "num_samples_per_file": samples,
    }
    words = [
        "workload=resnet50_h100",
        "++workload.framework=pytorch",
        *(f"++workload.reader.{name}={value}" for name, value in reader.items()),
        *(f"++workload.dataset.{name}={value}" for name, value in dataset.items()),
        "++workload.train.computation_time=0.01",
        "++workload.train.epochs=2",
        f"++workload.output.folder={work / 'out'}",
    ]
    launch = [dlio / "mpiexec", "-n", str(ranks)] if ranks > 1 else []
    return subprocess.run(
        [*launch, dlio / "dlio_benchmark", *words],
        capture_output=True, text=True, cwd=work, timeout=600, check=False,
        env=os.environ | {"PYTHONPATH": str(FIXTURES.parent)},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_dlio_runs_on_a_store(dlio, packed, tmp_path, ranks):
    done = run(dlio, tmp_path, packed, 300, ranks=ranks)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["num_accelerators"] == ranks
    busy = found["metric"]["train_au_percentage"]
    assert len(busy) == 2
    assert all(0 < share <= 100 for share in busy)
    steps = json.loads((tmp_path / "out" / "0_output.json").read_text())["1"]["proc"]["block1"]
    assert len(steps) == 300 // 10 // ranks


@pytest.mark.slow
def test_more_samples_than_the_store_has_are_one_clear_error(dlio, packed, tmp_path):
    done = run(dlio, tmp_path, packed, 301)
    assert done.returncode != 0
    assert "expected the 301 samples that DLIO is to read, found 300" in done.stderr + done.stdout


def test_the_loader_is_loaded_only_by_dlio():
    code = "import sys, tiering; tiering.bench; print('dlio_benchmark' in sys.modules, 'tiering.measure.dlio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
