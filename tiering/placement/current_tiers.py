"""The tier that holds each dataset of a survey now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tiering.advice.catalog import Tier
from tiering.advice.current_tier import current_tier
from tiering.placement.survey import SurveyedDataset


def current_tiers(given: Mapping[str, str]) -> Callable[[SurveyedDataset, Sequence[Tier]], str | None]:
    """Return a function that names the tier of a dataset, None where that is not known.

    Args:
        given: Names of tiers by directory; "" stands for every other one. The longest directory above a dataset counts.
            Without any, the mount table of this machine tells, if the dataset is on this machine.

    Example:
        >>> current_tiers({"/scratch": "nvme", "": "nfs"})  # doctest: +SKIP
    """
    by_length = sorted(given, key=len, reverse=True)

    def named(dataset: SurveyedDataset, tiers: Sequence[Tier]) -> str | None:
        for directory in by_length:
            above = directory.rstrip("/")
            if dataset.path == above or dataset.path.startswith(f"{above}/") or not directory:
                return given[directory]
        seen = current_tier(dataset.path, tiers)
        return None if seen is None else seen.tier

    return named
