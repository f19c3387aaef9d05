"""Training loops that are not ours: Lightning, Accelerate and DDP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiering

ROOT = Path(tiering.__file__).parent.parent

LIGHTNING = """
import json, sys, lightning, torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

store, face, how = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
limit = how.pop("limit", None)


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(1)), {}

    def training_step(self, batch, at):
        self.seen.setdefault(self.current_epoch, []).append(batch[0].reshape(-1).tolist())
        return self.weight.sum() * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Killed(lightning.Callback):
    def on_train_batch_end(self, trainer, *rest):
        if trainer.global_step == 22:
            trainer.save_checkpoint("at.ckpt")
            raise KeyboardInterrupt


def loader():
    if face == "sampler":
        items = StoreDataset(store)
        return DataLoader(items, 64, sampler=EpochSampler(items, seed=7), **how)
    kind = StatefulDataLoader if face == "stateful" else DataLoader
    return kind(EpochDataset(store, 64, seed=7), batch_size=None, **how)


def fitted(epochs, path=None, **options):
    model = Model()
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, max_epochs=epochs, limit_train_batches=limit, **options)
    try:
        trainer.fit(model, loader(), ckpt_path=path)
    except (KeyboardInterrupt, SystemExit):
        pass
    return model.seen


print()
print(json.dumps([fitted(3, callbacks=[Killed()]), fitted(4, "at.ckpt")] if face == "stateful" else [fitted(3)]))
"""

ACCELERATE = """
import json, sys, torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

store, face, how = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
limit, sets = how.pop("limit", None), how.pop("sets", False)
accelerator = Accelerator(cpu=True)
if face == "sampler":
    items = StoreDataset(store)
    loader = DataLoader(items, 64, sampler=EpochSampler(items, seed=7), **how)
else:
    loader = DataLoader(EpochDataset(store, 64, seed=7), batch_size=None, **how)
loader = accelerator.prepare(loader)
seen = {}
for epoch in range(3):
    if sets:
        loader.set_epoch(epoch)
    for at, (images, labels) in enumerate(loader):
        if at == limit:
            break
        seen.setdefault(epoch, []).append(images.reshape(-1).tolist())
print()
print(json.dumps([seen]))
"""


@pytest.fixture
def python(frameworks):
    return frameworks


def run(python, program, *words, at):
    done = subprocess.run(
        [python, "-W", "ignore", "-c", program, *map(str, words)],
        cwd=at, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def expected(store, epoch):
    return [batch.images.reshape(-1).tolist() for batch in tiering.Loader(store, 64, seed=7).epoch(epoch)]


@pytest.mark.slow
@pytest.mark.parametrize("face", ["dataset", "sampler"])
@pytest.mark.parametrize(
    "how",
    [{"num_workers": 0}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True, "limit": 5}],
    ids=str,
)
def test_lightning_serves_three_epochs_in_three_orders(python, numbered, face, how, tmp_path):
    [seen] = run(python, LIGHTNING, numbered, face, json.dumps(how), at=tmp_path)
    assert seen == {str(epoch): expected(numbered, epoch)[: how.get("limit")] for epoch in range(3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"num_workers": 0}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}], ids=str
)
def test_lightning_resumes_in_the_middle_of_an_epoch(python, numbered, how, tmp_path):
    first, resumed = run(python, LIGHTNING, numbered, "stateful", json.dumps(how), at=tmp_path)
    assert first["1"] + resumed["1"] == expected(numbered, 1)
    assert [resumed[str(epoch)] for epoch in (2, 3)] == [expected(numbered, epoch) for epoch in (2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("face", ["dataset", "sampler"])
@pytest.mark.parametrize(
    "how",
    [{"num_workers": 0}, {"num_workers": 2, "persistent_workers": True}, {"num_workers": 2, "limit": 5, "sets": True}],
    ids=str,
)
def test_accelerate_serves_three_epochs_in_three_orders(python, numbered, face, how, tmp_path):
    """Accelerate calls set_epoch itself; after an epoch that was left early, with the same number again."""
    [seen] = run(python, ACCELERATE, numbered, face, json.dumps(how), at=tmp_path)
    assert seen == {str(epoch): expected(numbered, epoch)[: how.get("limit")] for epoch in range(3)}


DDP = """
import json, sys
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
import torch
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

store, meeting, way, rank = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
items = StoreDataset(store)
spawned = {"num_workers": 2, "multiprocessing_context": "spawn"}
loaders = [
    DataLoader(EpochDataset(store, 64, seed=7), batch_size=None, **(spawned if way == "spawn" else {"num_workers": 1})),
    DataLoader(items, 64, sampler=EpochSampler(items, seed=7)),
]
# Later, as Lightning does.
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
model = DistributedDataParallel(torch.nn.Linear(1, 1))
found = []
for loader in loaders:
    for epoch in range(3):
        found.append([])
        for images, labels in loader:
            # Every rank's backward waits for the other's: uneven numbers of batches would hang here.
            model(images.float().reshape(-1, 1)).sum().backward()
            found[-1].append(images.reshape(-1).tolist())
dist.destroy_process_group()
print(json.dumps(found))
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_ddp_serves_uneven_epochs_to_their_end(numbered, tmp_path, way):
    """1,025 samples on 2 ranks of 64: one sample is left over."""
    command = [sys.executable, "-c", DDP, numbered, tmp_path / "meeting", way]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ranks = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True, env=env) for rank in range(2)]
    try:
        found = [json.loads(rank.communicate(timeout=280)[0]) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for epoch, pair in enumerate(zip(*found, strict=True)):
        assert [[len(batch) for batch in batches] for batches in pair] == [[64] * 8 + [1]] * 2
        order = [number for batch in expected(numbered, epoch % 3) for number in batch]
        served = [[number for batch in batches for number in batch] for batches in pair]
        assert served[0] == order[::2]
        assert served[1] == [*order[1::2], order[0]]
