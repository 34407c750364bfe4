"""A camera's lens from a file: our own `{"wardpose_lens": …}`, or an Azure Kinect's calibration JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibration.atomic import disk_error
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.foreign_file import foreign_bytes
from calibration.intrinsics import read_k4a_calibration
from calibration.json_text import parse_json

LENS_KEY = "wardpose_lens"
_EXAMPLE = (
    '{"wardpose_lens": {"width": 1280, "height": 720, "fx": 611.8, "fy": 611.9, "cx": 639.3, "cy": 365.9, '
    '"distortion": [k1, k2, p1, p2, k3]}}'
)
_MEND = f"write it as {_EXAMPLE}, in pixels, or measure it: wardpose calibrate intrinsics"
# Focal lengths of real lenses, as a part of the picture's longer side: 170 degrees across to a telescope.
_FOCAL = (0.04, 50.0)


def lens_text(camera: CameraModel) -> str:
    """What stands in a file of ours."""
    return json.dumps({LENS_KEY: camera.to_dict()}, indent=1) + "\n"


def read_lens(path: Path, size: tuple[int, int]) -> CameraModel:
    """The lens for pictures of `size` (width, height) px. OpenCV's models of 4, 5, 8 and 12 coefficients are taken.

    Raises WardposeError that names the file and says which field is missing or wrong.
    """
    where = str(path)
    try:
        content = foreign_bytes(path)
    except OSError as error:
        raise disk_error(error, path) from None
    try:
        # The attachment of a Kinect's recording ends in a NUL byte.
        values = parse_json(content.decode("utf-8-sig").rstrip("\0\r\n\t "))
    except ValueError as error:
        kind = "YAML, as ROS and OpenCV write it" if _is_yaml(content) else f"not JSON ({error})"
        raise WardposeError(f"is {kind}", where=where, mend=_MEND) from None
    if isinstance(values, Mapping) and LENS_KEY in values:
        return _own(values[LENS_KEY], where, size)
    if not isinstance(values, Mapping) or "CalibrationInformation" not in values:
        raise WardposeError(f"has neither {LENS_KEY} nor an Azure Kinect's calibration", where=where, mend=_MEND)
    try:
        return read_k4a_calibration(values, size).color
    except WardposeError as error:
        raise WardposeError(error.what, where=where, mend=error.mend) from None


def _own(values: Any, where: str, size: tuple[int, int]) -> CameraModel:
    if not isinstance(values, Mapping):
        raise WardposeError(f"{LENS_KEY} is no object", where=where, mend=_MEND)
    try:
        camera = CameraModel.from_dict(values)
    except KeyError as error:
        raise WardposeError(f"{LENS_KEY} has no {error.args[0]}", where=where, mend=_MEND) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise WardposeError(f"{LENS_KEY} does not hold: {error}", where=where, mend=_MEND) from None
    if (camera.width, camera.height) != size:
        raise WardposeError(
            f"the lens was measured at {camera.width}×{camera.height}, the pictures are {size[0]}×{size[1]}",
            where=where, mend="measure it at the resolution the camera runs at",
        )  # fmt: skip
    longer = max(size)
    for name, focal in (("fx", camera.fx), ("fy", camera.fy)):
        if not _FOCAL[0] * longer <= focal <= _FOCAL[1] * longer:
            raise WardposeError(f"{LENS_KEY}.{name} is {focal:g}, no focal length in pixels", where=where, mend=_MEND)
    for name, centre, side in (("cx", camera.cx, camera.width), ("cy", camera.cy, camera.height)):
        # Normalised to 0…1 it would lie in the first pixel.
        if not 1 < centre < side:
            raise WardposeError(f"{LENS_KEY}.{name} is {centre:g}, not within the picture", where=where, mend=_MEND)
    return camera


def _is_yaml(content: bytes) -> bool:
    return b"camera_matrix" in content and not content.lstrip().startswith((b"{", b"["))
