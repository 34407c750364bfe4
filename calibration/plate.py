"""Site plates: colour and depth of the empty bed, from the very camera, as they are stored.

A plate is a folder of `color.png`, `depth.png` (16 bit, millimetres), `measured.png` (where that depth was measured
and not filled in) and `plate.json`, which is written last: without it there is no plate.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.json_text import parse_json

FORMAT_VERSION = 1
DESCRIPTION, PICTURE = "plate.json", "color.png"
MEND = "take the plate anew: wardpose plates capture"


@dataclass(frozen=True)
class Plate:
    """The empty bed as one camera sees it.

    color: (H, W, 3) uint8 RGB, distorted as the lens saw it. depth: (H, W) uint16 millimetres along the optical axis,
    registered to the colour camera; 0 where neither measured nor filled. measured: (H, W) bool.
    camera_from_bed (4, 4), bed, calibration (its name): of the calibration in force when the plate was taken.
    noise: standard deviation of one frame about the fused picture, of full scale. captured_at, expires_at: UTC,
    ISO 8601.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    measured: NDArray[np.bool_]
    camera: CameraModel
    camera_from_bed: NDArray[np.float64]
    bed: Bed
    calibration: str
    noise: float
    captured_at: str
    expires_at: str

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.color.shape != (*size, 3) or self.color.dtype != np.uint8:
            raise ValueError(f"color must be {(*size, 3)} uint8, got {self.color.shape} {self.color.dtype}")
        if self.depth.shape != size or self.depth.dtype != np.uint16:
            raise ValueError(f"depth must be {size} uint16, got {self.depth.shape} {self.depth.dtype}")
        if self.measured.shape != size or self.measured.dtype != np.bool_:
            raise ValueError(f"measured must be {size} bool, got {self.measured.shape} {self.measured.dtype}")
        if self.camera_from_bed.shape != (4, 4):
            raise ValueError(f"camera_from_bed must be (4, 4), got {self.camera_from_bed.shape}")
        rotation = self.camera_from_bed[:3, :3]
        if not np.isfinite(self.camera_from_bed).all() or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
            raise ValueError("camera_from_bed does not hold a rotation and a place")
        if not (np.isfinite(self.noise) and self.noise >= 0):
            raise ValueError(f"noise must be 0 or more, got {self.noise}")
        instant(self.captured_at), instant(self.expires_at)

    def expired(self, now: datetime | None = None) -> bool:
        """Whether the plate may no longer be used; `now` defaults to this instant."""
        return (now or datetime.now(UTC)) >= instant(self.expires_at)

    def points(self, step: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Bed-frame points (h, w, 3) of every `step`-th pixel, and where (h, w) there is a depth."""
        v, u = np.mgrid[0 : self.camera.height : step, 0 : self.camera.width : step]
        rays = self.camera.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(np.float64))
        depth = self.depth[::step, ::step].ravel() / 1000.0
        bed_from_camera = np.linalg.inv(self.camera_from_bed)
        points = (rays * depth[:, None]) @ bed_from_camera[:3, :3].T + bed_from_camera[:3, 3]
        known = (depth > 0) & np.isfinite(points).all(axis=1)
        return points.reshape(*u.shape, 3), known.reshape(u.shape)


def save_plate(plate: Plate, folder: Path) -> None:
    """Write the plate into `folder`, readable by its owner alone; the description last."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_bytes(folder / PICTURE, _png(cv2.cvtColor(plate.color, cv2.COLOR_RGB2BGR)))
    write_bytes(folder / "depth.png", _png(plate.depth))
    write_bytes(folder / "measured.png", _png(plate.measured.astype(np.uint8) * 255))
    values = {
        "format": FORMAT_VERSION, "captured_at": plate.captured_at, "expires_at": plate.expires_at,
        "calibration": plate.calibration, "camera": plate.camera.to_dict(), "bed": plate.bed.to_dict(),
        "camera_from_bed": plate.camera_from_bed.tolist(), "noise": plate.noise,
    }  # fmt: skip
    write_bytes(folder / DESCRIPTION, json.dumps(values, indent=1, allow_nan=False).encode() + b"\n")


def describe_plate(folder: Path) -> Mapping[str, Any]:
    """The description of the plate in `folder`, without its pictures; WardposeError where it holds none."""
    path = Path(folder) / DESCRIPTION
    try:
        values = parse_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise WardposeError("holds no plate", where=str(folder), mend=MEND) from None
    except OSError as error:
        raise WardposeError(f"cannot be read: {error.strerror}", where=str(path), mend="check its rights") from error
    except ValueError as error:
        raise WardposeError(f"is damaged: {error}", where=str(path), mend=MEND) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT_VERSION:
        raise WardposeError(f"is no plate of format {FORMAT_VERSION}", where=str(path), mend=MEND)
    return values


def load_plate(folder: Path) -> Plate:
    """The plate in `folder`; WardposeError that names the file and the field where it is missing or damaged."""
    values = describe_plate(folder)
    pictures = {PICTURE: "RGB", "depth.png": "I;16", "measured.png": "L"}
    try:
        camera = CameraModel.from_dict(values["camera"])
        size = (camera.width, camera.height)
        color, depth, measured = (_read(Path(folder) / name, mode, size) for name, mode in pictures.items())
        return Plate(
            color=color, depth=depth, measured=np.asarray(measured > 0), camera=camera,
            camera_from_bed=np.asarray(values["camera_from_bed"], dtype=np.float64), bed=Bed(**values["bed"]),
            calibration=str(values["calibration"]), noise=float(values["noise"]),
            captured_at=str(values["captured_at"]), expires_at=str(values["expires_at"]),
        )  # fmt: skip
    except KeyError as error:
        raise WardposeError(f"field {error.args[0]} is missing", where=str(folder), mend=MEND) from None
    except (TypeError, ValueError, OverflowError, cv2.error) as error:
        raise WardposeError(f"is damaged: {error}", where=str(folder), mend=MEND) from None


def picture_of(plate: Plate) -> bytes:
    """A PNG for a person to judge the plate by: its colour beside its depth, near red and far blue, darker where the
    depth was filled in and black where there is none."""
    known = plate.depth > 0
    near, far = np.percentile(plate.depth[known], [2, 98]) if known.any() else (0.0, 1.0)
    share = np.clip((far - plate.depth.astype(np.float64)) / max(far - near, 1.0), 0, 1)
    shades = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_TURBO)
    shades = np.where(plate.measured[..., None], shades, np.where(known[..., None], shades // 2, 0)).astype(np.uint8)
    return _png(np.hstack([cv2.cvtColor(plate.color, cv2.COLOR_RGB2BGR), shades]))


def instant(text: str) -> datetime:
    """The instant that `text`, ISO 8601 with a time zone, says; ValueError for anything else."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return when


def _png(picture: NDArray[Any]) -> bytes:
    ok, data = cv2.imencode(".png", picture)
    if not ok:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape}")
    return data.tobytes()


def _read(path: Path, mode: str, size: tuple[int, int]) -> NDArray[Any]:
    """The pixels of one of a plate's pictures, of Pillow's `mode` and the `size` it was written in. Pillow holds each
    part against its checksum; OpenCV would show what is left of a damaged one."""
    from PIL import Image

    try:
        content = path.read_bytes()
    except OSError as error:
        raise WardposeError(f"cannot be read: {error.strerror}", where=str(path), mend=MEND) from None
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode != mode:
                raise ValueError(f"of the kind {image.mode!r}, not {mode!r}")
            if image.size != size:  # before it is decoded
                raise ValueError("of {}×{} pixels, not {}×{}".format(*image.size, *size))
            return np.array(image)
    except Exception as error:  # what Pillow raises for a damaged file is bounded by no list
        raise WardposeError(f"is no whole picture ({error})", where=str(path), mend=MEND) from None
