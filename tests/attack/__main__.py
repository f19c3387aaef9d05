"""Run all attacks, or those whose name holds a word, and print what must not happen: python -m tests.attack [WORD]."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.attack.bases import make
from tests.attack.cases import every
from tests.attack.pool import Result, run


def tell(result: Result) -> None:
    """Print what must not happen."""
    for failure in result.failures:
        print(result.case.kind, result.case.name[:200], "|", failure[:500], flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="attack-") as directory:
        root = Path(directory)
        make(root)
        words = sys.argv[1:]
        chosen = [
            case for case in every(root) if not words or any(word in f"{case.kind} {case.name}" for word in words)
        ]
        print(f"{len(chosen)} attacks", flush=True)
        began = time.monotonic()
        results = [result for result in run(root, chosen, tell=tell) if not result.skipped]
        outcomes = Counter(outcome.split(":")[0] for result in results for outcome in result.outcomes.values())
        print(
            f"{len(results)} stores, {sum(outcomes.values())} operations, {time.monotonic() - began:.0f} s: {outcomes}"
        )
        print(f"{sum(bool(result.failures) for result in results)} stores with failures")
