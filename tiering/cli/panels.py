"""The headings under which help shows commands and options. Each has one."""

from __future__ import annotations

from typing import Final

# Of commands.
LOOKING: Final = "Look at data and jobs"
DECIDING: Final = "Decide where and how to keep data"
STORES: Final = "Pack data into stores"
SERVING: Final = "Read it fast"

# Of options.
INPUT: Final = "What to read"
SAMPLES: Final = "Which samples"
OUTPUT: Final = "What to write"
PACKING: Final = "The store"
PIXELS: Final = "Decoded pixels"
REENCODED: Final = "Re-encoded images"
WORK: Final = "How the work is done"
STORAGE: Final = "Storage tiers"
CACHE: Final = "The cache"
JOB: Final = "The training job"
HOSTS: Final = "The hosts"
LIMITS: Final = "Limits"
BILL: Final = "The bill"
MEASURING: Final = "The measurement"
PROGRAM: Final = "The program"
