"""Selectable: the methods by which every store makes selections: `select`, `sample` and `split`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from tiering.store.protocol import Store
    from tiering.store.selection import Selection

    #: What chooses samples: SQL or an expression over the columns; a mask; keys; or numbers of samples.
    Where: TypeAlias = (
        str | pl.Expr | npt.NDArray[np.bool_] | Iterable[str] | range | slice | Sequence[int] | npt.NDArray[np.integer]
    )


class Selectable:
    """Selections of a store. Each is a store itself, and reads through the store that it was selected from.

    A selection keeps the order of the store. It takes 4 bytes of memory for each sample, 8 in a store of more than
    2**32 samples, and none if the samples follow each other.
    """

    def select(self, where: Where | None = None, *, split: str | Sequence[str] | None = None) -> Selection:
        """Select samples by their fields, keys or numbers.

        The columns of an expression are `key`, `label` (the name of the class), `class_number`, `split` (its name),
        `size` (bytes of the image), and the numbers, vectors and strings among the fields of the store, by name. A
        field called `size` or `class_number` takes the place of that column. A missing value is null, and null counts
        as false. Only the columns that the expression names are read, a part of the store at a time. An expression that
        needs all rows together, such as `size > avg(size)`, holds those columns in memory.

        Args:
            where: An SQL condition such as `"label in ('cat', 'dog') and score > 0.5"`, or a Polars expression. Or a
                mask, bool (n,). Or keys, as a list of str. Or numbers of samples, as a range, a slice, a list or an
                array of integers. By default all samples.
            split: Only samples of this split, or of one of these splits.

        Returns:
            The samples for which `where` and `split` both hold.

        Raises:
            UsageError: The expression is not valid, names a column that does not exist, or is not a condition; the
                store has no such key or split; or no sample is left.
            IndexError: A number is outside [0, len).

        Example:
            >>> cats = store.select("label = 'cat' and size < 100000", split="train")  # doctest: +SKIP
        """
        # Imported here: a job that makes no selection needs neither this nor Polars.
        from tiering.store.selection import Selection  # noqa: PLC0415
        from tiering.store.where import chosen_rows  # noqa: PLC0415

        store = cast("Store", self)
        return Selection(store, chosen_rows(store, where, split))

    def sample(self, amount: float, *, seed: int = 0) -> Selection:
        """Select samples at random: all subsets of that size are equally likely.

        The same seed gives the same samples in any format of the store, and a larger amount contains a smaller one.

        Args:
            amount: A share as a float in (0, 1], rounded to whole samples; or a number of samples as an int.
            seed: Any integer.

        Raises:
            UsageError: The amount is no such number, or no sample.

        Example:
            >>> tenth = store.sample(0.1, seed=0)  # doctest: +SKIP
        """
        from tiering.store.sampling import drawn_rows  # noqa: PLC0415 - as above
        from tiering.store.selection import Selection  # noqa: PLC0415

        store = cast("Store", self)
        return Selection(store, drawn_rows(len(store), amount, seed))

    def split(
        self, *, seed: int = 0, stratify: str | None = None, group: str | None = None, **shares: float
    ) -> dict[str, Selection]:
        """Divide the samples at random into parts that have no sample in common and together are everything.

        The sizes of the parts are the shares of all samples, rounded by largest remainder (Hamilton's method). With
        `stratify`, so are the sizes within each class, to at most one sample more or less. With `group`, parts are
        whole groups, and their sizes are as near to the shares as the groups allow.

        Args:
            seed: Any integer.
            stratify: Keep the proportions of this field in every part: "label", "split", or a field of integers or
                strings. With `group`, a whole group counts for the value that most of its samples have.
            group: Keep samples with the same value of this field together: a field of integers or strings.
            **shares: The share of each part by its name, together 1: `train=0.9, val=0.1`.

        Returns:
            The parts by name, in the order of the arguments.

        Raises:
            UsageError: The shares do not add up to 1, a part would have no sample, a field does not exist or has the
                wrong kind, or samples have no value of `group`.

        Example:
            >>> parts = store.split(train=0.9, val=0.1, stratify="label")  # doctest: +SKIP
            >>> loader = tiering.Loader(parts["train"], 256)  # doctest: +SKIP
        """
        from tiering.store.selection import Selection  # noqa: PLC0415 - as above
        from tiering.store.splitting import divided_rows  # noqa: PLC0415

        store = cast("Store", self)
        divided = divided_rows(store, shares, seed, stratify, group)
        return {name: Selection(store, rows) for name, rows in divided.items()}
