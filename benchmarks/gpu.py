"""Ready batches on a GPU: how fast they arrive, and what a training step waits for. Without a GPU it says so and ends.

Usage: python -m benchmarks.gpu STORE [--device cuda] [--rounds 7] [--batch 256] [--batches 40] [--size 224]
       [--only WORD ...]

STORE holds encoded images, JPEGs for the rows that decode on the GPU. It is read warm: one round is not counted.

- ready: `Loader(images=RandomResizedCrop(224)).to(device)`: uint8 batches, cropped on the host's processors, copied
  from pinned memory one batch ahead.
- ready, copied when asked for: the same batches, `torch.from_numpy(...).to(device)`, without the prefetcher.
- nvJPEG by torchvision: `images="bytes"`, `torchvision.io.decode_jpeg(device=...)`, and a random resized crop there.
- DALI: `images="bytes"` by `fn.external_source`, decoded, cropped and resized on the GPU. If it is installed.

Each way is measured twice in every round: batches alone, and with a ResNet-50 step (float16 on a GPU, channels last).
The step alone, on one batch that stays on the device, is measured too. Rates are images/s, medians of the rounds with
bootstrap intervals of 95 %. The share of the step is the rate with steps, divided by that of the step alone: 1 is a
device that never waits. Before that, batches on the device are compared with those on the host.

With --device cpu everything runs that needs no GPU: a check of the script, not a measurement. On a GPU the full run
takes about ten minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import tiering
from benchmarks.resnet import resnet50

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
#: Makes the batches of an epoch, uint8 (n, 3, size, size) with labels, on the device.
Way = Callable[[int], Batches]


def main() -> int:
    asked = arguments()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no GPU. --device cpu checks the script without one.", file=sys.stderr)
        return 1
    print(described(device))
    store = tiering.open_store(asked.store)
    check(store, device, asked)
    ways, missing = found_ways(store, device, asked)
    for name, why in missing.items():
        print(f"{name}: left out: {why}")
    step = training_step(device, asked)
    rates: dict[str, list[float]] = {}
    for number in range(asked.rounds + 1):
        for name, rate in one_round(ways, step, device, asked, number).items():
            if number or asked.rounds == 0:
                rates.setdefault(name, []).append(rate)
    print(f"\n{'':44} images/s (95 %)")
    for name, found in rates.items():
        form = "{:.3f}" if name.endswith("share of the step") else "{:,.0f}"
        low, high = interval(found)
        print(f"{name:44} {form.format(statistics.median(found))} ({form.format(low)} to {form.format(high)})")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=40, help="of a measurement")
    parser.add_argument("--size", type=int, default=224, help="pixels of the sides of the crops")
    parser.add_argument("--only", nargs="*", default=[""], help="measure the ways that have one of these words")
    return parser.parse_args()


def described(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processors (a check, no measurement)"
    return f"tiering {tiering.__version__}, PyTorch {torch.__version__}, on {name}"


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def crop_of(asked: argparse.Namespace) -> tiering.RandomResizedCrop:
    return tiering.RandomResizedCrop(asked.size, flip=0.5, layout="NHWC")


def check(store: tiering.Store, device: torch.device, asked: argparse.Namespace) -> None:
    """Compare batches on the device with those on the host, while the device is busy and the memory is used again."""
    loader = tiering.Loader(store, asked.batch, seed=1, images=crop_of(asked), prefetch=1)
    busy = torch.ones(1024, 1024, device=device)
    kept = []
    for batch in islice(loader.to(device).epoch(0), 8):
        busy = busy @ busy / 1024
        kept.append((batch.images.clone(), batch.labels.clone()))
    for (images, labels), batch in zip(kept, loader.epoch(0), strict=False):
        if not np.array_equal(images.permute(0, 2, 3, 1).cpu().numpy(), batch.images):
            sys.exit("FAILED: images on the device differ from those on the host")
        if labels.tolist() != batch.labels.tolist():
            sys.exit("FAILED: labels on the device differ from those on the host")
    print(f"{len(kept)} batches on {device} equal those on the host")


def found_ways(
    store: tiering.Store, device: torch.device, asked: argparse.Namespace
) -> tuple[dict[str, Way], dict[str, str]]:
    """Return the ways that run here, and why others do not."""
    makers = {
        "ready": ready,
        "ready, copied when asked for": copied,
        "nvJPEG by torchvision": torchvision_way,
        "DALI": dali_way,
    }
    ways, missing = {}, {}
    for name, make in makers.items():
        if any(word in name for word in asked.only):
            try:
                if name == "DALI" and device.type == "cpu":
                    # Its threads spin, and with a step on the same few processors nothing moves.
                    raise RuntimeError("needs a GPU")  # noqa: TRY301
                ways[name] = make(store, device, asked)
                next(ways[name](0))
            except (ImportError, RuntimeError, OSError) as error:
                ways.pop(name, None)
                missing[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return ways, missing


def ready(store: tiering.Store, device: torch.device, asked: argparse.Namespace) -> Way:
    loader = tiering.Loader(store, asked.batch, images=crop_of(asked), drop_last=True).to(device)
    return lambda epoch: ((batch.images, batch.labels) for batch in loader.epoch(epoch))


def copied(store: tiering.Store, device: torch.device, asked: argparse.Namespace) -> Way:
    loader = tiering.Loader(store, asked.batch, images=crop_of(asked), drop_last=True)

    def batches(epoch: int) -> Batches:
        for batch in loader.epoch(epoch):
            images = torch.from_numpy(batch.images).to(device).permute(0, 3, 1, 2)
            yield images, torch.from_numpy(batch.labels.astype(np.int64)).to(device)

    return batches


def torchvision_way(store: tiering.Store, device: torch.device, asked: argparse.Namespace) -> Way:
    from torchvision.io import ImageReadMode, decode_jpeg  # noqa: PLC0415 - it may be missing
    from torchvision.transforms import v2  # noqa: PLC0415 - it may be missing

    loader = tiering.Loader(store, asked.batch, images="bytes", drop_last=True)
    crop = v2.Compose([v2.RandomResizedCrop(asked.size), v2.RandomHorizontalFlip()])

    def batches(epoch: int) -> Batches:
        for batch in loader.epoch(epoch):
            encoded = [torch.frombuffer(bytearray(image), dtype=torch.uint8) for image in batch.images]
            decoded = decode_jpeg(encoded, ImageReadMode.RGB, device=device)
            labels = torch.from_numpy(batch.labels.astype(np.int64)).to(device)
            yield torch.stack([crop(image) for image in decoded]), labels

    return batches


def dali_way(store: tiering.Store, device: torch.device, asked: argparse.Namespace) -> Way:
    from nvidia.dali import fn, pipeline_def, types  # noqa: PLC0415 - it may be missing
    from nvidia.dali.plugin.pytorch import DALIGenericIterator  # noqa: PLC0415 - it may be missing

    loader = tiering.Loader(store, asked.batch, images="bytes", drop_last=True)
    gpu = device.type == "cuda"

    @pipeline_def(batch_size=asked.batch, num_threads=4, device_id=device.index or 0 if gpu else None)
    def pipeline(source: Any) -> Any:
        encoded, labels = fn.external_source(source=source, num_outputs=2, batch=True, dtype=[types.UINT8, types.INT64])
        images = fn.decoders.image_random_crop(encoded, device="mixed" if gpu else "cpu", output_type=types.RGB)
        images = fn.resize(images, resize_x=asked.size, resize_y=asked.size)
        images = fn.flip(images, horizontal=fn.random.coin_flip())
        return images, labels.gpu() if gpu else labels

    def batches(epoch: int) -> Batches:
        def source() -> Iterator[Any]:
            for batch in loader.epoch(epoch):
                encoded = [np.frombuffer(image, np.uint8) for image in batch.images]
                yield encoded, batch.labels.astype(np.int64)[:, None]

        made = pipeline(source=source())
        made.build()
        for (found,) in DALIGenericIterator([made], ["images", "labels"]):
            yield found["images"].permute(0, 3, 1, 2), found["labels"].squeeze(1)

    return batches


def training_step(device: torch.device, asked: argparse.Namespace) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a step of ResNet-50, after some steps on numbers that stay on the device."""
    model = resnet50(1000).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    half = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=half)

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        images = images.to(memory_format=torch.channels_last).float().div_(127.5).sub_(1)
        with torch.autocast(device.type, dtype=torch.float16, enabled=half):
            loss = nn.functional.cross_entropy(model(images), labels.clamp(0))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    warm = torch.zeros(asked.batch, 3, asked.size, asked.size, dtype=torch.uint8, device=device)
    for _ in range(5 if half else 1):
        step(warm, torch.zeros(asked.batch, dtype=torch.int64, device=device))
    wait(device)
    return step


