"""Directory in, store out.

The package is also the public function `tiering.convert(...)`: importing any of its modules binds the name `convert`
of `tiering` to the package, so the package itself has to answer the call.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Pack a directory of images: see tiering.convert.run.convert."""
        from tiering.convert.run import convert  # noqa: PLC0415 - the modules of this package import it

        return convert(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
