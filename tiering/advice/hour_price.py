"""The default cost of waiting. The command line shows it in its help, which need not load the rest of the advice."""

from __future__ import annotations

from typing import Final

#: Default cost of an hour of waiting of one node, USD: about one rented training GPU.
HOUR_USD: Final = 2.0
