"""Train a classifier, and go on after an interruption: train_imagenet.py STORE CHECKPOINT EPOCHS.

STORE has the splits train and val, as `tiering convert imagenet imagenet.lmdb --to lmdb` finds them in folders.
Start the same command again after an interruption: it goes on from the last checkpoint, with the batches that follow.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import tiering

path, checkpoint, epochs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
device = "cuda" if torch.cuda.is_available() else "cpu"
store = tiering.open_store(path)
levels = {"dtype": "float32", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
crop, whole = tiering.RandomResizedCrop(64, flip=0.5, **levels), tiering.CenterCrop(64, resize=72, **levels)
train = tiering.Loader(store.select(split="train"), 32, seed=0, images=crop).to(device)
val = tiering.Loader(store.select(split="val"), 64, shuffle=False, images=whole).to(device)

torch.manual_seed(0)
layers = [nn.Conv2d(3, 32, 7, 4), nn.ReLU(), nn.Conv2d(32, 64, 5, 3), nn.ReLU(), nn.Flatten()]
model = nn.Sequential(*layers, nn.Linear(1024, len(store.manifest.classes))).to(device)
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
parts = {"model": model, "optimizer": optimizer, "train": train}
if checkpoint.exists():
    for name, state in torch.load(checkpoint).items():
        parts[name].load_state_dict(state)

for epoch in range(train.current_epoch, epochs):
    for step, batch in enumerate(train.epoch(epoch)):
        loss = nn.functional.cross_entropy(model(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"epoch {epoch}: loss {loss.item()}", flush=True)
        if step % 4 == 3:  # written whole or not at all
            torch.save({name: part.state_dict() for name, part in parts.items()}, f"{checkpoint}.new")
            Path(f"{checkpoint}.new").replace(checkpoint)
    with torch.no_grad():
        right = sum((model(batch.images).argmax(1) == batch.labels).sum().item() for batch in val.epoch(0))
    print(f"epoch {epoch}: {right} of {len(val.loader.store)} right")
