"""Playing stored frames at the pace they were taken."""

from __future__ import annotations

import time

from runtime.capture.source import StaleFrame


class Pace:
    """Holds each frame back until it is due; a late reader gets the frames it missed at once, none is dropped."""

    def __init__(self, realtime: bool) -> None:
        self._realtime = realtime
        self._offset_s: float | None = None  # monotonic time minus the frames' clock

    def restart(self) -> None:
        """The next frame is due at once."""
        self._offset_s = None

    def wait(self, timestamp_s: float, timeout_s: float, name: str) -> None:
        """Sleep until the frame of that time is due; raises `StaleFrame` where that is after `timeout_s`."""
        if not self._realtime:
            return
        now = time.monotonic()
        if self._offset_s is None:
            self._offset_s = now - timestamp_s
        wait_s = timestamp_s + self._offset_s - now
        if wait_s > timeout_s:
            time.sleep(max(timeout_s, 0.0))
            raise StaleFrame(f"the next frame is due in {wait_s - timeout_s:.1f} s", where=name)
        if wait_s > 0:
            time.sleep(wait_s)
