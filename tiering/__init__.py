"""Profile, place, pack and serve image datasets at the speed of the storage below them.

`__init__.pyi` lists the public names. Each is imported when it is first used, so `import tiering` loads neither
scikit-learn, SciPy and Polars, which advice needs, nor LMDB and Zarr, which stores need.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"


@cache
def _homes() -> dict[str, str]:
    """Return the module of each public name, as the stub imports it. Parsing it takes 10 ms, so only on first use."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    return {
        name.name: str(line.module) for line in stub.body if isinstance(line, ast.ImportFrom) for name in line.names
    }


def __getattr__(name: str) -> object:
    if name == "__all__":
        return ["__version__", *_homes()]
    if name.startswith("_") or name not in _homes():
        raise AttributeError(f"module 'tiering' has no attribute {name!r}")
    import_module("tiering.system").require_linux()
    # Kept, so that the next use costs nothing.
    found = globals()[name] = getattr(import_module(_homes()[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(["__version__", *_homes()])
