"""The pictures that engines are tried on: some that come with the product, and the site's own synthetic ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph

_SHIPPED = Path(__file__).parent / "probe_pictures"
# How many of the site's pictures an engine is tried on, and how many others its INT8 ranges come from.
TRIED, CALIBRATED = 16, 64


def probe_pictures(site: Path | None = None) -> list[NDArray[np.uint8]]:
    """(H, W, 3) uint8 RGB pictures with people in wards, the same on every box; then some of the folder `site`."""
    return _read([*sorted(_SHIPPED.glob("*.jpg")), *_spread(site, TRIED, 0)])


def calibration_pictures(site: Path | None) -> list[NDArray[np.uint8]]:
    """Other pictures of the folder `site`, of which an INT8 model's ranges are learnt; none without a folder."""
    return _read(_spread(site, CALIBRATED, 1))


def _spread(folder: Path | None, count: int, turn: int) -> list[Path]:
    """`count` pictures all over a folder; those of one `turn` (0, 1) are never another's."""
    if folder is None or not folder.is_dir():
        return []
    every = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[turn::2]
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).astype(int))]


def _read(paths: list[Path]) -> list[NDArray[np.uint8]]:
    found = []
    for path in paths:
        try:
            found.append(read_photograph(path))
        except WardposeError:  # such as one that is being written, or deleted, at this moment
            continue
    return found
