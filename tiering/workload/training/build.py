"""Make the model that ships: `python -m tiering.workload.training.build [FILE]`.

Without FILE it replaces workload.skops beside this module. It takes a few minutes; the figures of its
cross-validation are kept in the file and repeated in docs/reference/model.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tiering.workload.classifier import save
from tiering.workload.training.train import train


def main(arguments: list[str]) -> None:
    """Train on the corpus of seed 0 and write the model."""
    target = Path(arguments[0]) if arguments else Path(__file__).with_name("workload.skops")
    save(train(seed=0), target)


if __name__ == "__main__":
    main(sys.argv[1:])
