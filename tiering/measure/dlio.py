"""A data loader for DLIO, which serves any store: DLIO loads this module, and nothing else imports it.

DLIO (https://github.com/argonne-lcf/dlio_benchmark) is the benchmark behind MLPerf Storage. It imports the class that
`reader.data_loader_classname` names, makes one for training and one for validation, calls `read` once, iterates over
`next` in each epoch, and calls `finalize` after each. Its file list has one small text file that names the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlio_benchmark.common.enumerations import DataLoaderType, DatasetType, Shuffle
from dlio_benchmark.data_loader.base_data_loader import BaseDataLoader

from tiering.errors import InputError
from tiering.measure.read_batches import ByteReader, read_ahead
from tiering.serve.batches import Batch
from tiering.serve.loader import Loader
from tiering.serve.ranks import Ranks
from tiering.store.open import open_store
from tiering.units import counted


class StoreDataLoader(BaseDataLoader):  # type: ignore[misc]
    """Serves a store's encoded samples to DLIO, each rank its share of every epoch.

    Args:
        format_type: DLIO's format of the files. It only chooses the extension of the file that names the store.
        dataset_type: Training or validation.
        epoch_number: The first epoch to serve.

    Raises:
        InputError: DLIO has no file that names a store, or expects more samples than the store has.
    """

    def __init__(self, format_type: Any, dataset_type: Any, epoch_number: int) -> None:
        super().__init__(format_type, dataset_type, epoch_number, DataLoaderType.PYTORCH)
        self._following = epoch_number
        self._loader: Loader

    def read(self) -> None:
        """Open the store. DLIO calls this before the first epoch."""
        training = self.dataset_type is DatasetType.TRAIN
        files = self._args.file_list_train if training else self._args.file_list_eval
        store = open_store(_named(files))
        if self.num_samples > len(store):
            raise InputError(
                str(store.location),
                expected=f"the {counted(self.num_samples, 'sample')} that DLIO is to read",
                found=f"{len(store):,}",
                action=f"Set dataset.num_files_train=1 and dataset.num_samples_per_file={len(store)}.",
            )
        self._loader = Loader(
            store,
            self.batch_size,
            seed=self._args.seed,
            shuffle=Shuffle(self._args.sample_shuffle) is not Shuffle.OFF,
            ranks=Ranks(self._args.my_rank, self._args.comm_size),
            drop_last=True,
            limit=self.num_samples,
            threads=self._args.read_threads or None,
        )

    def next(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch, each with all its bytes read."""
        super().next()
        loader, epoch = self._loader, self._following
        # DLIO leaves the iterator after its last step, so no line after the last `yield` would run.
        self._following += 1
        yield from read_ahead(loader.epoch(epoch), ByteReader(loader.store), max(1, self._args.prefetch_size))

    def finalize(self) -> None:
        """Keep the store open: DLIO calls this after every epoch."""


def _named(files: list[str]) -> str:
    """Return the store that the file of DLIO's list names."""
    if not files:
        raise InputError("DLIO's file list", found="no text file names the store")
    name = Path(files[0]).read_text("utf-8").strip()
    if not name or "\n" in name:
        raise InputError(files[0], expected="one line: the path or URL of a store", found=repr(name[:80]))
    return name
