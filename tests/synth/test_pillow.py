"""Pillows fit the heads that lie on them; blankets leave faces free."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.bed import Bed
from synth.body.figure import Figure
from synth.people import make_patient
from synth.render.mesh import Mesh
from synth.ward.bed import BedLook, bend, build_bed, unbend
from synth.ward.blanket import ARRANGEMENTS, HeightMap, lay_blanket
from synth.ward.pillow import lay_pillows
from synth.ward.shapes import Surface

LINEN = Surface((1.0, 1.0, 1.0), np.full((1, 1, 3), 255, np.uint8))
LYING = (("supine", 0.0), ("lateral_left", 0.0), ("prone", 0.0), ("fowler", 40.0), ("knees_bent", 30.0))


def head_gap(bed: Bed, patient: Figure, below: list[Mesh]) -> NDArray[np.float64]:
    """Metres from the head's underside down to pillow or mattress, for each of its vertices that has one beneath."""
    body = patient.meshes[0]
    used = np.unique(body.triangles)
    points = unbend(bed, body.vertices[used])
    ears = unbend(bed, patient.keypoints[[3, 4]].mean(0)[None])[0]
    points = points[(np.linalg.norm(points - ears, axis=1) < 0.1) & (points[:, 2] < ears[2])]
    flat = [Mesh(unbend(bed, m.vertices).astype(np.float32), m.triangles, m.colors) for m in below]
    tops = HeightMap.over(flat, Bed(bed.length, bed.width, bed.height))
    columns, rows = (np.rint((points[:, k] - low) / 0.01).astype(int) for k, low in ((0, tops.low_x), (1, tops.low_y)))
    return points[:, 2] - tops.heights[rows, columns]


@pytest.mark.parametrize(("posture", "backrest"), LYING)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_lying_head_rests_on_the_pillow(posture: str, backrest: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bed = Bed(backrest_deg=backrest)
    patient = make_patient(rng, bed, posture=posture)
    pillows = lay_pillows(rng, bed, 1, patient, LINEN)
    gap = head_gap(bed, patient, [*build_bed(bed, BedLook(boards=False)), *pillows])
    assert gap.min() < 0.02, "the head hovers"
    assert gap.min() > -0.045, "the head is deeper in the bed than cushion and mattress give way"


def test_a_pillow_nobody_lies_on_is_full_in_the_middle_and_thin_at_its_seams() -> None:
    (pillow,) = lay_pillows(np.random.default_rng(3), Bed(), 1, None, LINEN)
    heights = pillow.vertices[:, 2].reshape(30, 30)
    assert heights[15, 15] > 0.05
    assert max(heights[0].max(), heights[-1].max(), heights[:, 0].max(), heights[:, -1].max()) < 0.015


@pytest.mark.parametrize("backrest", [20.0, 60.0])
def test_unbending_takes_back_what_the_backrest_does(backrest: float) -> None:
    bed = Bed(backrest_deg=backrest)
    rng = np.random.default_rng(0)
    points = rng.uniform([-1.0, -0.4, -0.1], [1.0, 0.4, 0.3], (50, 3))
    straight = (points[:, 0] < -0.5) | (points[:, 0] > 0.3)
    np.testing.assert_allclose(unbend(bed, bend(bed, points[straight])), points[straight], atol=1e-9)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(("posture", "backrest"), [("supine", 0.0), ("lateral_right", 0.0), ("fowler", 45.0)])
def test_a_blanket_pulled_up_all_the_way_leaves_the_face_free(arrangement: str, posture: str, backrest: float) -> None:
    rng = np.random.default_rng(5)
    bed = Bed(backrest_deg=backrest)
    patient = make_patient(rng, bed, posture=posture)
    made = lay_blanket(
        rng, bed, patient.meshes, build_bed(bed, BedLook(boards=False)), LINEN, LINEN,
        coverage=1.0, arrangement=arrangement, face=patient.keypoints[:5],
    )  # fmt: skip
    over = HeightMap.over(made.meshes, bed)
    face = patient.keypoints[:5]
    rows, columns = np.indices(over.heights.shape)
    x, y = over.low_x + 0.01 * columns, over.low_y + 0.01 * rows
    near = np.hypot(x - face[:, 0].mean(), y - face[:, 1].mean()) < 0.08
    assert (over.heights[near] < face[:, 2].mean() - 0.1).all()
