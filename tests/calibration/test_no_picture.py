"""What the watch keeps of the room brings no picture back, by the best attack we know; what it once kept did.

The attacker has the kept file, this code, and many pictures of other places. Of every spot they know its place and one
bit, so the best additive guess is the mean of what such pictures show around a spot of its kind (the conditional mean,
learnt here). The pictures are dead leaves (Lee, Mumford and Huang, 2001): occluding shapes with the statistics of
photographs; where real photographs of rooms are at hand, they are attacked as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.camera_drift import BackgroundReference, take_background
from tests.calibration.test_camera_drift import ESTIMATE
from tests.conftest import REPOSITORY

Picture = NDArray[np.uint8]
Gray = NDArray[np.float64]
RADIUS = 24
COARSE_PX = 6.0  # what is smaller than this is texture, and nothing is recognised by it alone


def dead_leaves(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    picture = np.full((360, 640, 3), 120, np.uint8)
    for _ in range(1500):
        size = 4 * (1 - rng.random() * 0.98) ** -0.8  # px: a power law, so that it looks alike at every scale
        centre, color = rng.uniform(0, (640, 360)), rng.integers(20, 235, 3).tolist()
        box = (tuple(centre), (2 * size * rng.uniform(0.4, 2), 2 * size * rng.uniform(0.4, 2)), rng.uniform(0, 180))
        if rng.random() < 0.5:
            cv2.ellipse(picture, box, color, cv2.FILLED)
        else:
            cv2.fillConvexPoly(picture, np.rint(cv2.boxPoints(box)).astype(np.int32), color)
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def photographs() -> list[Picture]:
    shared = Path(os.environ.get("WARDPOSE_SHARED", REPOSITORY.parent / "shared"))
    files = sorted((shared / "data" / "backgrounds" / "images").glob("*.jpg"))
    if not files:
        pytest.skip("no photographs of rooms are at hand")
    found = []
    for file in files:
        picture = cv2.imread(str(file))
        scale = max(640 / picture.shape[1], 360 / picture.shape[0])
        large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found.append(np.ascontiguousarray(large[:360, :640, ::-1]))
    return [picture for picture in found if picture.shape == (360, 640, 3)]


def contrast(picture: Picture) -> Gray:
    """The picture with the same local mean and contrast everywhere: what its shapes and edges look like."""
    gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64), (0, 0), 0.8)
    mean = cv2.blur(gray, (25, 25))
    return (gray - mean) / (np.sqrt(np.maximum(cv2.blur(gray * gray, (25, 25)) - mean * mean, 0)) + 4.0)


def coarse(gray: Gray) -> Gray:
    return cv2.GaussianBlur(gray, (0, 0), COARSE_PX)


def alike(guess: Gray, truth: Gray) -> float:
    return float(np.corrcoef(guess.ravel(), truth.ravel())[0, 1])


def kept_of(picture: Picture) -> BackgroundReference:
    return take_background([picture], ESTIMATE)


def learnt(pictures: list[Picture], show: Callable[[Picture], Gray]) -> Gray:
    """What other pictures show (2, S, S) around a dark and a bright spot, on average."""
    total, count = np.zeros((2, 2 * RADIUS + 1, 2 * RADIUS + 1)), np.zeros((2, 1, 1))
    for picture in pictures:
        shown, reference = np.pad(show(picture), RADIUS), kept_of(picture)
        for (x, y), bright in zip(np.rint(reference.points).astype(int), reference.bright.astype(int), strict=True):
            total[bright] += shown[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1]
            count[bright] += 1
    return total / count


def drawn(reference: BackgroundReference, around: Gray) -> Gray:
    """The attacker's picture."""
    canvas, count = np.zeros((2, 360 + 2 * RADIUS, 640 + 2 * RADIUS))
    for (x, y), bright in zip(np.rint(reference.points).astype(int), reference.bright.astype(int), strict=True):
        canvas[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1] += around[bright]
        count[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1] += 1
    return (canvas / np.sqrt(np.maximum(count, 1)))[RADIUS:-RADIUS, RADIUS:-RADIUS]


def former(picture: Picture) -> Gray:
    """What came back from the former format: pieces of 31 × 31 pixels around up to 220 corners, put back in place."""
    normal = np.clip(128 + 42 * contrast(picture), 0, 255).astype(np.uint8)
    inside = np.zeros((360, 640), np.uint8)
    inside[17:-17, 17:-17] = 255
    corners = cv2.goodFeaturesToTrack(normal, 220, 0.02, 7, mask=inside, blockSize=7).reshape(-1, 2)
    back = np.zeros((360, 640))
    for x, y in np.rint(corners).astype(int):
        back[y - 15 : y + 16, x - 15 : x + 16] = normal[y - 15 : y + 16, x - 15 : x + 16] - 128.0
    return back


def attack(others: list[Picture], attacked: list[Picture]) -> tuple[float, float, float]:
    """How alike the pictures that come back are to the true ones: in their shapes, in what is light and dark at large,
    and in their shapes from the former format."""

    def light(picture: Picture) -> Gray:
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
        return coarse(gray - gray.mean())

    shapes, lights = learnt(others, contrast), learnt(others, light)
    figures = np.array(
        [
            (
                alike(coarse(drawn(kept_of(picture), shapes)), coarse(contrast(picture))),
                alike(drawn(kept_of(picture), lights), light(picture)),
                alike(coarse(former(picture)), coarse(contrast(picture))),
            )
            for picture in attacked
        ]
    )
    return tuple(figures.mean(axis=0))  # type: ignore[return-value]


def test_no_picture_comes_back_from_spots_where_one_came_back_from_pieces() -> None:
    pictures = [dead_leaves(seed) for seed in range(24)]
    shapes, lights, before = attack(pictures[4:], pictures[:4])
    assert shapes < 0.3 and abs(lights) < 0.3
    assert before > 0.6  # what this test would have said of the former format


def test_no_photograph_of_a_room_comes_back() -> None:
    pictures = photographs()
    shapes, lights, before = attack(pictures[6:], pictures[:6])
    assert shapes < 0.3 and abs(lights) < 0.3
    assert before > 0.6


def test_a_spot_is_its_place_and_one_bit_and_there_are_few() -> None:
    reference = kept_of(dead_leaves(0))
    assert set(vars(reference)) == {"camera", "points", "bright"}
    assert reference.points.shape == (len(reference.bright), 2) and reference.bright.dtype == bool
    assert len(reference.points) <= 200
    apart = np.linalg.norm(reference.points[:, None] - reference.points[None], axis=2)
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 10  # px: no row of them draws a line
