"""Profile, place, pack and serve image datasets at the speed of the storage below them.

`__init__.pyi` lists the public names. Each is imported when it is first used, so `import tiering` loads neither
scikit-learn, SciPy and Polars, which advice needs, nor LMDB and Zarr, which stores need.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Final

__version__ = "0.1.0"


def _homes() -> dict[str, str]:
    """Return the module of each public name, as the stub imports it."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    return {
        name.name: str(line.module) for line in stub.body if isinstance(line, ast.ImportFrom) for name in line.names
    }


_HOMES: Final = _homes()

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tiering' has no attribute {name!r}")
    import_module("tiering.system").require_linux()
    # Kept, so that the next use costs nothing.
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
