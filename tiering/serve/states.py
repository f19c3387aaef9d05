"""State: the saved position of a loader, and the checks of its numbers."""

from __future__ import annotations

import math
import reprlib
from typing import Any

from tiering.errors import UsageError
from tiering.serve.orders import integer

#: A position in the epochs: a few numbers and words, fit for JSON.
State = dict[str, Any]


def stated(state: State, name: str, least: float = -math.inf, most: float = math.inf) -> int:
    """Return a number from a state. Raises UsageError if it is not an integer from least to most."""
    try:
        number = integer(name, state.get(name))
    except TypeError as error:
        raise refused(f"an integer as {name}", reprlib.repr(state.get(name))) from error
    if not least <= number <= most:
        raise refused(f"{name} from {least:,} to {most:,}", reprlib.repr(number))
    return number


def refused(expected: str, found: str) -> UsageError:
    """Return the error for a state that does not fit this loader."""
    return UsageError(
        "the loader's state",
        expected=expected,
        found=found,
        action="Make the loader with the settings that it had when the state was saved.",
    )
