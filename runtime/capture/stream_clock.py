"""How old the pictures of a network camera are, by the stream's own clock.

A picture that arrives now need not be of now: a camera, a recorder or a switch that stalls hands over later what it
kept. Each picture bears a time of the stream's clock, whose offset to this machine's is not known; but the least delay
with which pictures have come is as little as it gets, so what comes later than that is older by as much.
"""

from __future__ import annotations

# The least delay is forgotten this slowly, so that a camera's quartz that runs late by a few parts in ten thousand does
# not make its pictures old in the course of a day.
_DRIFT = 5e-4
LATE_S = 1.0  # pictures so much behind are no live pictures
BEHIND_S = 5.0  # and a stream that stays so for so long is opened again


class StreamClock:
    """Tells when pictures were taken from when they arrive and what the stream's clock says. One for each opening."""

    def __init__(self) -> None:
        self._least_s: float | None = None
        self._arrived_s = self._stream_s = 0.0
        self._runs = False
        self._behind_since_s: float | None = None

    def captured_at(self, stream_s: float, arrived_s: float) -> float:
        """When the picture of that stream time was taken, in the clock of `arrived_s`; never later than that.

        A stream whose clock never moves has none: its pictures are taken when they arrive. One that moved and stands
        still gives one moment only, which grows old.
        """
        delay_s = arrived_s - stream_s
        if self._least_s is None:
            self._least_s = delay_s
        else:
            self._runs = self._runs or stream_s != self._stream_s
            self._least_s = min(delay_s, self._least_s + _DRIFT * (arrived_s - self._arrived_s))
        self._arrived_s, self._stream_s = arrived_s, stream_s
        captured_s = min(stream_s + self._least_s, arrived_s) if self._runs else arrived_s
        if arrived_s - captured_s <= LATE_S:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = arrived_s
        return captured_s

    @property
    def hopeless(self) -> bool:
        """Whether the pictures have been late for so long that only opening the stream again will help."""
        return self._behind_since_s is not None and self._arrived_s - self._behind_since_s >= BEHIND_S
