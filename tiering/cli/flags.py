"""Flags for the parameters that library errors name: the one place where a parameter becomes its flag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tiering.errors import TieringError, UsageError

_QUOTED: Final = re.compile(r"`(\w+)`")

#: By verb: parameter of the library -> flag.
FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "cache size": {"origin": "--tier", "cache": "--cache-tier", "samples_per_s": "--samples-per-second"},
    "recommend": {
        "budget_usd": "--budget",
        "capacity": "--capacity",
        "checkpoint_every": "--checkpoint-every",
        "current": "--tier",
        "epochs": "--epochs",
        "gpu_utilisation": "--gpu-utilisation",
        "hour_usd": "--hour-price",
        "keep_originals": "--must-keep-originals",
        "max_epoch_s": "--max-epoch-time",
        "nodes": "--nodes",
        "ram": "--ram",
        "samples_per_s": "--samples-per-second",
        "threads": "--threads",
    },
    "place": {
        "by": "--by",
        "capacities": "--capacity",
        "duration": "--duration",
        "hour_usd": "--hour-price",
        "in_flight": "--in-flight",
        "most_busy": "--most-busy",
        "root": "--root",
        "runs": "--runs",
    },
    "estimate": {
        "images": "--images",
        "image_bytes": "--image-size",
        "epochs": "--epochs",
        "checkpoint_bytes": "--checkpoint-size",
        "checkpoint_every": "--checkpoint-every",
        "batch_size": "--batch-size",
    },
    "probe": {"like": "--like", "name": "--name", "seconds": "--seconds", "size": "--size"},
}


def by_flag(verb: str, error: TieringError) -> TieringError:
    """Return the error with flags in place of parameters, or the same error where it names none.

    A parameter is the first word of a UsageError's `where`, or stands in backquotes in another part.
    """
    flags = FLAGS.get(verb, {})
    first, space, rest = error.where.partition(" ")

    def replaced(text: str) -> str:
        return _QUOTED.sub(lambda match: flags.get(match[1], match[0]), text)

    where = f"{flags.get(first, first)}{space}{rest}" if isinstance(error, UsageError) else error.where
    parts = where, replaced(error.expected), replaced(error.action)
    if parts == (error.where, error.expected, error.action):
        return error
    return type(error)(parts[0], expected=parts[1], found=error.found, action=parts[2])
