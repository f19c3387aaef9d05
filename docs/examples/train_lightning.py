"""Train with Lightning, which brings epochs, GPUs and checkpoints: train_lightning.py STORE EPOCHS [CHECKPOINT]."""

import sys

import lightning
import torch
from torch import nn
from torchdata.stateful_dataloader import StatefulDataLoader

import tiering
from tiering.serve.torch import EpochDataset

path, epochs, *checkpoint = sys.argv[1:]
store = tiering.open_store(path)


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 32, 7, 4), nn.ReLU(), nn.Conv2d(32, 64, 5, 3), nn.ReLU(), nn.Flatten()]
        self.network = nn.Sequential(*layers, nn.Linear(1024, len(store.manifest.classes)))

    def train_dataloader(self):
        # Each rank serves its share, each epoch in another order. Lightning keeps the position in its checkpoints.
        crop = tiering.RandomResizedCrop(64, flip=0.5, dtype="float32")
        epochs = EpochDataset(store, 32, seed=0, images=crop)  # it reads and crops on threads of its own
        return StatefulDataLoader(epochs, batch_size=None, pin_memory=torch.cuda.is_available())

    def training_step(self, batch, _):
        images, labels = batch
        loss = nn.functional.cross_entropy(self.network(images), labels)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def on_train_epoch_end(self):
        print(f"epoch {self.current_epoch}: loss {self.trainer.callback_metrics['loss']:.4f}")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


lightning.seed_everything(0)
trainer = lightning.Trainer(max_epochs=int(epochs), logger=False, enable_progress_bar=False)
trainer.fit(Classifier(), ckpt_path=checkpoint[0] if checkpoint else None)