def one_round(
    ways: dict[str, Way], step: Any, device: torch.device, asked: argparse.Namespace, number: int
) -> dict[str, float]:
    """Return images/s of the step alone, and of each way alone and with steps."""

    def rate(batches: Any, work: Callable[[torch.Tensor, torch.Tensor], Any]) -> float:
        images, begin = 0, time.perf_counter()
        for pixels, labels in batches:
            work(pixels, labels)
            images += len(labels)
        wait(device)
        return images / (time.perf_counter() - begin)

    def some(way: Way) -> Batches:
        """Serve as many batches as are asked for, in as many epochs as that takes."""
        left, epoch = asked.batches, number * 1000
        while left > 0:
            served = 0
            for batch in islice(way(epoch), left):
                served += 1
                yield batch
            if not served:
                raise SystemExit(f"the store has fewer samples than one batch of {asked.batch}")
            left, epoch = left - served, epoch + 1

    images = torch.zeros(asked.batch, 3, asked.size, asked.size, dtype=torch.uint8, device=device)
    fixed = images, torch.zeros(asked.batch, dtype=torch.int64, device=device)
    found = {"step alone": rate((fixed for _ in range(asked.batches)), step)}
    for name, way in ways.items():
        found[name] = rate(some(way), lambda *_: None)
        found[f"{name}, with steps"] = rate(some(way), step)
        found[f"{name}, share of the step"] = found[f"{name}, with steps"] / found["step alone"]
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """Return the bootstrap interval of 95 % of the median."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
