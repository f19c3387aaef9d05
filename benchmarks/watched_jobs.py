"""Training loops that record exactly what they read, for benchmarks/watch_truth.py.

    python -m benchmarks.watched_jobs KIND DATA RECORD [--epochs 5] [--seconds 2] [--other-user]
    python -m benchmarks.watched_jobs make DATA --images DIRECTORY [--samples 600]

A job prints "ready", waits for a line, trains, and leaves its record: paths.json, and record.npy with a row for each
read: number of the file, offset, size, and time in s since the epoch. tiering.Loader leaves the trace that it makes
itself, in RECORD/trace. Then it waits for a second line, as a job that goes on with something else. Arrow and Parquet
need pyarrow.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import random
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tiering
from benchmarks.drawn_photos import drawn_photos
from benchmarks.other_user import become_other

BATCH = 16
#: Samples in a tar file, and in a batch or row group of the tables.
_TOGETHER = 25
#: Pixels of an image, and images in a chunk of the array.
_SHAPE = (128, 128, 3)
_CHUNK = 8
_KEY = "{:08}"

Record = list[tuple[int, int, int, float]]


class Kind(NamedTuple):
    """A job: what it reads, in which order, with how many loader workers, and whether it maps what it reads."""

    data: str
    shuffle: bool
    workers: int
    mapped: bool = False
    middle: bool = False
    needs_arrow: bool = False


#: The jobs. middle: somebody begins to watch in the middle of an epoch.
KINDS = {
    "files, shuffled, 2 workers": Kind("files", shuffle=True, workers=2),
    "files, sequential, no workers": Kind("files", shuffle=False, workers=0),
    "files, shuffled, 4 workers, from mid-epoch": Kind("files", shuffle=True, workers=4, middle=True),
    "tars, shuffled, 2 workers": Kind("tars", shuffle=True, workers=2),
    "LMDB, shuffled, 2 workers": Kind("lmdb", shuffle=True, workers=2, mapped=True),
    "LMDB, tiering.Loader": Kind("loader of photos.lmdb", shuffle=True, workers=0, mapped=True),
    "Zarr, shuffled, 2 workers": Kind("zarr", shuffle=True, workers=2),
    "Zarr, tiering.Loader": Kind("loader of photos.zarr", shuffle=True, workers=0, mapped=True),
    "np.memmap, shuffled, 2 workers": Kind("memmap", shuffle=True, workers=2, mapped=True),
    "np.memmap, sequential, no workers": Kind("memmap", shuffle=False, workers=0, mapped=True),
    "Arrow, shuffled, 2 workers": Kind("arrow", shuffle=True, workers=2, mapped=True, needs_arrow=True),
    "Parquet, sequential, 4 workers": Kind("parquet", shuffle=False, workers=4, needs_arrow=True),
}


class Recorded(io.FileIO):
    """A file that notes each read of it."""

    def __init__(self, path: Path, number: int, record: Record) -> None:
        super().__init__(path)
        self._number, self._record = number, record

    def readinto(self, buffer: Any) -> int:
        at, size = self.tell(), super().readinto(buffer) or 0
        self._note(at, size)
        return size

    def read(self, size: int | None = -1) -> bytes:
        at, data = self.tell(), super().read(-1 if size is None else size) or b""
        self._note(at, len(data))
        return data

    def readall(self) -> bytes:
        at, data = self.tell(), super().readall() or b""
        self._note(at, len(data))
        return data

    def _note(self, at: int, size: int) -> None:
        if size:
            self._record.append((self._number, at, size, time.time()))


class Files:
    """Image files; a sample is one of them."""

    def __init__(self, data: Path) -> None:
        self.paths = sorted((data / "files").iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int, record: Record) -> bytes:
        """Return a sample's bytes, and note where they were."""
        with Recorded(self.paths[index], index, record) as file:
            return file.readall()


class Tars:
    """Tar files, each read front to back: a sample is a whole one."""

    def __init__(self, data: Path) -> None:
        self.paths = sorted((data / "tars").iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int, record: Record) -> bytes:
        """Return the last member of a tar file, after all others."""
        content = b""
        buffered = io.BufferedReader(Recorded(self.paths[index], index, record), 1 << 16)
        with buffered, tarfile.open(fileobj=buffered, mode="r|") as members:
            for member in members:
                if (found := members.extractfile(member)) is not None:
                    content = found.read()
        return content


