"""How often a watcher looks: as often as helps, and never more than its share of one core allows."""

from __future__ import annotations

import time
from collections.abc import Callable

#: The share of one core that a watcher may use.
SHARE = 0.02
#: s between looks, and between samples of what threads do, while that is cheap enough.
LOOK_SECONDS, SAMPLE_SECONDS = 0.5, 0.1
#: Most of the share is kept for looks and samples; what wakes the watcher in between uses the rest.
_PLANNED = 0.85
#: s of processor time that may be spent ahead of the share, so that the first seconds show something.
_LENT = 0.1
#: The part of it for samples.
_FOR_SAMPLES = 0.4


class Pace:
    """Decides when the next look and the next sample are due, from the processor time that they cost.

    clock, used: s of wall-clock time, and of processor time of this process.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._used = clock, used
        self._begin, self._used_before = clock(), used()
        self._cost = {"look": 0.0, "sample": 0.0}
        self._last = {"look": self._begin, "sample": self._begin}
        #: s of processor time that attaching took.
        self.to_begin = 0.0
        #: s of processor time for what grows with the events of the job.
        self.for_events = 0.0
        #: The longest s between two looks so far, for the note.
        self.slowest = LOOK_SECONDS

    @property
    def used(self) -> float:
        """The s of processor time used since the start."""
        return self._used() - self._used_before

    @property
    def share(self) -> float:
        """The share of one core used since the start."""
        return self.used / max(1e-9, self._clock() - self._begin)

    def next_look(self) -> float:
        """Return when the next look is due, on the clock."""
        return self._next("look", LOOK_SECONDS, SHARE * _PLANNED * (1 - _FOR_SAMPLES))

    def next_sample(self) -> float:
        """Return when the next sample is due, on the clock."""
        return self._next("sample", SAMPLE_SECONDS, SHARE * _PLANNED * _FOR_SAMPLES)

    def _next(self, what: str, fastest: float, share: float) -> float:
        """Return when something is due: every `fastest` s at most, and in the long run within a share of one core."""
        if self._spent < _LENT:
            return self._last[what] + fastest
        return max(self._last[what] + max(fastest, self._cost[what] / share), self._affordable())

    @property
    def _spent(self) -> float:
        """The s of processor time for looks and samples."""
        return self.used - self.for_events - self.to_begin

    def begin(self) -> None:
        """Note that attaching is done. What it cost is in the share, but slows nothing down."""
        self.to_begin = self.used
        self._last = dict.fromkeys(self._last, self._clock())

    def _affordable(self) -> float:
        """Return from when on the share is kept, what attaching cost aside, and one dear look."""
        return self._begin + (self._spent - _LENT) / SHARE

    def drained(self, cost: float) -> None:
        """Note the s of processor time for events between two looks."""
        self.for_events += cost

    def did(self, what: str, cost: float, events: float = 0.0) -> None:
        """Note a look or a sample, and the s of processor time that it took.

        events: the part of it that grows with what the job does, which looking less often would not lower.
        """
        self.for_events += events
        cost -= events
        now = self._clock()
        if what == "look":
            self.slowest = max(self.slowest, now - self._last["look"])
        self._last[what] = now
        # The mean of the last few: one that is dear by chance should not slow the rest.
        self._cost[what] += (cost - self._cost[what]) * (0.3 if self._cost[what] else 1.0)
