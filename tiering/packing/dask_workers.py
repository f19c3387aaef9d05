"""Check that a worker of a Dask cluster can pack: the same Python, the same tiering, and its dependencies."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

#: The question to a worker, as text that every Python can run: another Python may crash when it unpickles a function.
_QUESTION: Final = """
import sys
found = {"python": list(sys.version_info[:2]), "at": sys.executable, "version": None, "lacks": None}
try:
    import tiering
    found["version"] = tiering.__version__
    import tiering.packing.shard
except Exception as error:
    found["lacks"] = "%s: %s" % (type(error).__name__, error)
"""
ASK: Final = f"(lambda scope: (exec({_QUESTION!r}, scope), scope['found'])[1])({{}})"


def fault(answer: object) -> str:
    """Return the reason why a worker cannot pack, from its answer; "" if it can."""
    if isinstance(answer, OSError):
        return ""  # The worker went away; the next check will see that.
    if not isinstance(answer, dict):
        return f"answers {type(answer).__name__}: {answer}"
    here = list(sys.version_info[:2])
    if answer["python"] != here:
        return f"has Python {dotted(answer['python'])} ({answer['at']})"
    if answer["version"] is None:
        return f"lacks tiering ({answer['lacks']})"
    if answer["version"] != our_version():
        return f"has tiering {answer['version']}"
    return f"lacks what tiering needs ({answer['lacks']})" if answer["lacks"] else ""


def our_version() -> str:
    """Return our own version. The package is imported here, because it lies above this module."""
    return str(import_module("tiering").__version__)


def dotted(parts: Any) -> str:
    """Return a version as it is written: 3.11."""
    return ".".join(map(str, parts))
