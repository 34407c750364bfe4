"""Where each person is: in the bed, on its edge, or out of it, told from joints and the calibrated bed.

A handful of jointed stick figures (lying at several backrests, sitting on each edge, standing, bending over, sitting on
a chair, lying on the floor) is put where a person's hips are seen, projected, and held against the joints that are
seen. How well the best figure of each place fits, and whether it stands where such a figure can, is that place's
evidence. Analysis by synthesis with one camera: what looks the same from there gets equal evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from runtime.bed_view import BedView
from runtime.skeleton import Skeletons

PLACES = ("in-bed", "on-edge", "out-of-bed")
# Metres: an adult's trunk, thigh and shank between the middles of the joints, and how far figures vary about them.
_TRUNK, _THIGH, _SHANK = 0.50, 0.42, 0.40
_SIZES = (0.8, 0.95, 1.1)
# Metres: how far a seen joint lies from its figure's, and the most that one joint may count.
_SPREAD, _FARTHEST = 0.10, 0.35
# A joint counts from this probability on.
_SEEN = 0.2
# Metres above the mattress of the hips of who lies and of who sits; above the floor of who stands, sits, lies there.
_LYING, _SITTING, _STANDING, _CHAIR, _FLOOR = 0.10, 0.10, 0.90, 0.48, 0.12
_PARTS = ((11, 12), (5, 6), (13, 14), (15, 16))  # hips, shoulders, knees, ankles
_WEIGHTS = np.array([0.0, 1.0, 0.7, 0.5])
# Evidence of a place without any figure that fits: nothing is quite impossible.
_LEAST = -6.0


@dataclass(frozen=True, slots=True)
class _Figures:
    """T figures. offsets: (T, 4, 3) metres from the hips to hips, shoulders, knees, ankles. height: (T,) of the hips in
    the bed frame. place: (T,) index into `PLACES`. seat: (T, 2) outward normal of the edge that is sat on, else 0."""

    offsets: NDArray[np.float64]
    height: NDArray[np.float64]
    place: NDArray[np.intp]
    seat: NDArray[np.float64]


def place_evidence(view: BedView, skeletons: Skeletons, boxes: NDArray[np.floating], width: int, height: int
                   ) -> NDArray[np.float64] | None:  # fmt: skip
    """(N, 3) log evidence of each of `PLACES` for people with boxes (N, 4) in a picture of that width and height.

    skeletons: of the same people, or none where there is no pose model. None where the picture is not the calibrated
    one's. Rows are relative: only differences within a row mean something.
    """
    camera = view.camera_for(width, height)
    if camera is None:
        return None
    if not len(boxes):
        return np.empty((0, len(PLACES)))
    points, weight = _parts(skeletons, np.asarray(boxes, np.float64))
    figures = _figures(view.bed)
    answer = [_one(view, camera, figures, p, w) for p, w in zip(points, weight, strict=True)]
    return np.stack(answer)


def _parts(skeletons: Skeletons, boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 4, 2) pixels and (N, 4) weights of hips, shoulders, knees, ankles; hips are the box's middle where unseen."""
    points, weight = np.zeros((len(boxes), 4, 2)), np.zeros((len(boxes), 4))
    if len(skeletons):
        for part, pair in enumerate(_PARTS):
            score = np.where(skeletons.score[:, pair] >= _SEEN, skeletons.score[:, pair], 0).astype(np.float64)
            total = score.sum(1)
            mean = (skeletons.keypoints[:, pair] * score[..., None]).sum(1) / np.maximum(total, 1e-9)[:, None]
            points[:, part], weight[:, part] = mean, score.max(1)
    unseen = weight[:, 0] == 0
    points[unseen, 0] = (boxes[unseen, :2] + boxes[unseen, 2:]) / 2
    return points, weight


