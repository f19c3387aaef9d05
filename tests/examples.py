"""How many examples Hypothesis tries: as many as a test asks for, or about a third where slow tests are left out.

Examples are drawn anew in each run, so that what one run leaves out, others try.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings


def choose_profile(config: pytest.Config) -> None:
    """Load the profile that fits the command line, before any test is imported. No example has a time limit."""
    patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
    settings.register_profile("all", max_examples=100, **patient)
    settings.register_profile("few", max_examples=30, **patient)
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("few" if "not slow" in config.option.markexpr else "all")


def examples(full: int, least: int = 3) -> int:
    """How many examples to try where a run of all tests tries `full`, and `least` is enough to show something."""
    return min(full, max(least, full * settings.default.max_examples // 100))
