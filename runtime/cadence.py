"""How often the detector runs: in every frame while the box keeps up, in every n-th while frames are skipped or nothing
in them moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.stillness import Place, is_still, place_of

# Somebody who comes in is looked for after so many seconds at the latest, whatever the load.
LONGEST_S = 0.2
# Frames over which it is judged whether the box keeps up; from this part of skipped ones on it doesn't.
_JUDGED, _SKIPPED = 20, 0.05
# Frames without a skip, after which more is tried; each time that it proves too much, twice as many.
_PATIENCE, _LONGEST = 60, 3840


class DetectionCadence:
    """Decides for each frame, in their order, whether the detector runs. The load is told by the frames themselves:
    the newest one wins, so that a box that is too slow sees gaps in their numbers."""

    def __init__(self) -> None:
        self.every = 1
        self._detected: int | None = None
        self._then: Place | None = None
        self._last = -1
        self._frames = self._skipped = self._calm = 0
        self._patience = _PATIENCE

    def due(self, index: int, apart_s: float, color: NDArray[np.uint8] | None = None) -> bool:
        """Whether the detector runs on the frame that its source numbered `index`, `apart_s` seconds after the one
        before it (infinite where that is not known). color: its picture, where what has not moved need not be looked
        at."""
        most = max(1, int(LONGEST_S / apart_s + 1e-6))
        self._judge(index, most)
        if self._detected is None or not 0 <= (passed := index - self._detected) < most:
            return True
        rests = color is not None and self._then is not None and is_still(color, self._then)
        return passed >= self.every and not rests

    def detected(self, index: int, color: NDArray[np.uint8] | None = None) -> None:
        """The detector has been given this frame, whose picture `color` is."""
        self._detected = index
        self._then = None if color is None else place_of(color, np.array([0.0, 0.0, color.shape[1], color.shape[0]]))

    def forget(self) -> None:
        """How the picture looked."""
        self._then = None

    def _judge(self, index: int, most: int) -> None:
        gap = index - self._last
        self._last = index
        if gap <= 0 or gap > 10 * _JUDGED:  # another source, or one that was away
            self._frames = self._skipped = self._calm = 0
            return
        self._frames += 1
        self._skipped += gap > 1
        self._calm = 0 if gap > 1 else self._calm + 1
        if self._frames >= _JUDGED:
            if self._skipped > _SKIPPED * self._frames and self.every < most:
                self.every += 1
                self._patience = min(2 * self._patience, _LONGEST)
            self._frames = self._skipped = 0
        if self.every > 1 and self._calm >= self._patience:
            self.every -= 1
            self._calm = 0
