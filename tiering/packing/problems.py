"""Counts the problems that a check finds, and keeps the first hundred."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_KEPT: Final = 100


class Problems:
    """Counts problems and keeps the first hundred."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[str] = []
        self.damaged: list[str] = []

    def add(self, problems: Iterator[str] | list[str]) -> bool:
        """Add problems. Return whether there were none."""
        before = self.count
        for problem in problems:
            self.count += 1
            if len(self.kept) < _KEPT:
                self.kept.append(problem)
        return self.count == before
