"""Pictures that a calibration must not be made from: what each method answers where it ought to refuse.

Two things no picture can tell, so no trap asks for them: a bed wrong by the same share in length and width looks, by
its corners alone, like the same bed farther away; and a tape measure has no picture to contradict it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from benchmarks.calibration_trials import DEPTH_VIEW, depth_pictures, view
from benchmarks.depth_scenes import BedScene, Block
from benchmarks.sheet_pictures import KINECT_720P, picture_of_sheet
from calibration.bed import Bed
from calibration.charuco import CharucoCalibrator
from calibration.corners import calibrate_corners
from calibration.depth import DepthCalibrator
from calibration.estimate import CalibrationEstimate
from calibration.tag_sheet import TagSheet
from calibration.tags import TagCalibrator
from synth.simulated_camera import KINECT_COLOR_FROM_DEPTH, KINECT_DEPTH

Picture = NDArray[np.uint8]
Target = TagCalibrator | CharucoCalibrator
Answer = tuple[NDArray[np.float64] | None, CalibrationEstimate]
WRONG_SIZES = (0.7, 1.3)


@dataclass(frozen=True)
class Trap:
    """`answer` gives the estimate and the camera_from_bed that would have been right, None where nothing would."""

    method: str
    name: str
    answer: Callable[[np.random.Generator], Answer]


def _pose(rng: np.random.Generator, target: Target) -> NDArray[np.float64]:
    high = isinstance(target, CharucoCalibrator)  # its smaller squares can't be read from low down
    return view(rng, elevation=(40, 60), distance=(2.4, 2.6)).camera_from_bed if high else view(rng).camera_from_bed


def _printed(target: Target) -> TagSheet | CharucoCalibrator:
    return target.sheet if isinstance(target, TagCalibrator) else target


def _mirrored(rng: np.random.Generator, target: Target) -> Answer:
    picture = picture_of_sheet(_printed(target), KINECT_720P, _pose(rng, target), rng)
    return None, target.estimate(np.ascontiguousarray(picture[:, ::-1]), KINECT_720P, Bed())


def _texture(rng: np.random.Generator, target: Target) -> Answer:
    """Random squares at many scales, high in contrast: what a detector of squares finds most in."""
    picture = np.zeros((KINECT_720P.height, KINECT_720P.width))
    for cell in (4, 9, 20, 45):
        grid = rng.uniform(0, 1, (KINECT_720P.height // cell + 1, KINECT_720P.width // cell + 1))
        picture += cv2.resize(grid, (KINECT_720P.width, KINECT_720P.height), interpolation=cv2.INTER_NEAREST)
    grey = np.where(picture > 2.0, 225, 25).astype(np.uint8)
    return None, target.estimate(np.repeat(grey[..., None], 3, axis=2), KINECT_720P, Bed())


def _covered(rng: np.random.Generator, target: Target) -> Answer:
    """A cloth over a part of it: what can still be read may be used, if the answer is right."""
    truth = _pose(rng, target)
    picture = picture_of_sheet(_printed(target), KINECT_720P, truth, rng)
    middle = KINECT_720P.project((truth[:3, 3] + truth[:3, :2] @ rng.uniform([-0.8, -0.3], [0.8, 0.3]))[None])[0]
    centre, axes = (round(middle[0]), round(middle[1])), (int(rng.uniform(60, 260)), int(rng.uniform(40, 140)))
    cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, (120, 130, 140), -1)
    return truth, target.estimate(picture, KINECT_720P, Bed())


def _folded(rng: np.random.Generator, target: Target) -> Answer:
    """One end stands up along a line across it, as over a raised backrest or a pillow."""
    truth, hinge = _pose(rng, target), rng.uniform(-0.4, 0.4) * _printed(target).width
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("y", rng.uniform(8, 35), degrees=True).as_matrix()
    turn[:3, 3] = (np.eye(3) - turn[:3, :3]) @ [hinge, 0, 0]
    flat, raised = (picture_of_sheet(_printed(target), KINECT_720P, pose, rng) for pose in (truth, truth @ turn))
    ends = np.array([[hinge, -2.0, 0.0], [hinge, 2.0, 0.0], [hinge - 1, 0.0, 0.0]])
    seen = ends @ truth[:3, :3].T + truth[:3, 3]
    (x, y), tip, inside = (seen[:, :2] / seen[:, 2:] * KINECT_720P.fx).tolist()
    columns, rows = np.meshgrid(
        np.arange(KINECT_720P.width) - KINECT_720P.cx, np.arange(KINECT_720P.height) - KINECT_720P.cy
    )
    side = (tip[0] - x) * (rows - y) - (tip[1] - y) * (columns - x)
    toward_head = np.sign((tip[0] - x) * (inside[1] - y) - (tip[1] - y) * (inside[0] - x))
    return truth, target.estimate(np.where((side * toward_head > 0)[..., None], raised, flat), KINECT_720P, Bed())


def _two_sheets(rng: np.random.Generator, target: Target) -> Answer:
    """Another bed beside this one bears the same print."""
    truth, beside = _pose(rng, target), np.eye(4)
    beside[:2, 3] = rng.uniform(-0.3, 0.3), rng.choice([-1.0, 1.0]) * rng.uniform(0.95, 1.3)
    both = [
        picture_of_sheet(_printed(target), KINECT_720P, pose, rng, background=0) for pose in (truth, truth @ beside)
    ]
    return truth, target.estimate(np.maximum(*both), KINECT_720P, Bed())


def _other_sheet(rng: np.random.Generator) -> Answer:
    """The sheet was printed for a bed of another length, width or both."""
    bed = _wrong_bed(rng, both=True)
    picture = picture_of_sheet(TagSheet(), KINECT_720P, view(rng).camera_from_bed, rng)
    return None, TagCalibrator(TagSheet.for_bed(bed)).estimate(picture, KINECT_720P, bed)


def _wrong_bed(rng: np.random.Generator, *, both: bool) -> Bed:
    """Length, width or (both) the two of them 30 % off."""
    factor, which = float(rng.choice(WRONG_SIZES)), int(rng.integers(3 if both else 2))
    return Bed(2.0 * (factor if which != 1 else 1), 0.9 * (factor if which != 0 else 1))


def _clicks(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """camera_from_bed and the four corners, px, all of them in the picture."""
    while True:
        truth = view(rng).camera_from_bed
        pixels = KINECT_720P.project(Bed().corners @ truth[:3, :3].T + truth[:3, 3])
        if (pixels > 2).all() and (pixels < [KINECT_720P.width - 3, KINECT_720P.height - 3]).all():
            return truth, pixels + rng.normal(0.0, 2.0, pixels.shape)


def _clicked_wrong_size(rng: np.random.Generator) -> Answer:
    return None, calibrate_corners(_clicks(rng)[1], KINECT_720P, _wrong_bed(rng, both=False))


def _clicked_other_order(rng: np.random.Generator) -> Answer:
    """Any order but the right one and the one turned round, which a person sees and says."""
    pixels = _clicks(rng)[1]
    while True:
        order = rng.permutation(4)
        if tuple(order) not in ((0, 1, 2, 3), (2, 3, 0, 1)):
            return None, calibrate_corners(pixels[order], KINECT_720P, Bed())


def _clicked_mirrored(rng: np.random.Generator) -> Answer:
    pixels = _clicks(rng)[1]
    return None, calibrate_corners(pixels * [-1, 1] + [KINECT_720P.width - 1, 0], KINECT_720P, Bed())


def _clicked_anywhere(rng: np.random.Generator) -> Answer:
    size = [KINECT_720P.width, KINECT_720P.height]
    return None, calibrate_corners(rng.uniform(0, 1, (4, 2)) * size, KINECT_720P, Bed())


def _clicked_a_slip(rng: np.random.Generator) -> Answer:
    """One corner is set on something else, 60 to 150 px away."""
    truth, pixels = _clicks(rng)
    away = rng.uniform(0, 2 * np.pi)
    pixels[rng.integers(4)] += rng.uniform(60, 150) * np.array([np.cos(away), np.sin(away)])
    return truth, calibrate_corners(pixels, KINECT_720P, Bed())


def _depth(rng: np.random.Generator, scene: BedScene, bed: Bed, *, any_is_wrong: bool) -> Answer:
    truth = view(rng, **DEPTH_VIEW).camera_from_bed
    depths = depth_pictures(scene, truth, rng)
    found = DepthCalibrator().estimate_depth(depths, KINECT_DEPTH, KINECT_COLOR_FROM_DEPTH, KINECT_720P, bed)
    return None if any_is_wrong else truth, found


def _deep_wrong_size(rng: np.random.Generator) -> Answer:
    scene = BedScene(Bed(height=0.6), patient=bool(rng.random() < 0.5))
    return _depth(rng, scene, replace(_wrong_bed(rng, both=True), height=0.6), any_is_wrong=True)


def _deep_no_bed(rng: np.random.Generator) -> Answer:
    """A table, a cupboard and chairs of random sizes where the bed would be."""
    parts: list[Block] = []
    for _ in range(int(rng.integers(1, 5))):
        size, middle = rng.uniform([0.4, 0.4, 0.35], [1.4, 0.8, 1.1]), rng.uniform(-0.9, 0.9, 2)
        low, high = middle - size[:2] / 2, middle + size[:2] / 2
        parts.append(Block((low[0], low[1], -0.6), (high[0], high[1], size[2] - 0.6)))
    scene = BedScene(Bed(height=0.6), standing=False, others=tuple(parts))
    return _depth(rng, scene, Bed(height=0.6), any_is_wrong=True)


def _deep_two_beds(rng: np.random.Generator) -> Answer:
    """Another bed of that size stands beside this one, farther from where the camera aims."""
    across = float(rng.choice([-1.0, 1.0]) * rng.uniform(1.5, 2.0))
    other = Block((-1.0, across - 0.45, -0.5), (1.0, across + 0.45, 0.0))
    scene = BedScene(Bed(height=0.6), patient=bool(rng.random() < 0.5), table=False, others=(other,))
    return _depth(rng, scene, Bed(height=0.6), any_is_wrong=False)


def _deep_noise(rng: np.random.Generator) -> Answer:
    """Depth without any surface: smooth hills."""
    hills = cv2.resize(rng.uniform(0.8, 3.5, (9, 10)), (KINECT_DEPTH.width, KINECT_DEPTH.height), None)
    depths = np.repeat((1e3 * hills).astype(np.uint16)[None], 3, axis=0)
    found = DepthCalibrator().estimate_depth(
        depths, KINECT_DEPTH, KINECT_COLOR_FROM_DEPTH, KINECT_720P, Bed(height=0.6)
    )
    return None, found


def _of_prints(method: str, target: Callable[[], Target]) -> tuple[Trap, ...]:
    """The traps that the sheet and the board have in common."""
    ways = (("mirrored", _mirrored), ("texture", _texture), ("partly covered", _covered), ("folded", _folded),
            ("two of them", _two_sheets))  # fmt: skip
    return tuple(Trap(method, name, partial(way, target=target())) for name, way in ways)


TRAPS = (
    *_of_prints("tags", TagCalibrator), Trap("tags", "printed for another bed", _other_sheet),
    *_of_prints("charuco", CharucoCalibrator),
    Trap("corners", "bed 30 % wrong", _clicked_wrong_size), Trap("corners", "wrong order", _clicked_other_order),
    Trap("corners", "mirrored", _clicked_mirrored), Trap("corners", "anywhere", _clicked_anywhere),
    Trap("corners", "one corner slipped", _clicked_a_slip),
    Trap("depth", "bed 30 % wrong", _deep_wrong_size), Trap("depth", "no bed", _deep_no_bed),
    Trap("depth", "another bed beside it", _deep_two_beds), Trap("depth", "no surfaces", _deep_noise),
)  # fmt: skip
