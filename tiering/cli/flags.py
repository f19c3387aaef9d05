"""Flags for the parameters that library errors name: the one place where a parameter becomes its flag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tiering.errors import TieringError, UsageError

#: A parameter, an attribute of one, or a parameter with its value.
_QUOTED: Final = re.compile(r'`([\w.]+(?:="\w+")?)`')

_TABLE: Final = {"columns": "--columns", "root": "--root"}

_PACKING: Final = _TABLE | {
    'check="decode"': "--check decode",
    "images_only": "--images-only",
    'on_error="skip"': "--on-error skip",
    'resume="never"': "--restart",
    "workers": "--workers",
}

#: By verb: parameter of the library -> flag.
FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "cache size": {"origin": "--tier", "cache": "--cache-tier", "samples_per_s": "--samples-per-second"},
    "profile": _TABLE,
    "convert": _PACKING
    | {
        "classes": "--classes",
        "codec": "--codec",
        "overwrite": "--overwrite",
        "pixels": "--resize",
        "pixels.channels": "--channels",
        'resume="only"': "--resume",
        "shards.bytes": "--shard-size",
        "to": "--to",
    },
    "append": _PACKING,
    "repair": {"workers": "--workers"},
    "recommend": {
        "budget_usd": "--budget",
        "capacity": "--capacity",
        "checkpoint_every": "--checkpoint-every",
        "costs": "--calibrate",
        "current": "--tier",
        "decode": "--encoded",
        "epochs": "--epochs",
        "gpu_utilisation": "--gpu-utilisation",
        "hour_usd": "--hour-price",
        "keep_originals": "--must-keep-originals",
        "max_epoch_s": "--max-epoch-time",
        "nodes": "--nodes",
        "ram": "--ram",
        "resize": "--resize",
        "samples_per_s": "--samples-per-second",
        "threads": "--threads",
        "tiers": "--catalog",
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


def with_flags(verb: str, text: str) -> str:
    """Return a sentence of the library with flags in place of the parameters that it has in backquotes."""
    return _QUOTED.sub(lambda match: FLAGS.get(verb, {}).get(match[1], match[0]), text)


def by_flag(verb: str, error: TieringError) -> TieringError:
    """Return the error with flags in place of parameters, or the same error where it names none.

    A parameter is the first word of a UsageError's `where`, or stands in backquotes in another part.
    """
    flags = FLAGS.get(verb, {})
    first, space, rest = error.where.partition(" ")

    where = f"{flags.get(first, first)}{space}{rest}" if isinstance(error, UsageError) else error.where
    parts = where, with_flags(verb, error.expected), with_flags(verb, error.action)
    if parts == (error.where, error.expected, error.action):
        return error
    return type(error)(parts[0], expected=parts[1], found=error.found, action=parts[2])
