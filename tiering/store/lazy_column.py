"""LazyColumn: a column of an index that is read where it is indexed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

from tiering.arrays import AnyArray
from tiering.units import counted


class LazyColumn(NDArrayOperatorsMixin):
    """A column that is not an array, but can do everything that one can, with a gathered copy. It cannot be changed.

    Attributes:
        dtype: Of its values.
        shape: (n, ...).
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: Any) -> Any:
        """Return the values at some rows, as an array does."""
        raise NotImplementedError

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("this column is gathered, which always makes a copy")
        found: AnyArray = self[:].astype(dtype or self.dtype, copy=False)
        return found

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(each) if isinstance(each, LazyColumn) else each for each in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({counted(len(self), 'row')}, {self.dtype})"