class Database:
    """Images in an LMDB environment, each a value of its own."""

    def __init__(self, data: Path) -> None:
        self.paths = [data / "plain.lmdb" / "data.mdb"]
        self._begun: tuple[Any, int] | None = None
        with self._open() as environment:
            self._count = environment.stat()["entries"]

    def __len__(self) -> int:
        return self._count

    def _open(self) -> Any:
        import lmdb  # noqa: PLC0415 - like others below: most jobs begin sooner without it

        return lmdb.open(str(self.paths[0].parent), readonly=True, lock=False, readahead=False)

    def read(self, index: int, record: Record) -> bytes:
        """Return a value. Its place in the file is that in memory, less the beginning of the map."""
        if self._begun is None:
            transaction = self._open().begin(buffers=True)
            self._begun = transaction, _beginning(self.paths[0])
        transaction, beginning = self._begun
        value = np.frombuffer(transaction.get(_KEY.format(index).encode()), np.uint8)
        found = value.tobytes()
        record.append((0, value.ctypes.data - beginning, len(found), time.time()))
        return found


def _beginning(path: Path) -> int:
    """Return where in memory a file is mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return min(int(line.split("-")[0], 16) for line in lines if line.endswith(str(path)))


class Pixels:
    """Images as rows of a mapped array."""

    def __init__(self, data: Path) -> None:
        self.paths = [data / "pixels.npy"]
        self._pixels: Any = np.load(self.paths[0], mmap_mode="r")
        self._count, self._offset = len(self._pixels), self._pixels.offset

    def __len__(self) -> int:
        return self._count

    def read(self, index: int, record: Record) -> bytes:
        """Return an image."""
        image = self._pixels[index]
        record.append((0, self._offset + index * image.nbytes, image.nbytes, time.time()))
        return bytes(image.tobytes())


def _noted_array(directory: Path) -> tuple[Any, list[tuple[str, int]]]:
    """Open a Zarr array. Return it, and a list to which the key and size of each chunk is added that it reads."""
    import zarr  # noqa: PLC0415
    from zarr.storage import LocalStore, WrapperStore  # noqa: PLC0415

    noted: list[tuple[str, int]] = []

    class NotedStore(WrapperStore[Any]):
        async def get(self, key: str, *arguments: Any, **settings: Any) -> Any:
            found = await super().get(key, *arguments, **settings)
            if found is not None:
                noted.append((key, len(found)))
            return found

    return zarr.open_array(NotedStore(LocalStore(directory, read_only=True)), mode="r"), noted


class Chunks:
    """Chunks of a Zarr array, each a file: a sample is a chunk."""

    def __init__(self, data: Path) -> None:
        self._root = data / "pixels.zarr"
        self.paths = sorted(path for path in self._root.rglob("*") if path.is_file())
        self._numbers = {str(path.relative_to(self._root)): number for number, path in enumerate(self.paths)}
        self._begun: tuple[Any, list[tuple[str, int]]] | None = None

    def __len__(self) -> int:
        return sum(path.name != "zarr.json" for path in self.paths)

    def read(self, index: int, record: Record) -> bytes:
        """Return a chunk."""
        self._begun = self._begun or _noted_array(self._root)
        array, noted = self._begun
        images = array[index * _CHUNK : (index + 1) * _CHUNK]
        now = time.time()
        record += [(self._numbers[key], 0, size, now) for key, size in noted]
        noted.clear()
        return bytes(images.tobytes())


class Arrow:
    """Record batches of a mapped Arrow file: a sample is a batch."""

    def __init__(self, data: Path) -> None:
        self.paths = [data / "images.arrow"]
        self._begun: tuple[Any, int] | None = None
        self._count = self._open()[0].num_record_batches

    def __len__(self) -> int:
        return self._count

    def _open(self) -> tuple[Any, int]:
        import pyarrow as pa  # noqa: PLC0415 - in an environment of its own

        mapped = pa.memory_map(str(self.paths[0]))
        return pa.ipc.open_file(mapped), _beginning(self.paths[0])

    def read(self, index: int, record: Record) -> bytes:
        """Return the images of a batch. The place of its buffers in the file is that in memory, less the map's."""
        self._begun = self._begun or self._open()
        reader, beginning = self._begun
        column = reader.get_batch(index).column(0)
        now = time.time()
        parts = []
        for buffer in column.buffers():
            if buffer is not None:
                parts.append(buffer.to_pybytes())
                record.append((0, buffer.address - beginning, buffer.size, now))
        return b"".join(parts)


