"""Write the table of scenarios in docs/predicting.md, from fixtures/advice/scenarios.toml.

Run it from the repository's root: python -m docs.scenario_table
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tiering.units import format_count, format_percent, format_usd

PAGE: Final = Path(__file__).parent / "predicting.md"
SCENARIOS: Final = Path(__file__).parent.parent / "fixtures" / "advice" / "scenarios.toml"
_TABLE: Final = re.compile(r"(?<=<!-- scenarios: begin -->\n).*?(?=<!-- scenarios: end -->)", re.DOTALL)


def page() -> str:
    """Return docs/predicting.md with the table of the scenarios as they are now."""
    scenarios = tomllib.loads(SCENARIOS.read_text())["scenario"]
    head = "| situation | sensible | not sensible | range | why |\n| --- | --- | --- | --- | --- |\n"
    table = head + "".join(f"| {' | '.join(_cells(each))} |\n" for each in scenarios)
    return _TABLE.sub(lambda _: table, PAGE.read_text())


def _cells(scenario: Mapping[str, Any]) -> Iterator[str]:
    answer = scenario["answer"]
    yield scenario["situation"].rstrip(".")
    yield ", ".join(answer["admitted"]) or "none"
    yield ", ".join(answer["refused"]) or "-"
    yield "; ".join(_ranges(answer)) or "-"
    yield answer["why"]


def _ranges(answer: Mapping[str, Any]) -> Iterator[str]:
    for name, unit, written in (
        ("samples_per_s", "samples/s", _number),
        ("monthly_usd", "USD/month", _usd),
        ("stall_fraction", "waiting", format_percent),
    ):
        if name in answer:
            low, high = answer[name]
            yield f"{written(low)} to {written(high)} {unit}"


def _usd(value: float) -> str:
    return format_count(value) if value >= 10 else format_usd(value)


def _number(value: float) -> str:
    return format_count(value) if value >= 100 else f"{value:g}"


if __name__ == "__main__":
    PAGE.write_text(page())
