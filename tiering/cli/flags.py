"""Flags for the parameters that library errors name: the only map from one to the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tiering.errors import TieringError, UsageError

#: A parameter, an attribute of one, or a parameter with its value.
_QUOTED: Final = re.compile(r'`([\w.]+(?:="\w+")?)`')

#: Parameters that have the same flag wherever they are named, in the verb itself or in the next one to run.
EVERYWHERE: Final[Mapping[str, str]] = {
    "channels": "--channels",
    "classes": "--classes",
    "cloud": "--cloud",
    "columns": "--columns",
    "dtype": "--dtype",
    "force": "--force",
    "images_only": "--images-only",
    "lenient": "--lenient",
    'on_error="skip"': "--on-error skip",
    "overwrite": "--overwrite",
    "max_side": "--max-side",
    "Pixels": "--pixels",
    "pixels": "--resize",
    'resume="never"': "--restart",
    "reencoded": "--reencoded",
    "resize": "--resize",
    "root": "--root",
    'sample="all"': "--sample all",
    "shared_group": "--shared-group",
    "short_side": "--short-side",
    "split": "--split",
    "where": "--where",
    "workers": "--workers",
}

_CACHE_DIR: Final = {"directory": "--cache-dir"}
_ADVICE: Final = {
    "current": "--tier",
    "epochs": "--epochs",
    "hour_usd": "--hour-price",
    "ram": "--ram",
    "tiers": "--catalog",
    "accelerator": "--accelerator",
    "accelerators_per_node": "--accelerators-per-node",
    "budget_usd": "--budget",
    "capacity": "--capacity",
    "checkpoint_every": "--checkpoint-every",
    "checkpoint_every_s": "--checkpoint-every",
    "cpus": "--cpus",
    "network": "--network",
    "prefixes": "--prefixes",
    "processes": "--processes",
    "costs": "--calibrate",
    "images": "--calibrate",
    "decode": "--encoded",
    "gpu_utilisation": "--gpu-utilisation",
    "keep_originals": "--must-keep-originals",
    "kept_days": "--kept-days",
    "max_epoch_s": "--max-epoch-time",
    "nodes": "--nodes",
    "originals": "--originals",
    "read_p99_s": "--read-p99",
    "reencode": "--reencode",
    "reads_from": "--reads-from",
    "runs_per_month": "--runs-per-month",
    "resize": "--resize",
    "samples_per_s": "--samples-per-second",
    "single_files": "--no-packing",
    "threads": "--threads",
}
_CACHE: Final = {**_CACHE_DIR, "ram": "--cache-ram", "size": "--cache-size"}

#: By verb: parameter of the library -> flag.
FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "cache size": {"origin": "--tier", "cache": "--cache-tier", "samples_per_s": "--samples-per-second"},
    "append": {"fields": "--field"},
    "bench": _CACHE
    | {
        "RandomResizedCrop": "--images",
        "accelerator": "--emulate",
        "batch_size": "--batch-size",
        "epochs": "--epochs",
        "images": "--images",
        "samples_per_s": "--samples-per-second",
        "step_s": "--step",
        "tier": "--tier",
    },
    "cache clear": _CACHE_DIR,
    "cache info": _CACHE_DIR,
    "cache verify": _CACHE_DIR,
    "cache warm": _CACHE,
    "profile": {"fields": "--field"},
    "convert": {
        "fields": "--field",
        "codec": "--codec",
        "encode": "--max-side",
        'resume="only"': "--resume",
        "shards.bytes": "--shard-size",
        "to": "--to",
        'to="zarr"': "--to zarr",
    },
    "remove": {"keys": "--keys", "purge": "--purge", "where": "--where"},
    "model evaluate": {"own": "--add"},
    "model train": {"own": "--add"},
    "trace": {'backend="strace"': "--backend strace", "backend": "--backend"},
    "verify": {"decode": "--decode", "quick": "--quick"},
    "watch": {"dataset": "--dataset", "name": "--name", "seconds": "--for", "warm_maps": "--warm-maps"},
    "recommend": _ADVICE,
    "report": _ADVICE | {"advice": "--advice"},
    "place": {
        "by": "--by",
        "capacities": "--capacity",
        "current": "--tier",
        "duration": "--duration",
        "hour_usd": "--hour-price",
        "in_flight": "--in-flight",
        "most_busy": "--most-busy",
        "nodes": "--nodes",
        "root": "--root",
        "runs_per_month": "--runs-per-month",
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


def verb_of(context: Any) -> str:
    """Return the name of the verb that runs, without that of the program; "" without a context of click."""
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.append(context.info_name)
        context = context.parent
    return " ".join(reversed(names))


def with_flags(verb: str, text: str) -> str:
    """Return a sentence of the library with flags in place of the parameters that it has in backquotes."""
    flags = {**EVERYWHERE, **FLAGS.get(verb, {})}
    return _QUOTED.sub(lambda match: flags.get(match[1], match[0]), text)


def options_of(command: Any, verb: str = "") -> dict[str, frozenset[str]]:
    """Return the options of each verb. command: of click: a verb, or a group of them. verb: its name."""
    if not (below := getattr(command, "commands", {})):
        return {verb: frozenset(name for parameter in command.params for name in parameter.opts)}
    found: dict[str, frozenset[str]] = {}
    for name, each in below.items():
        found |= options_of(each, f"{verb} {name}".strip())
    return found


def by_flag(
    verb: str, error: TieringError, options: Mapping[str, frozenset[str]] = MappingProxyType({})
) -> TieringError:
    """Return the error with flags in place of parameters, or the same error where it names none.

    A parameter is the first word of a UsageError's `where`, or stands in backquotes in another part.
    options: of each verb. Of a flag that this verb does not have, the advice says which verbs have it.
    """
    flags = {**EVERYWHERE, **FLAGS.get(verb, {})}
    first, space, rest = error.where.partition(" ")
    name = first.rstrip(":")
    where = (
        f"{flags.get(name, name)}{first[len(name) :]}{space}{rest}" if isinstance(error, UsageError) else error.where
    )
    parts = {name: with_flags(verb, getattr(error, name)) for name in ("rule", "expected", "action")} | {"where": where}
    named = [flags[each].split()[0] for each in _QUOTED.findall(error.action) if each in flags]
    for flag in dict.fromkeys(named):
        if flag not in options.get(verb, (flag,)):
            owners = [each for each, names in options.items() if flag in names]
            parts["action"] += f" {flag} is an option of tiering {', '.join(owners)}."
    return error if all(getattr(error, name) == part for name, part in parts.items()) else error.with_parts(**parts)
