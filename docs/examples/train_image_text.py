"""Train two towers on images and captions, as CLIP does: train_image_text.py PAIRS.tar STORE.

`python fixtures/make_shapes.py shapes` draws shapes/pairs.tar, in WebDataset's layout.
"""

import sys
import zlib

import numpy as np
import torch
from torch import nn

import tiering

tiering.convert(sys.argv[1], sys.argv[2], "lmdb")
store = tiering.open_store(sys.argv[2])
chosen = store.select("txt <> ''").sample(0.9, seed=0)  # without the samples that have no caption
parts = chosen.split(train=0.8, val=0.2, seed=0)
print(f"{len(store)} samples, {len(chosen)} chosen, {len(parts['train'])} of them to train on")
loaders = {name: tiering.Loader(part, 16, images="pixels", fields=("txt",)) for name, part in parts.items()}

torch.manual_seed(0)
layers = nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()
see, read = nn.Sequential(*layers, nn.Linear(32, 16)), nn.EmbeddingBag(1000, 16)
optimizer = torch.optim.Adam([*see.parameters(), *read.parameters()], lr=0.01)
for epoch in range(6):
    losses = {"train": [], "val": []}
    for name, loader in loaders.items():
        for batch in loader.epoch(epoch):
            pixels = torch.from_numpy(np.stack(batch["image"])).permute(0, 3, 1, 2) / 255
            words = [[zlib.crc32(word.encode()) % 1000 for word in text.split()] for text in batch["txt"]]
            # Each image should be more like its own caption than like any other of the batch.
            loss = nn.functional.cross_entropy(see(pixels) @ read(torch.tensor(words)).T, torch.arange(len(batch)))
            losses[name].append(loss.item())
            if name == "train":
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    print(f"epoch {epoch}: loss {np.mean(losses['train']):.2f}, of validation {np.mean(losses['val']):.2f}")
