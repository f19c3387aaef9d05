"""What surrounds a job: the memory counts are differences between looks, and absent accelerators are said."""

from __future__ import annotations

import os

from tiering.trace.watching.surroundings import Surroundings


def test_memory_is_counted_from_look_to_look_and_absent_accelerators_are_said():
    with Surroundings(os.getpid()) as surroundings:
        first, second = surroundings.memory(), surroundings.memory()
        use = surroundings.use()
        assert len(surroundings.accelerators({os.getpid()})) == 0 or use.used
    for counted in (first, second):
        assert counted.refaulted is None or 0 <= counted.refaulted < 1 << 30
        assert counted.stalled is None or 0 <= counted.stalled < 60
    assert use.used is (use.reason == "")
