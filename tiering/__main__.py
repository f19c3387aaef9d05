"""`python -m tiering`: the program where its script is not on PATH."""

from __future__ import annotations

from tiering.cli.app import main

main()
