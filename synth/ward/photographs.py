"""The site's photographs as backgrounds: people in bed put where a photograph shows a bed, as in the paper."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.capture.photograph import read_photograph
from synth.color import linear
from synth.render.mesh import Mesh
from synth.render.renderer import Light
from synth.sensor import Lens
from synth.ward.backdrop import Backdrop
from synth.ward.lights import Lighting, without_shoulder
from synth.ward.shapes import Surface, quad

BEDS = "beds.json"
"""Beside the photographs: `{"name.jpg": [x, y, width, height]}`, the bed's box in each (px)."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_FLOOR_M = 8.0  # side of the floor on which shadows fall
_MOST_KEPT_BYTES = 256 << 20
_MOST_ENLARGED = 2.5  # a photograph enlarged further is a blur


@dataclass(frozen=True, slots=True)
class Photograph:
    """One picture of the folder. bed: x, y, width, height in px; where `known` is False nobody has looked for it, and
    it is the lower middle of the picture."""

    path: str
    bed: tuple[float, float, float, float]
    known: bool


@lru_cache(maxsize=4)
def photographs(folder: str) -> tuple[Photograph, ...]:
    """The photographs of a folder, by name. Every one is read once, so that a broken one is told before any work.

    Raises WardposeError naming the folder or file that is at fault.
    """
    root = Path(folder)
    if not root.is_dir():
        raise WardposeError("no such folder of backgrounds", where=folder, mend="name a folder of photographs")
    beds = _beds(root / BEDS)
    found = []
    for path in sorted(path for path in root.iterdir() if path.suffix.lower() in _SUFFIXES):
        height, width = read(str(path)).shape[:2]
        box = beds.get(path.name)
        if box is not None and not (box[2] > 4 and box[3] > 4 and -1 <= box[0] < width and -1 <= box[1] < height):
            raise WardposeError(f"{path.name}: no box in a picture of {width}×{height}", where=str(root / BEDS))
        middle = (0.15 * width, 0.45 * height, 0.7 * width, 0.5 * height)
        found.append(Photograph(str(path), box or middle, box is not None))
    if not found:
        raise WardposeError("holds no photograph", where=folder, mend=f"put {', '.join(sorted(_SUFFIXES))} files in it")
    return tuple(found)


def _beds(path: Path) -> dict[str, tuple[float, float, float, float]]:
    if not path.exists():
        return {}
    mend = "write it with `wardpose backgrounds`, or remove it"
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WardposeError(f"is no list of beds: {error}", where=str(path), mend=mend) from None
    if not isinstance(content, dict):
        raise WardposeError("is no list of beds", where=str(path), mend=mend)
    return {str(name): _box(name, box, str(path), mend) for name, box in content.items()}


def _box(name: str, box: Any, where: str, mend: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in box)
    except (ValueError, TypeError, OverflowError):
        x = y = width = height = math.nan
    if not np.isfinite([x, y, width, height]).all():
        raise WardposeError(f"the bed of {name[:80]!r} is not x, y, width, height", where=where, mend=mend)
    return x, y, width, height


def read(path: str) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 RGB; WardposeError naming the file where it can't be read whole."""
    return read_photograph(Path(path))


_KEPT: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()


def _kept(path: str) -> NDArray[np.uint8]:
    """`read`, once for the pictures used last; what they take together is bounded, not their number."""
    picture = _KEPT.pop(path, None)
    _KEPT[path] = picture = read(path) if picture is None else picture
    while len(_KEPT) > 1 and sum(each.nbytes for each in _KEPT.values()) > _MOST_KEPT_BYTES:
        _KEPT.popitem(last=False)
    return picture


def backdrop(
    folder: str, bed: Bed, in_ward: bool, camera_from_bed: NDArray[np.float64], lens: Lens, rng: np.random.Generator
) -> Backdrop:
    """One of the folder's photographs, cut so that its bed lies where the camera sees the scene's.

    The scene's own bed is drawn along where nobody knows the photograph's, and in half of the others. Without a bed in
    the scene (`in_ward` False) the cut is anywhere.
    """
    known = photographs(folder)
    photograph = known[int(rng.integers(len(known)))]
    picture, box = _kept(photograph.path), np.array(photograph.bed)
    if rng.random() < 0.5:
        picture, box[0] = picture[:, ::-1], picture.shape[1] - box[0] - box[2]
    own_bed, scale_change = bool(rng.random() < 0.5), float(rng.uniform(0.85, 1.2))
    shift = rng.uniform(0, 1, 2)
    camera = lens.camera
    height, width = picture.shape[:2]
    least = max(camera.width / width, camera.height / height)
    target = _outline(bed, camera_from_bed, lens) if in_ward else None
    if target is None:
        scale = least * float(1 + 0.5 * shift[0] ** 2)
        left, top = shift[0] * (scale * width - camera.width), shift[1] * (scale * height - camera.height)
    else:
        scale = float(np.clip(scale_change * (target[2] - target[0]) / box[2], least, max(_MOST_ENLARGED, least)))
        middle = scale * (box[:2] + box[2:] / 2)
        left, top = middle - [(target[0] + target[2]) / 2, (target[1] + target[3]) / 2]
    left = float(np.clip(left, 0, scale * width - camera.width))
    top = float(np.clip(top, 0, scale * height - camera.height))
    cut = _cut(picture, camera, scale, left, top)
    with_bed = in_ward and (own_bed or not photograph.known)
    seen_box = (box * scale - [left, top, 0, 0]) if photograph.known else np.array([0.0, 0.0, *cut.shape[1::-1]])
    return Backdrop(
        cut,
        np.full(cut.shape[:2], np.inf, np.float32),
        np.zeros(cut.shape[:2], np.float32),
        _receivers(bed, in_ward and not with_bed),
        _lighting(cut, seen_box, rng),
        blur_px=float(np.clip(0.3 * scale, 0.2, 0.9)),
        bed=with_bed,
    )