class Parquet:
    """Row groups of a Parquet file: a sample is a group."""

    def __init__(self, data: Path) -> None:
        self.paths = [data / "images.parquet"]
        self._begun: tuple[Any, Record] | None = None
        self._count = self._open([]).num_row_groups

    def __len__(self) -> int:
        return self._count

    def _open(self, record: Record) -> Any:
        import pyarrow.parquet as pq  # noqa: PLC0415 - in an environment of its own

        return pq.ParquetFile(Recorded(self.paths[0], 0, record))

    def read(self, index: int, record: Record) -> bytes:
        """Return a row group's images."""
        if self._begun is None:
            noted: Record = []
            self._begun = self._open(noted), noted
        table, noted = self._begun
        found = table.read_row_group(index, use_threads=False).column("image").combine_chunks()
        record += noted
        noted.clear()
        return b"".join(buffer.to_pybytes() for buffer in found.buffers() if buffer is not None)


FORMS: dict[str, Callable[[Path], Any]] = {
    "files": Files,
    "tars": Tars,
    "lmdb": Database,
    "memmap": Pixels,
    "zarr": Chunks,
    "arrow": Arrow,
    "parquet": Parquet,
}


class Samples:
    """A dataset for torch: each sample is a small tensor made from its bytes, with the record of its reads."""

    def __init__(self, form: Any) -> None:
        self._form = form

    def __len__(self) -> int:
        return len(self._form)

    def __getitem__(self, index: int) -> tuple[Any, Record]:
        record: Record = []
        data = np.frombuffer(self._form.read(index, record), np.uint8)
        return np.resize(data, 3 * 64 * 64).astype(np.float32), record


def gathered(samples: Sequence[tuple[Any, Record]]) -> tuple[Any, Record]:
    """Make a batch."""
    return np.stack([sample for sample, _ in samples]), [row for _, record in samples for row in record]


def shared(samples: Sequence[tuple[Any, Record]]) -> tuple[Any, Record]:
    """Make a batch of tensors in memory that torch's workers share with the training, as torch itself does."""
    import torch  # noqa: PLC0415

    values, record = gathered(samples)
    return torch.from_numpy(values), record


def batches(kind: Kind, samples: Samples) -> Callable[[int], Iterator[tuple[Any, Record]]]:
    """Return what yields the batches of an epoch. Workers are torch's, which come and go with each epoch."""
    size = BATCH if kind.data in {"files", "lmdb", "memmap"} else 1
    if kind.workers:
        from torch.utils.data import DataLoader  # noqa: PLC0415 - it takes seconds

        loader: Any = DataLoader(
            samples,  # type: ignore[arg-type]
            size,
            shuffle=kind.shuffle,
            num_workers=kind.workers,
            collate_fn=shared,
        )
        return lambda _: iter(loader)

    def alone(epoch: int) -> Iterator[tuple[Any, Record]]:
        order = list(range(len(samples)))
        if kind.shuffle:
            random.Random(epoch).shuffle(order)
        for begin in range(0, len(order), size):
            yield gathered([samples[index] for index in order[begin : begin + size]])

    return alone


