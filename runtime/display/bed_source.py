"""The bed for the page: of the calibration in use, also when another comes into use while the page is open."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from runtime.bed_view import BedView
from runtime.display.bed_picture import bed_picture

_LOOK_S = 0.5  # between two looks at the file


class CalibratedBed:
    """The bed's parts by the calibration in a file that may appear, or be replaced, at any time.

    Called with a picture's width and height; the same list comes again for as long as calibration and size are the
    same. Without a file, or with one that can't be read, there is no bed to draw.
    """

    def __init__(self, calibration: Path | None) -> None:
        self._path = calibration
        self._looked_at, self._mark = -_LOOK_S, (0, 0)
        self._view: BedView | None = None
        self._size = (0, 0)
        self._parts: list[dict[str, Any]] = []

    def __call__(self, width: int, height: int) -> list[dict[str, Any]]:
        if self._is_another() or (width, height) != self._size:
            self._size = width, height
            self._parts = bed_picture(self._view, width, height) if self._view else []
        return self._parts

    def _is_another(self) -> bool:
        """Whether the file is another than when it was last looked at; it is read then."""
        if self._path is None or time.monotonic() - self._looked_at < _LOOK_S:
            return False
        self._looked_at = time.monotonic()
        try:
            about = self._path.stat()
        except OSError:
            mark = (0, 0)
        else:
            mark = (about.st_mtime_ns, about.st_ino)
        if mark == self._mark:
            return False
        self._mark, self._view = mark, None
        if mark != (0, 0):
            try:
                self._view = BedView.load(self._path)
            except WardposeError as error:
                sys.stderr.write(f"no bed is drawn: {error}\n")
        return True
