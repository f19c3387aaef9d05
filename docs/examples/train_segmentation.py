"""Pack images with their masks and train a small segmentation network: train_segmentation.py SHAPES STORE.

SHAPES holds images/ and masks/, as `python fixtures/make_shapes.py shapes` draws them.
"""

import sys

import torch
from torch import nn

import tiering

shapes, store = sys.argv[1:]
manifest = tiering.convert(shapes, store, "lmdb", fields={"mask": "masks/{stem}.png"})
print(f"packed {manifest.samples} images with {manifest.fields[0].name}s")

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 1)
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

# Each mask is cropped and mirrored with its image.
crop = tiering.RandomResizedCrop(48, scale=(0.4, 1.0), flip=0.5, dtype="float32")
loader = tiering.Loader(store, batch_size=32, seed=0, images=crop, fields=("mask",))
for epoch in range(3):
    total = 0.0
    for batch in loader.epoch(epoch):
        images = torch.from_numpy(batch.images)
        masks = torch.from_numpy(batch["mask"]).unsqueeze(1).float()
        loss = nn.functional.binary_cross_entropy_with_logits(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(images) / manifest.samples
    print(f"epoch {epoch}: loss {total:.3f}")