class Pace:
    """Training steps that share the seconds of an epoch equally, however long the loader takes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def over(self, epoch: Iterator[Any], steps: int) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        begun = time.monotonic()
        for number, batch in enumerate(epoch, 1):
            yield batch
            time.sleep(max(0.0, begun + number * self._seconds / steps - time.monotonic()))


def begin_when_told() -> None:
    """Say that the job is ready, and wait until somebody writes a line."""
    print("ready", flush=True)
    sys.stdin.readline()


def train(kind: Kind, data: Path, record: Path, epochs: int, pace: Pace, *, other_user: bool) -> None:
    """Train with the workers of torch, or with none."""
    form = FORMS[kind.data](data)
    epoch = batches(kind, Samples(form))
    steps = -(-len(form) // (BATCH if kind.data in {"files", "lmdb", "memmap"} else 1))
    if other_user:
        # What is imported late cannot be imported by another user.
        import secrets  # noqa: F401, PLC0415

        np.random.default_rng(0)
        Samples(FORMS[kind.data](data))[0]
        for _ in epoch(0):
            pass
        become_other()
    begin_when_told()
    rows: Record = []
    for number in range(epochs):
        for step, (_, read) in enumerate(pace.over(epoch(number), steps)):
            rows += read
            if number == 0 and step == steps // 2:
                print("half an epoch", flush=True)
    print("trained", flush=True)
    sys.stdin.readline()
    np.save(record / "record.npy", np.array(rows, np.float64).reshape(-1, 4))
    (record / "paths.json").write_text(json.dumps(list(map(str, form.paths))))


def train_with_loader(data: Path, record: Path, epochs: int, pace: Pace, *, other_user: bool) -> None:
    """Train with tiering's own loader, which records itself."""
    with tiering.open_store(data) as store:
        if other_user:
            with tiering.Loader(store, BATCH, trace=record / "first") as loader:
                for _ in loader:
                    pass
            become_other()
        begin_when_told()
        with tiering.Loader(store, BATCH, trace=record / "trace") as loader:
            for number in range(epochs):
                for batch in pace.over(iter(loader.epoch(number)), -(-len(store) // BATCH)):
                    for image in batch.images:
                        bytes(image)
            print("trained", flush=True)
            sys.stdin.readline()


def make(data: Path, images: Path | None, samples: int) -> None:
    """Make all forms of a dataset; those of Arrow only where pyarrow is."""
    import lmdb  # noqa: PLC0415
    import zarr  # noqa: PLC0415

    data.mkdir(parents=True, exist_ok=True)
    found = sorted(path for path in (images or drawn_photos(data / "photos", samples, "500-700")).rglob("*.*"))[
        :samples
    ]
    contents = [path.read_bytes() for path in found if path.is_file()]
    for name in ("files", "tars"):
        (data / name).mkdir()
    for number, content in enumerate(contents):
        (data / "files" / f"{number:05}.jpg").write_bytes(content)
    for number, begin in enumerate(range(0, len(contents), _TOGETHER)):
        with tarfile.open(data / "tars" / f"{number:04}.tar", "w") as tar:
            for at in range(begin, min(begin + _TOGETHER, len(contents))):
                tar.add(data / "files" / f"{at:05}.jpg", f"{at:05}.jpg")
    size = 2 * sum(map(len, contents)) + (16 << 20)
    with lmdb.open(str(data / "plain.lmdb"), map_size=size) as environment, environment.begin(write=True) as put:
        for number, content in enumerate(contents):
            put.put(_KEY.format(number).encode(), content)
    for to in ("lmdb", "zarr"):
        tiering.convert(data / "files", data / f"photos.{to}", to)
    count = len(contents) // _CHUNK * _CHUNK
    noise = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(data / "pixels.npy", "w+", np.uint8, (count, *_SHAPE))
    array = zarr.create_array(data / "pixels.zarr", shape=(count, *_SHAPE), chunks=(_CHUNK, *_SHAPE), dtype="u1")
    for at in range(0, count, _CHUNK):
        pixels[at : at + _CHUNK] = array[at : at + _CHUNK] = noise.integers(0, 256, (_CHUNK, *_SHAPE), np.uint8)
    pixels.flush()
    if importlib.util.find_spec("pyarrow"):
        make_tables(data, contents)


def make_tables(data: Path, contents: Sequence[bytes]) -> None:
    """Make the files that need pyarrow."""
    import pyarrow as pa  # noqa: PLC0415 - in an environment of its own
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pa.table({"image": pa.array(contents, pa.binary())})
    with pa.OSFile(str(data / "images.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, _TOGETHER)
    pq.write_table(table, data / "images.parquet", row_group_size=_TOGETHER, compression="none", use_dictionary=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["make", *KINDS])
    parser.add_argument("data", type=Path)
    parser.add_argument("record", type=Path, nargs="?")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="that an epoch takes, at least")
    parser.add_argument("--other-user", action="store_true")
    asked = parser.parse_args()
    if asked.kind == "make":
        make(asked.data, asked.images, asked.samples)
        return
    kind, pace = KINDS[asked.kind], Pace(asked.seconds)
    if kind.data.startswith("loader of "):
        store = asked.data / kind.data.removeprefix("loader of ")
        train_with_loader(store, asked.record, asked.epochs, pace, other_user=asked.other_user)
    else:
        train(kind, asked.data, asked.record, asked.epochs, pace, other_user=asked.other_user)


if __name__ == "__main__":
    main()
