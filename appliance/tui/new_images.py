"""The newest pictures of a data set, side by side in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from appliance.jobs.datasets import HELD_OUT
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ACROSS, DOWN = 3, 2
WIDTH = 320  # px of one picture


def newest_folder(site: SiteFolder) -> Path | None:
    """The data set of training images that was written to last, finished or not; None where there is none."""
    found = [path for path in site.datasets.glob("*/images") if not path.parent.name.startswith(HELD_OUT)]
    return max((path.parent for path in found), key=lambda path: (path / "images").stat().st_mtime, default=None)


def newest_images(folder: Path) -> NDArray[np.uint8]:
    """A sheet (H, W, 3) RGB of the pictures that were written last into a data set, the newest first, while it is made
    too. Raises `WardposeError` where there is none yet."""
    import cv2
    import numpy as np

    files = [path for path in (folder / "images").glob("*") if path.suffix in (".jpg", ".jpeg", ".png")]
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    tiles = []
    for path in files:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)  # None for one that is only being written
        if picture is None:
            continue
        height = round(WIDTH * picture.shape[0] / picture.shape[1])
        tiles.append(
            cv2.cvtColor(cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        )
        if len(tiles) == ACROSS * DOWN:
            break
    if not tiles:
        raise WardposeError("the first picture is still being made", where=str(folder), mend="wait a moment")
    height = min(tile.shape[0] for tile in tiles)
    blank = np.zeros((height, WIDTH, 3), np.uint8)
    tiles = [tile[:height] for tile in tiles] + [blank] * (-len(tiles) % ACROSS)
    rows = [np.concatenate(tiles[at : at + ACROSS], axis=1) for at in range(0, len(tiles), ACROSS)]
    return np.asarray(np.concatenate(rows), np.uint8)


def read_picture(file: Path) -> NDArray[np.uint8]:
    """A picture of this site's own making as (H, W, 3) RGB; raises `WardposeError` where it is none."""
    import cv2
    import numpy as np

    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise WardposeError("it does not open as a picture", where=str(file), mend="make it again")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
