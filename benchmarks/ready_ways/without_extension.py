"""tiering's Loader with a crop, without the C extension, as after an installation without a compiler."""

from __future__ import annotations

import sys

sys.modules["tiering.images._draw"] = None  # type: ignore[assignment]

from benchmarks.ready_ways import ours  # noqa: E402 - the extension must be out of the way first

PACKAGES = ("tiering", "pillow", "simplejpeg")
opened = ours.opened
