"""Train on several nodes, each with a cache: torchrun --nnodes ... train_nodes.py STORE CACHE SIZE EPOCHS."""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import tiering

path, directory, size, epochs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
gpu = torch.cuda.is_available()
dist.init_process_group("nccl" if gpu else "gloo")
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")

# All ranks of a node share the cache in its directory. Each keeps its share of the samples for 16 epochs, so a node
# needs room for the shares of its ranks alone.
ranks = tiering.Ranks(dist.get_rank(), dist.get_world_size())
store = tiering.cached(path, size=size, directory=directory)
crop = tiering.RandomResizedCrop(64, flip=0.5, dtype="float32")
shuffle = tiering.StickyShuffle(epochs=16)
loader = tiering.Loader(store, 32, seed=0, images=crop, ranks=ranks, shuffle=shuffle)

torch.manual_seed(0)
classes = len(store.manifest.classes)
layers = [nn.Conv2d(3, 32, 7, 4), nn.ReLU(), nn.Conv2d(32, 64, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, classes)]
model = DistributedDataParallel(nn.Sequential(*layers).to(device))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
batches = loader.to(device)
for epoch in range(epochs):
    total, hits = torch.zeros(2, device=device), loader.stats().hits
    for batch in batches.epoch(epoch):
        loss = nn.functional.cross_entropy(model(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += torch.tensor([loss.item() * len(batch), len(batch)], device=device)
    print(
        f"epoch {epoch}, rank {ranks.rank}: loss {total[0] / total[1]:.4f}, "
        f"{loader.stats().hits - hits} of {total[1]:.0f} samples from the cache"
    )
dist.destroy_process_group()
