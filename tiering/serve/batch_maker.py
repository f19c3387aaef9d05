"""BatchMaker: makes batches on threads, in pieces that are written to one array, or collated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from tiering.arrays import IndexArray, PixelArray
from tiering.serve.batches import Batch
from tiering.serve.buffers import Buffers
from tiering.serve.faults import Failed
from tiering.serve.pieces import Part, Piece, PieceMaker, joined_pieces, stacked
from tiering.serve.prefetch import ReadAhead
from tiering.serve.ready_images import ReadyImages
from tiering.store.protocol import Store, shape_of
from tiering.store.sample import Sample
from tiering.store.selection import fitting, unselected

#: The size of one task of a thread. Decoded pixels take about six times the bytes of their file. Crops have one size;
#: in tasks of half the bytes, reading and random numbers cost 2 % more.
_PIECE_BYTES: Final = 4 << 20
_PIECE_SAMPLES: Final = 64
_DECODED: Final = 6

#: Joins the results of a transform for a batch.
Collate = Callable[[list[Any]], Any]


class BatchMaker:
    """Reads, decodes and transforms the samples of batches on threads.

    Args:
        store: The store of the samples.
        maker: Makes the pieces.
        batch_size: Samples in a batch.
        ready: What images become, as the maker has it.
        transform, collate, threads, prefetch: As for the Loader.
        decode: Whether images are decoded to their own size.
    """

    def __init__(
        self,
        store: Store,
        maker: PieceMaker,
        batch_size: int,
        ready: ReadyImages | None,
        transform: Callable[[Sample], Any] | None,
        collate: Collate | None,
        threads: int,
        prefetch: int,
        *,
        decode: bool,
    ) -> None:
        self._store, self._maker, self._ready = store, maker, ready
        self._threads, self._prefetch = threads, prefetch
        self._collate = collate or (stacked if transform else _listed)
        shape = shape_of(unselected(store).manifest)
        # Kept from one epoch to the next: fresh memory costs page faults, half the time of reading small images. Beside
        # the batches that are read ahead there is the one that is served, and the next one while it is asked for.
        self._buffers: list[Buffers] = []
        if transform is None and (image := ready or shape):
            batch = batch_size * image.nbytes
            kept = 1 + -(-max(prefetch, 2 * threads * min(batch, _PIECE_BYTES)) // batch)
            if isinstance(image, ReadyImages):
                self._buffers = image.buffers(batch_size, kept)
            else:
                self._buffers = [Buffers(batch_size, image.sides, image.numbers, kept)]
        decoded = shape is None and (decode or ready is not None)
        self._piece = fitting(_PIECE_BYTES // (_DECODED if decoded and not ready else 1), store)
        if decoded or not self._buffers:
            # Decoding takes longer than handing over; copying rows of pixels does not.
            self._piece = min(self._piece, _PIECE_SAMPLES)

    def allocate_with(self, allocate: Callable[[int], PixelArray]) -> None:
        """Take new memory for batches from a function, such as one that pins it; see Buffers."""
        for each in self._buffers:
            each.allocate = allocate

    def made(
        self,
        batches: Iterable[IndexArray],
        draws: Iterable[IndexArray],
        epoch: int,
    ) -> Iterator[Batch | Failed]:
        """Yield batches in order, made ahead of their use.

        Args:
            batches: The samples of each batch, int64 (n,).
            draws: Which draw of its sample each is, int64 (n,).
            epoch: The epoch that serves them.
        """
        begun: deque[tuple[IndexArray, list[PixelArray]]] = deque()
        with ReadAhead(self._calls(batches, draws, epoch, begun), _size_of, self._threads, self._prefetch) as results:
            for head in results:
                indices, arrays = begun.popleft()
                rest = islice(results, -(-len(indices) // self._piece) - 1)
                images: PixelArray | tuple[PixelArray, ...] | None = arrays[0] if arrays else None
                if arrays and self._ready:
                    images = self._ready.together(arrays)
                yield joined_pieces(self._store, indices, images, [head, *rest], self._piece, self._collate)

    def _calls(
        self,
        batches: Iterable[IndexArray],
        draws: Iterable[IndexArray],
        epoch: int,
        begun: deque[tuple[IndexArray, list[PixelArray]]],
    ) -> Iterator[tuple[Callable[[], Piece | Failed], int]]:
        """Yield the calls that make pieces, and note each batch that they begin."""
        for indices, drawn in zip(batches, draws, strict=False):
            arrays = [each.take(len(indices)) for each in self._buffers]
            begun.append((indices, arrays))
            for at in range(0, len(indices), self._piece):
                end = min(at + self._piece, len(indices))
                part = Part(indices[at:end], epoch, drawn[at:end], self._slots(arrays, at, end))
                yield partial(self._maker.piece, part), end - at

    def _slots(self, arrays: list[PixelArray], begin: int, end: int) -> list[PixelArray]:
        """Return the parts of a batch's arrays for some of its samples, samples first."""
        if arrays and self._ready:
            return self._ready.slots(arrays, begin, end)
        return [each[begin:end] for each in arrays]


def _size_of(outcome: Piece | Failed) -> int:
    """Return the bytes of the images in a piece of a batch."""
    return outcome.nbytes if isinstance(outcome, Piece) else 0


def _listed(results: list[Any]) -> list[Any]:
    return results
