"""Train on several processes or GPUs: torchrun --nproc-per-node 2 train_ddp.py STORE EPOCHS."""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import tiering

path, epochs = sys.argv[1], int(sys.argv[2])
gpu = torch.cuda.is_available()
dist.init_process_group("nccl" if gpu else "gloo")
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")

# Each rank serves its share. If the samples cannot be shared evenly, some are served twice, so that no rank waits for
# a batch that another one does not have.
ranks = tiering.Ranks(dist.get_rank(), dist.get_world_size())
crop = tiering.RandomResizedCrop(64, flip=0.5, dtype="float32")
store = tiering.open_store(path)
loader = tiering.Loader(store, 32, seed=0, images=crop, ranks=ranks).to(device)

torch.manual_seed(0)
classes = len(store.manifest.classes)
layers = [nn.Conv2d(3, 32, 7, 4), nn.ReLU(), nn.Conv2d(32, 64, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, classes)]
model = DistributedDataParallel(nn.Sequential(*layers).to(device))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for epoch in range(epochs):
    total = torch.zeros(2, device=device)
    for batch in loader.epoch(epoch):
        loss = nn.functional.cross_entropy(model(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += torch.tensor([loss.item() * len(batch), len(batch)], device=device)
    dist.all_reduce(total)
    if ranks.rank == 0:
        print(f"epoch {epoch}: {total[1]:.0f} samples, loss {total[0] / total[1]:.4f}")
dist.destroy_process_group()
