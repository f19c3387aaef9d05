"""Explain a verdict: the facts that decided it, each in plain words with its number."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tiering.trace.trace_profile import TraceProfile
from tiering.units import format_bytes, format_number, format_percent
from tiering.workload.classifier import Model
from tiering.workload.features import FEATURE_NAMES
from tiering.workload.label import MAJORITY, WORKLOADS, Workload


class _Meaning(NamedTuple):
    """The meaning of a feature's values up to `low`, and from `high` on.

    Each has the workloads that such values speak for, and those that they speak against.
    """

    low: float
    high: float
    low_for: tuple[Workload, ...] = ()
    low_against: tuple[Workload, ...] = ()
    high_for: tuple[Workload, ...] = ()
    high_against: tuple[Workload, ...] = ()


_RE, _WRITE, _ONCE, _ = WORKLOADS

#: Features whose words a reader takes as evidence for or against a workload. Those of other features are neutral.
_MEANINGS: dict[str, _Meaning] = {
    "reread_share": _Meaning(0.1, 0.4, (_WRITE, _ONCE), (_RE,), (_RE,), (_WRITE, _ONCE)),
    "write_share": _Meaning(0.1, 0.4, (_RE, _ONCE), (_WRITE,), (_WRITE,), (_RE, _ONCE)),
    "epochs": _Meaning(1.1, 2.0, (_ONCE,), (_RE,), (_RE,), (_ONCE,)),
    "shared_share": _Meaning(-1.0, 0.25, high_for=(_RE,), high_against=(_ONCE, _WRITE)),
    "opens_per_file": _Meaning(1.1, 2.0, (_ONCE,), (_RE,), (_RE,), (_ONCE,)),
    "reopened_share": _Meaning(0.1, 0.5, (_ONCE,), (_RE,), (_RE,), (_ONCE,)),
    "read_only_files": _Meaning(0.1, 0.9, (_WRITE,), (_RE, _ONCE), (_RE, _ONCE), (_WRITE,)),
    "write_only_files": _Meaning(0.1, 0.9, (_RE, _ONCE), (_WRITE,), (_WRITE,), (_RE, _ONCE)),
    "order_randomness": _Meaning(0.25, 0.75, (_ONCE,), (), (_RE,), (_ONCE,)),
    "write_call_share": _Meaning(0.1, 0.5, (_RE, _ONCE), (_WRITE,), (_WRITE,), (_RE, _ONCE)),
    # Above 0, bytes repeat less often than by chance, as in an epoch.
    "unrepeated": _Meaning(0.0, 1e-9, high_for=(_RE, _ONCE), low_against=(_ONCE,)),
}


def speaks_for(feature: str, value: float, workload: str) -> bool | None:
    """Return True if the words for a value speak for a workload, False if against it, None if neither."""
    meaning = _MEANINGS.get(feature)
    if meaning is None:
        return None
    for beyond, speaks, against in (
        (value <= meaning.low, meaning.low_for, meaning.low_against),
        (value >= meaning.high, meaning.high_for, meaning.high_against),
    ):
        if beyond:
            return True if workload in speaks else False if workload in against else None
    return None


#: Writes a share with three significant digits.
percent = partial(format_percent, digits=3)

#: How many facts a verdict has.
FACTS = 3


class Fact(BaseModel):
    """A fact that contributed to the verdict."""

    model_config = ConfigDict(frozen=True)

    feature: str
    value: float = Field(description="the value, as in tiering.workload.features.features")
    weight: float = Field(description="its contribution to the log-odds of the verdict; negative speaks against it")
    against: bool = Field(default=False, description="it speaks against the verdict, by its words or by its weight")
    text: str = Field(description='the fact in plain words: "80 % of all bytes moved were read again"')


def facts(model: Model, vector: npt.NDArray[np.float64], workload: int) -> list[Fact]:
    """Return the three facts with the greatest weights, heaviest first, including those against the verdict.

    vector: float64 (len(FEATURE_NAMES),). workload: position of the verdict in WORKLOADS.

    The weight of a feature is the mean of two changes in log-odds: the loss if only this feature is set to the median
    of the corpus, and the gain if only this feature is put into a vector of medians. These are the last and the first
    term of its Shapley value (Strumbelj and Kononenko, 2014), so a feature counts even if others carry the same
    information.
    A fact speaks against the verdict if its words do, or if its weight is negative and its words are neutral. A feature
    that the trace does not show (NaN) is no fact. Nor is one whose words speak for the verdict but whose weight is
    negative.
    """
    count = len(FEATURE_NAMES)
    without, alone = np.tile(vector, (count, 1)), np.tile(model.medians, (count, 1))
    np.fill_diagonal(without, model.medians)
    np.fill_diagonal(alone, vector)
    chances = model.probabilities(np.vstack([vector, model.medians, without, alone]))[:, workload]
    odds = _log_odds(chances)
    weights = ((odds[0] - odds[2 : 2 + count]) + (odds[2 + count :] - odds[1])) / 2
    known = np.flatnonzero(~np.isnan(vector))
    found = []
    for number in known[np.argsort(-np.abs(weights[known]), kind="stable")].tolist():
        name, value, weight = FEATURE_NAMES[number], float(vector[number]), float(weights[number])
        speaks = speaks_for(name, value, WORKLOADS[workload])
        if speaks and weight < 0:
            continue
        against = weight < 0 if speaks is None else not speaks
        found.append(Fact(feature=name, value=value, weight=weight, against=against, text=_WORDS[name](value)))
    return found[:FACTS]


def defined_facts(trace: TraceProfile, workload: Workload) -> list[Fact]:
    """Return the shares that decide by the definition, heaviest first. Each speaks for the verdict, or is neutral.

    The weight of a share is the distance of its log-odds from those of the threshold, on the verdict's side of it.
    """
    shares = {"reread_share": trace.reread_share, "write_share": trace.write_share}
    values = dict(shares)
    decides = {"reread_share": "re-read-heavy", "write_share": "write-heavy", "epochs": "re-read-heavy"}
    if trace.epochs:
        shares["epochs"], values["epochs"] = 1 - 1 / trace.epochs, trace.epochs
    bound = _log_odds(np.array([MAJORITY]))[0]
    found = []
    for name, share in shares.items():
        apart = float(_log_odds(np.array([share]))[0] - bound) * (1 if decides[name] == workload else -1)
        neutral = name == "epochs" and workload in {"write-heavy", "mixed"}
        weight = 0.0 if neutral else apart
        text = _WORDS[name](values[name])
        found.append(Fact(feature=name, value=values[name], weight=weight, against=weight < 0, text=text))
    return sorted(found, key=lambda fact: -fact.weight)


def _log_odds(chances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(chances, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def _share(words: str, nothing: str = "") -> Callable[[float], str]:
    return lambda value: nothing if nothing and value == 0 else words.format(percent(value))


def _size(words: str) -> Callable[[float], str]:
    return lambda value: words.format(format_bytes(10.0**value))


def _by(what: str) -> Callable[[float], str]:
    return _share(f"processes with {what} moved {{}} of the bytes", f"no process with {what} moved data")


def _in(what: str) -> Callable[[float], str]:
    return _share(f"{{}} of the bytes read lie in {what}", f"nothing is read from {what}")


def _number(words: str) -> Callable[[float], str]:
    return lambda value: words.format(format_number(value))


def _order(value: float) -> str:
    looks = "shuffled" if value > 0.75 else "sorted" if value < 0.25 else "partly sorted"
    rounded = math.floor(100 * value) / 100
    return (
        f"files are visited in an order that looks {looks} ({format_number(rounded)} on a scale from 0, sorted, to 1, "
        "shuffled)"
    )


_WORDS: dict[str, Callable[[float], str]] = {
    "reread_share": _share("{} of all bytes moved were read again", "no byte was read twice"),
    "write_share": _share("written bytes are {} of the bytes moved", "nothing was written"),
    "shared_share": _share("{} of all bytes moved had been read by another job before", "no other job read the same"),
    "mapped_share": _share("mapped bytes are {} of all bytes mapped or moved", "no file is mapped into memory"),
    "epochs": _number("each byte was read {} times on average"),
    "coverage": _share("{} of the dataset's bytes have been read so far"),
    "opens_per_file": _number("a file is opened {} times on average"),
    "reopened_share": _share("{} of the opened files were opened more than once", "no file was opened twice"),
    "whole_file_share": _share("{} of the opens read the whole file, from start to end", "no file is read whole"),
    "read_only_files": _share("{} of the files are only read", "no file is only read"),
    "write_only_files": _share("{} of the files are only written", "no file is only written"),
    "read_write_files": _share("{} of the files are both read and written", "no file is both read and written"),
    "sequentiality": _share("{} of the reads begin where the last one in that file ended", "no read follows another"),
    "order_randomness": _order,
    "file_size": _size("a file that is read is {} long on average"),
    "read_size": _size("a read moves {} on average"),
    "write_size": _size("a write moves {} on average"),
    "write_call_share": _share("{} of the read and write calls are writes", "no call is a write"),
    "file_coverage": _share("{} of the bytes in the files that were read from were read"),
    "unrepeated": lambda value: (
        "reads repeat less often than random reads would, as in an epoch" if value > 0 else "reads repeat"
    ),
    "framework": _by("a deep learning framework"),
    "inference_engine": _by("an inference engine"),
    "accelerator": _by("a library of an accelerator"),
    "image_decoder": _by("an image decoder"),
    "sample_loader": _by("a library that loads samples"),
    "data_tools": _by("a library for tables or arrays"),
    "databases": _by("a database or key-value store"),
    "serving": _by("a server of web pages or files"),
    "copying": _by("an archiver, copier or backup program"),
    "scanning": _by("a program that searches or checks files"),
    "compiling": _by("a compiler"),
    "media_tools": _by("a program or library for audio and video"),
    "parallel_computing": _by("a library of parallel computing"),
    "interpreted": _by("an interpreter"),
    "logging": _by("a logger"),
    "unnamed_programs": lambda value: f"processes of no known kind moved {percent(value)} of the bytes",
    "readers_alike": lambda value: (
        "one process reads at a time"
        if value == 0
        else f"{format_number(2**value)} processes read alike at the same time"
    ),
    "image_files": _in("images"),
    "archive_files": _in("archives or disk images"),
    "record_files": _in("files of records"),
    "table_files": _in("tables"),
    "text_files": _in("text files or documents"),
    "database_files": _in("files of databases"),
    "media_files": _in("audio or video files"),
    "class_folders": _share("{} of the files read lie in folders of one kind, side by side", "no folders are alike"),
    "alike_names": _share("{} of the files read have the same name but for digits"),
    "largest_file": _share("{} of the bytes read lie in one file"),
    "checkpoint_share": _share("{} of the bytes written are named like checkpoints", "no checkpoint was written"),
    "checkpoints": lambda value: (
        f"{format_number(2**value - 1)} checkpoints were written" if value else "no checkpoint was written"
    ),
    "renamed_share": _share("{} of the outputs are renamed into place", "no output is renamed into place"),
    "training_split": _share("{} of the bytes read belong to a training split", "nothing is read of a training split"),
    "validation_split": _share("{} of the bytes read belong to a validation split", "no validation split is read"),
    "validation_between": lambda value: (
        "a validation split is read in between" if value else "no validation split is read in between"
    ),
    "burst_spread": _number("bursts of reads differ in size by {} times their mean"),
    "interval_spread": _number("the times between bursts of reads differ by {} times their mean"),
    "idle_share": _share("{} of the time lies between bursts of reads"),
}
