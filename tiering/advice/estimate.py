"""Estimate how much a training run reads and writes: epochs x images x bytes, in exact whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction

from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.training_stores import typical_sizes
from tiering.errors import UsageError
from tiering.images.training_formats import TRAINING_FORMATS
from tiering.units import counted, format_bytes, format_number

#: Bytes of an MNIST image: 28 x 28 pixels of one byte.
MNIST_IMAGE = 28 * 28

#: Pixels of a 4K image by the 4,096 x 4,096 definition.
PIXELS_4K = 4096 * 4096

#: Bytes of a 4,520 x 2,540 uncompressed TIFF with 4 channels.
TIFF_8_BIT = 4520 * 2540 * 4
TIFF_16_BIT = 2 * TIFF_8_BIT

_WORDS = (
    (10**18, "quintillion"),
    (10**15, "quadrillion"),
    (10**12, "trillion"),
    (10**9, "billion"),
    (10**6, "million"),
)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A training run that reads a whole dataset once an epoch. The defaults are the documentation's worked example.

    Attributes:
        images: Images in the dataset.
        image_bytes: Bytes of each image.
        epochs: Passes over the dataset.
        checkpoint_bytes: Bytes of each checkpoint.
        checkpoint_every: Epochs from one checkpoint to the next.
        batch_size: Images in a batch.

    Raises:
        UsageError: For anything below 1.

    Example:
        >>> TrainingRun(images=1_280_000, image_bytes=110_000, epochs=90).run_bytes_read
        12672000000000
    """

    images: int = 100_000_000
    image_bytes: int = 45_900_000
    epochs: int = 5_000
    checkpoint_bytes: int = 40_000_000
    checkpoint_every: int = 100
    batch_size: int = 32

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise UsageError(field.name, rule="must be at least 1", found=f"{value:,}")

    @property
    def dataset_bytes(self) -> int:
        """Bytes of the dataset, and bytes read in one epoch."""
        return self.images * self.image_bytes

    @property
    def run_bytes_read(self) -> int:
        """Bytes read in the whole run."""
        return self.dataset_bytes * self.epochs

    @property
    def run_file_reads(self) -> int:
        """Image files read in the whole run: images x epochs.

        Published text about this example says 50 billion, but 100 million x 5,000 is 500 billion.
        """
        return self.images * self.epochs

    @property
    def checkpoints(self) -> int:
        """Checkpoints written in the run: one at the end of each whole interval."""
        return self.epochs // self.checkpoint_every

    @property
    def run_bytes_written(self) -> int:
        """Bytes of all checkpoints."""
        return self.checkpoints * self.checkpoint_bytes

    @property
    def interval_bytes_read(self) -> int:
        """Bytes read from one checkpoint to the next."""
        return self.dataset_bytes * self.checkpoint_every

    @property
    def interval_file_reads(self) -> int:
        """Image files read from one checkpoint to the next."""
        return self.images * self.checkpoint_every

    @property
    def epoch_transfers(self) -> int:
        """Batches copied to the GPU in an epoch. The last one may not be full."""
        return -(-self.images // self.batch_size)

    @property
    def read_write_ratio(self) -> Fraction | None:
        """Bytes read for each byte written in the whole run; None where nothing is written."""
        return Fraction(self.run_bytes_read, self.run_bytes_written) if self.checkpoints else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The reads and writes of a training run.

    Attributes:
        figures: Every quantity in base units, by name.
        texts: The same as people write them.
        rows: Pairs of (quantity, value) in words, for a table.
        kept_as: The originals, and what stores made for training would hold instead, at typical sizes of photographs.
    """

    figures: dict[str, int | float | None]
    texts: dict[str, str]
    rows: list[tuple[str, str]]
    kept_as: tuple[KeptAs, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptAs:
    """The dataset as originals, or in a store made for training.

    Attributes:
        name: "originals" in a folder, LMDB or Zarr; or the format of a store made for training.
        image_bytes: Bytes of a mean image.
        dataset_bytes: Bytes of all images, which an epoch reads.
        run_bytes_read: Bytes read in the whole run.
    """

    name: str
    image_bytes: int
    dataset_bytes: int
    run_bytes_read: int


def estimate(run: TrainingRun | None = None) -> Estimate:
    """Estimate how much a training run reads and writes.

    Args:
        run: The run; by default the documentation's worked example.

    Example:
        >>> estimate(TrainingRun(images=1_280_000, image_bytes=110_000, epochs=90)).texts["run_bytes_read"]
        '12.67 TB'
    """
    run = run or TrainingRun()
    return Estimate(figures(run), texts(run), lines(run), tuple(kept_as(run)))


def kept_as(run: TrainingRun) -> Iterator[KeptAs]:
    """Yield the originals, and each store made for training whose pictures would be smaller."""
    yield KeptAs("originals", run.image_bytes, run.dataset_bytes, run.run_bytes_read)
    data = DatasetSizes(run.images, run.dataset_bytes)
    for name in TRAINING_FORMATS:
        sizes = typical_sizes(name, data)
        if sizes.is_smaller(data):
            each = round(sizes.mean)
            yield KeptAs(name, each, each * run.images, each * run.images * run.epochs)


def figures(run: TrainingRun) -> dict[str, int | float | None]:
    """Return every figure in base units, as whole numbers of bytes and counts.

    Only bytes_read_per_byte_written may have a fraction. It is None where the run writes nothing.
    """
    ratio = run.read_write_ratio
    exact = None if ratio is None else int(ratio) if ratio.denominator == 1 else float(ratio)
    return {
        "mnist_image_bytes": MNIST_IMAGE,
        "image_4k_pixels": PIXELS_4K,
        "tiff_8_bit_bytes": TIFF_8_BIT,
        "tiff_16_bit_bytes": TIFF_16_BIT,
        "images": run.images,
        "image_bytes": run.image_bytes,
        "dataset_bytes": run.dataset_bytes,
        "epoch_bytes_read": run.dataset_bytes,
        "epoch_file_reads": run.images,
        "epochs": run.epochs,
        "run_bytes_read": run.run_bytes_read,
        "run_file_reads": run.run_file_reads,
        "checkpoint_bytes": run.checkpoint_bytes,
        "checkpoint_every": run.checkpoint_every,
        "checkpoints": run.checkpoints,
        "run_bytes_written": run.run_bytes_written,
        "interval_bytes_read": run.interval_bytes_read,
        "interval_file_reads": run.interval_file_reads,
        "interval_bytes_written": run.checkpoint_bytes,
        "intervals": run.checkpoints,
        "batch_size": run.batch_size,
        "epoch_transfers": run.epoch_transfers,
        "bytes_read_per_byte_written": exact,
    }


def texts(run: TrainingRun) -> dict[str, str]:
    """Return the figures under the same keys as people write them: "4.59 PB", "500 billion", "11.5 billion : 1"."""
    written: dict[str, str] = {}
    for key, value in figures(run).items():
        if value is None or key == "bytes_read_per_byte_written":
            written[key] = _ratio(run.read_write_ratio)
        elif "bytes" in key:
            # 22.95 EB needs four digits, but 45,923,200 B is usually written as 45.9 MB.
            written[key] = format_bytes(value, 3 if key.startswith("tiff") else 4)
        else:
            written[key] = in_words(int(value))
    return written


def lines(run: TrainingRun) -> list[tuple[str, str]]:
    """Return the figures as rows of (quantity, value), in words."""
    text = texts(run)
    images = (
        "such 8-bit images" if text["image_bytes"] == text["tiff_8_bit_bytes"] else f"images of {text['image_bytes']}"
    )
    epochs = "every epoch" if run.checkpoint_every == 1 else f"one every {run.checkpoint_every:,} epochs"
    interval = (
        f"{text['interval_bytes_read']} in {text['interval_file_reads']} reads, "
        f"then one write of {text['checkpoint_bytes']}; repeated {run.checkpoints:,} times"
    )
    return [
        ("an MNIST image", f"28 x 28 pixels, 1 byte each = {text['mnist_image_bytes']}"),
        ("a 4K image by the 4,096 x 4,096 definition", f"{text['image_4k_pixels']} pixels"),
        ("one 4,520 x 2,540 uncompressed TIFF, 4 channels, 8 bit", text["tiff_8_bit_bytes"]),
        ("the same at 16 bit", text["tiff_16_bit_bytes"]),
        (f"the dataset: {text['images']} {images}", text["dataset_bytes"]),
        ("read in one epoch", f"{text['epoch_bytes_read']}, in {text['epoch_file_reads']} file reads"),
        ("epochs to train", text["epochs"]),
        ("bytes read in the whole run", text["run_bytes_read"]),
        (
            "file reads in the whole run",
            f"{_short(run.images)} x {run.epochs:,} = {text['run_file_reads']}",
        ),
        ("a checkpoint", f"{text['checkpoint_bytes']}, {epochs}"),
        ("checkpoints in the run", f"{run.checkpoints:,}, {text['run_bytes_written']} in all"),
        ("one checkpoint interval", interval if run.checkpoints else "longer than the run"),
        (
            f"batches of {counted(run.batch_size, 'image')}",
            f"{counted(run.epoch_transfers, 'transfer')} to the GPU an epoch",
        ),
        ("bytes read : bytes written, whole run", text["bytes_read_per_byte_written"]),
    ]


def in_words(count: int) -> str:
    """Write a count in words where three digits are exact: 500 billion, but 3,125,000."""
    for size, word in _WORDS:
        if count >= size:
            scaled = Fraction(count, size)
            exact = scaled < 1000 and Fraction(_three(scaled)) == scaled
            return f"{_three(scaled)} {word}" if exact else f"{count:,}"
    return f"{count:,}"


def _short(count: int) -> str:
    return f"{count // 10**6:,} M" if count >= 10**6 and count % 10**6 == 0 else f"{count:,}"


def _three(value: Fraction) -> str:
    """Write a number of at least 1 with three significant digits."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    text = f"{round(value * 10**decimals) / 10**decimals:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _ratio(ratio: Fraction | None) -> str:
    if ratio is None:
        return "nothing is written"
    for size, word in _WORDS:
        if ratio >= size:
            scaled = ratio / size
            about = "" if Fraction(_three(scaled)) == scaled else "about "
            return f"{about}{_three(scaled)} {word} : 1"
    exact = ratio.denominator == 1
    return f"{int(ratio):,} : 1" if exact else f"about {format_number(float(ratio))} : 1"