def _cut(picture: NDArray[np.uint8], camera: CameraModel, scale: float, left: float, top: float) -> NDArray[np.uint8]:
    """The part of the scaled picture that begins at (left, top) and has the camera's size."""
    first_x, first_y = int(left / scale), int(top / scale)
    part = picture[first_y : first_y + int(np.ceil(camera.height / scale)) + 1,
                   first_x : first_x + int(np.ceil(camera.width / scale)) + 1]  # fmt: skip
    part = part[: max(1, round(camera.height / scale)), : max(1, round(camera.width / scale))]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(np.ascontiguousarray(part), (camera.width, camera.height), interpolation=how), np.uint8
    )


def _outline(bed: Bed, camera_from_bed: NDArray[np.float64], lens: Lens) -> NDArray[np.float64] | None:
    """The box x0 y0 x1 y1 (px) of the mattress in the picture; None where it is not wholly before the camera."""
    corners = np.concatenate([bed.corners, bed.corners + [0.0, 0.0, 0.25]])
    seen = corners @ camera_from_bed[:3, :3].T + camera_from_bed[:3, 3]
    if (seen[:, 2] < 0.2).any():
        return None
    flat = seen[:, :2] / seen[:, 2:] * [lens.camera.fx, lens.camera.fy] + [lens.camera.cx, lens.camera.cy]
    return np.concatenate([flat.min(axis=0), flat.max(axis=0)])


def _receivers(bed: Bed, bedded: bool) -> tuple[Mesh, ...]:
    """The floor, and the mattress's top where the photograph's own bed is to be lain on."""
    half, floor = _FLOOR_M / 2, -bed.height
    grey = Surface((0.5, 0.5, 0.5))
    meshes = [quad([-half, -half, floor], [_FLOOR_M, 0, 0], [0, _FLOOR_M, 0], grey)]
    if bedded:
        x, y = bed.length / 2 + 0.3, bed.width / 2 + 0.3
        meshes = [quad([-x, -y, 0.0], [2 * x, 0, 0], [0, 2 * y, 0], grey)]
    return tuple(meshes)


def _lighting(cut: NDArray[np.uint8], box: NDArray[np.float64], rng: np.random.Generator) -> Lighting:
    """Light of the photograph's level and colour, from somewhere above: the bed's bright parts are pale cloth."""
    light = linear(cut[::4, ::4] / 255.0)
    x0, y0 = (int(max(0, v) / 4) for v in box[:2])
    x1, y1 = int(np.ceil((box[0] + box[2]) / 4)), int(np.ceil((box[1] + box[3]) / 4))
    part = light[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].reshape(-1, 3)
    part = part if len(part) else light.reshape(-1, 3)
    brightness = float(np.percentile(part.mean(axis=1), 85))
    overall = light.reshape(-1, 3)
    brightness = max(brightness, 0.5 * float(np.percentile(overall.mean(axis=1), 95)), 0.02)
    color = overall.mean(axis=0) / max(float(overall.mean()), 1e-4)
    color = (color / color.mean()) ** 0.6  # some of a picture's cast is its things' own colour
    level = float(without_shoulder(min(brightness, 0.95))) / 0.8 * float(rng.uniform(0.85, 1.15))
    direct = float(rng.uniform(0.25, 0.65)) * level
    toward = np.array([*rng.uniform(-0.8, 0.8, 2), 1.0])
    toward /= np.linalg.norm(toward)
    strength, ambient = direct / toward[2] * color, (level - direct) * color
    x, y, z = (float(v) for v in toward)
    return Lighting(
        (Light((x, y, z), (float(strength[0]), float(strength[1]), float(strength[2])), True),),
        (float(ambient[0]), float(ambient[1]), float(ambient[2])),
        (float(0.6 * ambient[0]), float(0.6 * ambient[1]), float(0.6 * ambient[2])),
    )