def _one(
    view: BedView, camera: CameraModel, figures: _Figures, points: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(3,) log evidence of one person."""
    rotation, origin = view.camera_from_bed[:3, :3], view.camera_from_bed[:3, 3]
    eye = -origin @ rotation
    # The hips where they are seen, else the shoulders, hold the figure in its place.
    part = 1 if weight[0] == 0 and weight[1] > 0 else 0
    ray = camera.unproject(points[part : part + 1])[0] @ rotation
    anchor = figures.offsets[:, part]
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (figures.height + anchor[:, 2] - eye[2]) / ray[2]
    ahead = np.isfinite(far) & (far > 0.2)
    hips = eye + np.where(ahead, far, 1.0)[:, None] * ray - anchor
    figure = (hips[:, None] + figures.offsets) @ rotation.T + origin
    depth = np.maximum(figure[:, 0, 2], 0.2)
    pixels = camera.project(np.maximum(figure, [-1e3, -1e3, 0.05]).reshape(-1, 3)).reshape(-1, 4, 2)
    metres = np.linalg.norm(pixels - points, axis=2) * (2 * depth / (camera.fx + camera.fy))[:, None]
    metres = np.where(np.isfinite(metres), metres, _FARTHEST)
    counts = weight * _WEIGHTS
    counts[part] = 0
    misfit = (np.minimum(metres, _FARTHEST) ** 2 * counts).sum(1) / (2 * _SPREAD**2)
    evidence = np.where(ahead, -misfit, -np.inf) + _stands_there(view.bed, figures, hips)
    best = [evidence[figures.place == place].max(initial=-np.inf) for place in range(len(PLACES))]
    return np.logaddexp(best, _LEAST)


def _stands_there(bed: Bed, figures: _Figures, hips: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) log of how well a figure's hips and knees lie for its place."""
    inside, knees = _inside(bed, hips), _inside(bed, hips + figures.offsets[:, 2])
    sitting = (hips[:, :2] * figures.seat).sum(1)
    half = np.abs(figures.seat) @ (np.array([bed.length, bed.width]) / 2)
    from_edge = half - sitting  # metres from the edge that is sat on, inwards
    lying = _log_sigmoid((inside + 0.02) / 0.05) + _log_sigmoid((knees + 0.05) / 0.05)
    edge = (
        _log_sigmoid((from_edge + 0.12) / 0.05)
        + _log_sigmoid((0.38 - from_edge) / 0.05)
        + _log_sigmoid((inside + 0.14) / 0.05)
        + _log_sigmoid((0.02 - knees) / 0.05)
    )
    out = _log_sigmoid((-inside - 0.12) / 0.06)
    answer: NDArray[np.float64] = np.choose(figures.place, [lying, edge, out])
    return answer


def _inside(bed: Bed, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) metres from the mattress's rim, seen from above; negative outside."""
    return np.asarray((np.array([bed.length, bed.width]) / 2 - np.abs(points[:, :2])).min(1))


def _log_sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.logaddexp(0, -x))


@lru_cache(maxsize=4)
def _figures(bed: Bed) -> _Figures:
    rows: list[tuple[NDArray[np.float64], float, int, tuple[float, float]]] = []

    def add(place: int, height: float, trunk: NDArray[np.float64], thigh: NDArray[np.float64],
            shank: NDArray[np.float64], seat: tuple[float, float] = (0.0, 0.0)) -> None:  # fmt: skip
        for size in _SIZES:
            knee = _THIGH * thigh
            parts = np.stack([np.zeros(3), _TRUNK * trunk, knee, knee + _SHANK * shank])
            rows.append((size * parts, height, place, seat))

    for upright in (0, 15, 30, 45, 60, 80):  # lying to sitting up, head to the head end
        for aside in (-25, 0, 25):
            for bent in (0, 35):
                legs = _direction(aside / 2, bent), _direction(aside / 2, -bent)
                add(0, _LYING, _direction(180 + aside, upright), *legs)
    for across in (90, -90, 0):  # lying across the bed, or the other way round
        add(0, _LYING, _direction(across, 0), _direction(across + 180, 0), _direction(across + 180, 0))
    for azimuth, seat in ((90, (0.0, 1.0)), (-90, (0.0, -1.0)), (0, (1.0, 0.0))):
        for upright in (50, 70, 90, 110):  # leaning back to bending forward
            for aside in (-40, 0, 40):
                thigh = _direction(azimuth + aside, -10)
                add(1, _SITTING, _direction(azimuth + 180, upright), thigh, _direction(azimuth + aside, -75), seat)
    down = _direction(0, -90)
    for height, thigh_at in ((_STANDING, -90), (_CHAIR, -5)):
        for azimuth in range(0, 360, 45):
            for upright in (90, 60, 30) if height == _STANDING else (90, 65):
                add(2, height - bed.height, _direction(azimuth, upright), _direction(azimuth, thigh_at), down)
    for azimuth in range(0, 360, 45):
        legs = _direction(azimuth + 180, 0), _direction(azimuth + 180, 0)
        add(2, _FLOOR - bed.height, _direction(azimuth, 0), *legs)
    offsets, heights, places, seats = zip(*rows, strict=True)
    return _Figures(np.stack(offsets), np.array(heights), np.array(places), np.array(seats))


def _direction(azimuth_deg: float, elevation_deg: float) -> NDArray[np.float64]:
    """A unit vector of the bed frame: azimuth from the foot end towards the patient's left, elevation upwards."""
    a, e = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    return np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
