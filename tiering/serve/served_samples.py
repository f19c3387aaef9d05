"""ServedSamples: the store that a loader reads, and what of it an epoch serves."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tiering.errors import UsageError
from tiering.serve.mixture import Mixture
from tiering.serve.sampling import Repeats, Sampling
from tiering.serve.weights import Weighting, Weights
from tiering.store.open import open_store
from tiering.store.protocol import Store

#: What a loader serves: a store, its path or URL, or a mixture of several.
Servable = Store | Mixture | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class ServedSamples:
    """What a loader serves.

    Attributes:
        store: The store of its samples.
        sampling: What each epoch serves; None for every sample once.
        owned: Whether the store was opened for the loader, which then closes it.
    """

    store: Store
    sampling: Sampling | None = None
    owned: bool = False

    @classmethod
    def of(
        cls,
        given: Servable,
        weights: Weighting | Weights | None = None,
        *,
        replacement: bool = True,
        repeats: int = 1,
    ) -> ServedSamples:
        """Return what to serve. Opens a path or URL.

        Args:
            given: A store, its path or URL, or a mixture.
            weights: As for the Loader; weights that were made before are taken as they are.
            replacement: As for the Loader.
            repeats: As for the Loader.

        Raises:
            UsageError: For a mixture with weights or repeats, and for weights that the store does not have.
        """
        if isinstance(given, Mixture):
            if weights is not None or repeats != 1:
                raise UsageError(
                    "weights" if weights is not None else "repeats", found="cannot be used with a mixture",
                    action="A mixture deals its own proportions. Use `tiering.concat` to weight the samples of several "
                    "stores, or to repeat them.",
                )  # fmt: skip
            return cls(given.store, given)
        if not isinstance(given, str | os.PathLike):
            return cls(given, sampling_of(given, weights, replacement=replacement, repeats=repeats))
        store = open_store(given)
        try:
            return cls(store, sampling_of(store, weights, replacement=replacement, repeats=repeats), owned=True)
        except BaseException:
            store.close()
            raise

    @property
    def source(self) -> Store | Mixture:
        """What is served, once more as an argument: the mixture if there is one, otherwise the store."""
        return self.sampling if isinstance(self.sampling, Mixture) else self.store


def sampling_of(
    store: Store, weights: Weighting | Weights | None, *, replacement: bool = True, repeats: int = 1
) -> Sampling | None:
    """Return what an epoch of a store serves; None for every sample once. The arguments are those of the Loader."""
    found: Sampling | None = None
    if isinstance(weights, Weights):
        found = weights
    elif weights is not None:
        found = Weights(store, weights, replacement=replacement)
    return found if repeats == 1 and repeats is not True else Repeats(len(store), repeats, found)
