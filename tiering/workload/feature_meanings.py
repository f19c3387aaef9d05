"""What a feature means in plain words for a verdict, so that no fact is given as a reason against what it says."""

from __future__ import annotations

from typing import NamedTuple

from tiering.workload.label import WORKLOADS, Workload


class _Meaning(NamedTuple):
    """Values up to `low` and from `high` on mean something: what they speak for, and what they speak against."""

    low: float
    high: float
    low_for: tuple[Workload, ...] = ()
    low_against: tuple[Workload, ...] = ()
    high_for: tuple[Workload, ...] = ()
    high_against: tuple[Workload, ...] = ()


_RE, _WRITE, _ONCE, _ = WORKLOADS

#: Features whose words a reader takes for or against a workload; those of the others are neither.
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
    # Above 0 bytes repeat less than by chance, as in an epoch.
    "unrepeated": _Meaning(0.0, 1e-9, high_for=(_RE, _ONCE), low_against=(_ONCE,)),
}


def speaks_for(feature: str, value: float, workload: str) -> bool | None:
    """Return True if a value speaks for a workload in plain words, False if against it, None if it does neither."""
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
