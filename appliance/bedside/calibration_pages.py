"""Pictures of a calibration for a person to see: the bed on the camera's picture, a page of how well it is known.

Whoever has one made has asked for the look (`camera.look`); it goes when its time is up.
"""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.bedside.camera_access import take_pictures
from appliance.site import calibrations, intents
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.atomic import disk_error
from calibration.errors import WardposeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.estimate import CalibrationEstimate

PAGE_KEPT = timedelta(days=30)


def delete_old_pages(site: SiteFolder) -> list[str]:
    """Delete the pages of calibrations, which may show the camera's picture, when they are `PAGE_KEPT` old; returns
    what couldn't be deleted."""
    problems = []
    for path in sorted(site.pictures.glob("calibration-*.png")):
        try:
            if time.time() - path.stat().st_mtime < PAGE_KEPT.total_seconds():
                continue
            with contextlib.suppress(intents.Gone):
                intents.delete(site, "calibration.page-expire", path.name, "", [path])
        except OSError as error:
            problems.append(str(disk_error(error, path)))
        except WardposeError as error:
            problems.append(str(error))
    return problems


def write_picture(estimate: CalibrationEstimate, color: NDArray[np.uint8], path: Path) -> None:
    """Write color (H, W, 3) RGB with the bed drawn on it as a PNG that the user alone can read."""
    import cv2

    from calibration.atomic import write_bytes
    from calibration.outline import draw_bed

    _, png = cv2.imencode(".png", cv2.cvtColor(draw_bed(color, estimate), cv2.COLOR_RGB2BGR))
    write_bytes(path, png.tobytes())


def write_page(site: SiteFolder, path: Path | None = None, *, samples: int = 1000, look: bool = False) -> Path:
    """Write the newest calibration's posterior page; returns where (default: the site's folder of pictures).

    look: take a picture of the site's camera for the bed to be drawn over; it stays in the file.
    """
    if not 10 <= samples <= 100_000:
        raise WardposeError(f"{samples} samples make no page", mend="ask for 10 to 100000")
    known = calibrations.rows(site, 1)
    if not known:
        raise WardposeError("there is no calibration to show", mend=calibrations.CALIBRATE_FIRST)
    from calibration.posterior_page import write_posterior_page

    estimate, color = calibrations.load(site, known[0]), None
    path = path if path is not None else site.pictures / f"calibration-{known[0].id}.png"
    if look:
        color = take_pictures(site, load_settings(site).camera.source, 1)[0].color
    try:
        write_posterior_page(estimate, path, samples=samples, color=color)
    except OSError as error:
        raise disk_error(error, path) from error
    return path
