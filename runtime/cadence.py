"""How often the detector runs: in every frame while the box keeps up, in every n-th while frames are skipped."""

from __future__ import annotations

# At most every so many frames: somebody who comes in is seen after a tenth of a second at 30 frames a second.
MOST = 3
# Frames over which it is judged whether the box keeps up; from this part of skipped ones on it doesn't.
_JUDGED, _SKIPPED = 20, 0.1
# Frames without a skip, after which more is tried; each time that it proves too much, twice as many.
_PATIENCE, _LONGEST = 60, 3840


class DetectionCadence:
    """Decides for each frame, in their order, whether the detector runs. The load is told by the frames themselves:
    the newest one wins, so that a box that is too slow sees gaps in their numbers."""

    def __init__(self) -> None:
        self.every = 1
        self._since, self._last = 0, -1
        self._frames = self._skipped = self._calm = 0
        self._patience = _PATIENCE

    def due(self, index: int) -> bool:
        """Whether the detector runs on the frame that its source numbered `index`."""
        self._judge(index)
        self._since += 1
        if self._since >= self.every:
            self._since = 0
            return True
        return False

    def _judge(self, index: int) -> None:
        gap = index - self._last
        self._last = index
        if gap <= 0 or gap > 10 * _JUDGED:  # another source, or one that was away
            self._frames = self._skipped = self._calm = 0
            return
        self._frames += 1
        self._skipped += gap > 1
        self._calm = 0 if gap > 1 else self._calm + 1
        if self._frames >= _JUDGED:
            if self._skipped > _SKIPPED * self._frames and self.every < MOST:
                self.every += 1
                self._patience = min(2 * self._patience, _LONGEST)
            self._frames = self._skipped = 0
        if self.every > 1 and self._calm >= self._patience:
            self.every -= 1
            self._calm = 0
