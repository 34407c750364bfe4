"""The truth about one picture, as COCO annotations and as YOLO lines.

`bbox` encloses what is visible, as COCO's boxes do; `full_bbox` encloses the whole person as far as the picture
reaches, hidden parts included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.skeleton import KEYPOINTS, LIMBS
from synth.body.figure import Figure
from synth.render.renderer import Rendering
from synth.sensor import Lens
from synth.visibility import ABSENT, keypoint_visibility

LEAST_VISIBLE_SHARE = 0.10
LEAST_VISIBLE_AREA = 200  # px², at a picture of 640×360; it scales with the picture
_REFERENCE_AREA = 640 * 360

CATEGORY = {
    "id": 1,
    "name": "person",
    "supercategory": "person",
    "keypoints": list(KEYPOINTS),
    "skeleton": [[a + 1, b + 1] for a, b in LIMBS],
}

Annotation = dict[str, Any]


def annotate(
    figure: Figure,
    person: int,
    seen: Rendering,
    camera_from_bed: NDArray[np.float64],
    lens: Lens,
    *,
    blanket_coverage: float = 0.0,
    segmentation: bool = False,
) -> Annotation | None:
    """The annotation of one person, without ids, or None where too little of them is visible to be called one.

    seen: the picture's rendering, through the lens.
    """
    mask = without_specks(seen.instance == person)
    area = int(np.count_nonzero(mask))
    if area < LEAST_VISIBLE_AREA * mask.size / _REFERENCE_AREA:
        return None
    box = extent(mask)
    full_box, full_area = full_extent(figure, mask, box, camera_from_bed, lens)
    if area < LEAST_VISIBLE_SHARE * full_area:
        return None
    in_camera = figure.keypoints @ camera_from_bed[:3, :3].T + camera_from_bed[:3, 3]
    pixels = project(lens, in_camera)
    visibility = keypoint_visibility(figure, person, pixels, camera_from_bed, seen)
    pixels[visibility == ABSENT] = 0.0
    places = np.round(pixels, 2).tolist()
    keypoints = [value for (x, y), v in zip(places, visibility.tolist(), strict=True) for value in (x, y, v)]
    annotation: Annotation = {
        "category_id": CATEGORY["id"],
        "iscrowd": 0,
        "bbox": box,
        "full_bbox": full_box,
        "area": area,
        "visible_share": round(area / full_area, 4),
        "keypoints": keypoints,
        "num_keypoints": int((visibility != ABSENT).sum()),
        "joints3d": np.round(figure.keypoints, 4).tolist(),
        "posture": figure.posture,
        "blanket_coverage": round(blanket_coverage, 3),
        "skin_tone": figure.traits.skin_tone,
        "age": round(figure.traits.age_years, 1),
        "bmi": round(figure.traits.bmi, 1),
        "sex": figure.traits.sex,
        "height": round(figure.traits.height_m, 3),
        "clothing": figure.traits.clothing,
    }
    if figure.making is not None:
        annotation |= figure.making.to_dict()
    if segmentation:
        annotation["segmentation"] = run_lengths(mask)
    return annotation


def full_extent(
    figure: Figure, mask: NDArray[np.bool_], box: list[int], camera_from_bed: NDArray[np.float64], lens: Lens
) -> tuple[list[int], int]:
    """Box and area (px) of the whole figure as far as the picture reaches: of its visible pixels, `mask` (H, W) within
    `box`, and of those where it would be seen with nothing in front of it."""
    from synth.render.silhouette import silhouette  # numba, which writing a data set's tables does not need

    alone = silhouette(figure.meshes, camera_from_bed, lens.pinhole)
    x, y, width, height = enclosing(box, lens.reach(extent(alone)))
    window = (slice(y, y + height), slice(x, x + width))
    whole = lens.bend_plane(alone, window) | mask[window]
    left, top, width, height = extent(whole)
    return [x + left, y + top, width, height], int(np.count_nonzero(whole))


def project(lens: Lens, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels (N, 2) of camera-frame points (N, 3); −1e6 for points behind the camera or outside the lens's field.

    A rational distortion folds back on itself beyond its field, so a point far outside could seem to lie inside.
    """
    pixels = np.full((len(points), 2), -1e6)
    front = points[:, 2] > 1e-3
    pinhole = lens.pinhole
    flat = np.full((len(points), 2), -1e6)
    flat[front] = points[front, :2] / points[front, 2:] * [pinhole.fx, pinhole.fy] + [pinhole.cx, pinhole.cy]
    size = (pinhole.width - 0.5, pinhole.height - 0.5)
    inside = ((flat >= -0.5) & (flat < size)).all(axis=1)
    if inside.any():
        pixels[inside] = lens.camera.project(points[inside])
    return pixels


def extent(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's [x, y, width, height] of the true pixels of a mask (H, W) that has some."""
    return list(cv2.boundingRect(mask.view(np.uint8)))


def enclosing(first: list[int], other: list[int]) -> list[int]:
    """The smallest box [x, y, width, height] around two."""
    left, top = min(first[0], other[0]), min(first[1], other[1])
    right, bottom = max(first[0] + first[2], other[0] + other[2]), max(first[1] + first[3], other[1] + other[3])
    return [left, top, right - left, bottom - top]


def without_specks(mask: NDArray[np.bool_], least_share: float = 0.01) -> NDArray[np.bool_]:
    """The mask (H, W) less its connected parts that hold under `least_share` of it.

    A few pixels of a sleeve seen between two folds of a blanket are nothing that a person would draw a box around, but
    they would stretch the box over everything the blanket covers.
    """
    if not mask.any():
        return mask
    x, y, width, height = extent(mask)
    inner = (slice(y, y + height), slice(x, x + width))
    count, parts = cv2.connectedComponents(mask[inner].view(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    sizes = np.bincount(parts.ravel())
    kept = sizes >= least_share * sizes[1:].sum()
    kept[0] = False
    found = np.zeros_like(mask)
    found[inner] = kept[parts]
    return found


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's uncompressed run-length encoding: column by column, beginning with the length of a run of zeros."""
    x, _, width, _ = extent(mask)
    first = max(x - 1, 0)  # with an empty column on each side, where there is one, in which the outer runs can end
    flat = cv2.transpose(mask[:, first : x + width + 1].view(np.uint8)).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1 + first * len(mask)
    edges = np.concatenate([[0], changes, [mask.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def yolo_lines(annotations: Sequence[Annotation], width: int, height: int) -> str:
    """One line a person: class 0, then centre and size of the visible box as shares of the picture."""
    lines = []
    for annotation in annotations:
        x, y, w, h = annotation["bbox"]
        lines.append(f"0 {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n")
    return "".join(lines)
