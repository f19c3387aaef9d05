"""Every example runs as shown, on the fixtures, and stays short."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

import tiering
from tests.conftest import FIXTURES

EXAMPLES = FIXTURES.parent / "docs/examples"
TRACE = FIXTURES / "traces/train_loop.strace.gz"
ARGUMENTS = {
    "profile_and_recommend": (FIXTURES / "images",),
    "convert_and_train": (FIXTURES / "images", "photos.zarr"),
    "cache_a_slow_store": (FIXTURES / "images", "cache"),
    "judge_a_trace": (TRACE,),
    "place_files": (TRACE,),
    "train_segmentation": ("shapes", "masks.lmdb"),
    "train_image_text": ("shapes/pairs.tar", "pairs.lmdb"),
    "train_imagenet": ("small.lmdb", "checkpoint.pt", 3),
    "train_ddp": ("small.lmdb", 4),
    "train_nodes": ("small.lmdb", "cache", "100MB", 4),
    "train_lightning": ("small.lmdb", 4),
    "train_jax": ("small.lmdb", 5),
}
SHOWN = {
    "profile_and_recommend": "Keep it as",
    "convert_and_train": "epoch 1: 300 images",
    "cache_a_slow_store": "epoch 1: hit ratio 100%",
    "judge_a_trace": "re-read-heavy",
    "place_files": "USD a month",
    "train_segmentation": "packed 400 images with masks",
    "train_image_text": "400 samples, 342 chosen, 274 of them to train on",
    "train_imagenet": "of 65 right",
    "train_ddp": "epoch 3: 322 samples",
    "train_nodes": "161 of 161 samples from the cache",
    "train_lightning": "epoch 3: loss",
    "train_jax": "epoch 4: loss",
}
#: Training on two ranks, on images with captions, and by other frameworks is tested by itself, too; what train_imagenet
#: does is tested below, in every run.
SLOW = {
    *("cache_a_slow_store", "train_lightning", "train_jax", "train_ddp", "train_nodes"),
    *("train_image_text", "train_imagenet"),
}
RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
#: Examples that train print losses, which go down.
LOSS = re.compile(r"loss ([0-9.]+)")

#: Runs an example, and prints a checksum of the images of each batch on a device.
WATCHED = """
import runpy, sys, zlib
from tiering.serve import device

class Watched(device.DeviceBatch):
    def __post_init__(self):
        print("images", zlib.crc32(self.images.numpy()), flush=True)

device.DeviceBatch = Watched
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    path = tmp_path_factory.mktemp("drawn") / "shapes"
    subprocess.run([sys.executable, FIXTURES / "make_shapes.py", path], check=True)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A store of 256 photographs to train on and 65 to judge by: one more than 2 ranks share evenly."""
    home = tmp_path_factory.mktemp("small")
    for split, count, seed in (("train", 256, 1), ("val", 65, 2)):
        words = ("--count", count, "--classes", 5, "--side", "64-96", "--seed", seed, home / "photos" / split)
        subprocess.run([sys.executable, FIXTURES / "make_images.py", *map(str, words)], check=True, capture_output=True)
    tiering.convert(home / "photos", home / "small.lmdb", "lmdb", workers=1)
    return home / "small.lmdb"


@pytest.fixture
def command(request, tmp_path):
    """The command that runs an example, once what it reads is there."""

    def made(name):
        arguments = ARGUMENTS[name]
        for data in ("shapes", "small"):
            if name.startswith("train_") and str(arguments[0]).startswith(data):
                (tmp_path / str(arguments[0]).split("/")[0]).symlink_to(request.getfixturevalue(data))
        python = request.getfixturevalue("frameworks") if name in ("train_lightning", "train_jax") else sys.executable
        ranks = RANKS if name in ("train_ddp", "train_nodes") else ()
        return [str(each) for each in (python, *ranks, EXAMPLES / f"{name}.py", *arguments)]

    return made


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(ARGUMENTS)]
)
def test_an_example_runs_and_is_short(name, tmp_path, command):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 47
    done = subprocess.run(command(name), capture_output=True, text=True, cwd=tmp_path, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert SHOWN[name] in done.stdout
    if name.startswith("train_"):
        losses = [float(loss) for loss in LOSS.findall(done.stdout)]
        assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_two_nodes_fill_a_cache_each_with_their_share_and_read_from_it(small, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    agents = []
    for node in range(2):
        words = ["-m", "torch.distributed.run", "--nnodes", 2, "--node-rank", node, "--nproc-per-node", 1]
        words += ["--master-addr", "127.0.0.1", "--master-port", port, EXAMPLES / "train_nodes.py"]
        words += [small, tmp_path / f"cache-{node}", "100MB", 2]
        command = [sys.executable, *map(str, words)]
        agents.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    said = "".join(agent.communicate(timeout=200)[0] for agent in agents)
    assert [agent.returncode for agent in agents] == [0, 0], said
    # 321 samples cannot be divided evenly: one rank serves a sample of the other one's share, too.
    for rank in range(2):
        assert re.search(rf"epoch 0, rank {rank}: .* 0 of 161 samples from the cache", said), said
        assert re.search(rf"epoch 1, rank {rank}: .* 16[01] of 161 samples from the cache", said), said
    # Half of it, and neighbours: requests are for cache units, of which this store has few.
    dataset = tiering.open_store(small).manifest.image_bytes
    for node in range(2):
        (cached,) = tiering.cache_info(tmp_path / f"cache-{node}").datasets
        assert 0.4 * dataset < cached.cached_bytes < dataset


def test_what_the_page_on_clusters_shows_of_the_example_is_in_it():
    page = (EXAMPLES.parent / "clusters.md").read_text()
    shown = re.search(r'title="from train_nodes.py"\n(.*?)```', page, re.DOTALL)[1]
    example = (EXAMPLES / "train_nodes.py").read_text()
    assert [line for line in shown.splitlines() if f"{line}\n" not in example] == []


@pytest.mark.parametrize(
    "steps", [pytest.param(2, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow), 13]
)
def test_a_killed_training_goes_on_with_equal_batches_and_losses(steps, small, tmp_path):
    """Before its first checkpoint, in the first epoch, and in the second one, which begins after 8 steps."""

    def training(checkpoint):
        words = (sys.executable, "-c", WATCHED, EXAMPLES / "train_imagenet.py", small, tmp_path / checkpoint, 2)
        # With several threads PyTorch's own sums differ by a bit from run to run, for equal batches.
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True, env=env)

    def rest(process):
        found = process.communicate(timeout=200)[0].splitlines()
        assert process.returncode == 0
        return found

    undisturbed = rest(training("undisturbed"))
    assert SHOWN["train_imagenet"] in undisturbed[-1]
    killed, before = training("killed"), []
    while sum("loss" in line for line in before) < steps:
        before.append(killed.stdout.readline().strip())
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    after = rest(training("killed"))
    assert before == undisturbed[: len(before)]
    # One checkpoint in 4 steps: it repeats fewer than 4, and the one in which it was killed.
    assert len(undisturbed) - len(before) <= len(after) <= len(undisturbed) - len(before) + 2 * 4
    assert after == undisturbed[-len(after) :]
