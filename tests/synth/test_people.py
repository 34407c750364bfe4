"""People stand, sit and lie where they should, and depend on the generator alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import cKDTree

from calibration.bed import Bed
from calibration.errors import WardposeError
from synth.body.figure import Figure
from synth.casting import Casting
from synth.look.clothes import STAFF_OUTFITS
from synth.people import ACTIVITIES, POSTURES, make_bystander, make_patient, make_upright
from synth.pose.support import Support

FLAT, RAISED = Bed(), Bed(backrest_deg=42.0)
IN_BED = [p for p in POSTURES if p not in ("bed_edge", "standing")]


def postures_for(bed: Bed) -> list[str]:
    return list(Casting().open_poses().shares(bed.backrest_deg, 60.0))


def digest(figure: Figure) -> str:
    summary = hashlib.sha256()
    for mesh in figure.meshes:
        for array in (mesh.vertices, mesh.triangles, mesh.colors):
            summary.update(array.tobytes())
    summary.update(figure.keypoints.tobytes())
    return summary.hexdigest()


@pytest.mark.parametrize("bed", [FLAT, RAISED], ids=["flat", "raised"])
def test_every_posture_of_a_bed_can_be_made(bed: Bed) -> None:
    for posture in postures_for(bed):
        figure = make_patient(np.random.default_rng(1), bed, 4, posture)
        assert figure.posture == posture
        assert {mesh.instance for mesh in figure.meshes} == {4}
        assert figure.keypoints.shape == (17, 3) and figure.joint_skin.shape == (len(figure.meshes[0].vertices), 17)
        assert np.isfinite(figure.keypoints).all()


@pytest.mark.parametrize("bed", [FLAT, RAISED, Bed(backrest_deg=12.0)], ids=["flat", "raised", "slight"])
def test_a_patient_in_bed_rests_on_the_mattress(bed: Bed) -> None:
    support = Support(bed.length, bed.width, bed.backrest_deg)
    for seed in range(10):
        for posture in IN_BED if seed < 2 else ("supine", "fowler"):
            if posture not in postures_for(bed):
                continue
            skin = make_patient(np.random.default_rng(seed), bed, 1, posture).meshes[0].vertices
            over = np.abs(skin[:, 1]) < bed.width / 2
            height = support.height(skin[over])
            assert -0.03 < height.min() < 0.0, posture  # a sink of one to two centimetres and what flesh gives
            assert (height < 0.03).mean() > 0.02, posture  # it lies there, it does not hover


@pytest.mark.parametrize("posture", IN_BED)
def test_a_patient_in_bed_stays_inside_the_edges(posture: str) -> None:
    bed = RAISED if posture == "fowler" else FLAT
    inside = 0
    for seed in range(10):
        skin = make_patient(np.random.default_rng(seed), bed, 1, posture).meshes[0].vertices
        assert np.abs(skin[:, 0]).max() < bed.length / 2 + 0.12
        assert np.abs(skin[:, 1]).max() < bed.width / 2 + 0.12
        inside += bool(np.abs(skin[:, 0]).max() <= bed.length / 2 and np.abs(skin[:, 1]).max() <= bed.width / 2)
    assert inside >= 8


def test_the_head_is_at_the_head_end() -> None:
    for posture in ("supine", "prone", "lateral_left", "knees_bent"):
        keypoints = make_patient(np.random.default_rng(2), FLAT, 1, posture).keypoints
        assert keypoints[0, 0] < keypoints[11, 0] < keypoints[15, 0]


def test_supine_left_is_the_beds_left() -> None:
    keypoints = make_patient(np.random.default_rng(3), FLAT, 1, "supine").keypoints
    assert keypoints[5, 1] > keypoints[6, 1] and keypoints[11, 1] > keypoints[12, 1]


def test_a_standing_patient_stands_on_the_floor_beside_the_bed() -> None:
    figure = make_patient(np.random.default_rng(0), FLAT, 1, "standing")
    skin = figure.meshes[0].vertices
    assert skin[:, 2].min() == pytest.approx(-FLAT.height, abs=1e-3)
    assert np.abs(figure.keypoints[11:13, 1]).min() > FLAT.width / 2


def test_somebody_on_the_edge_sits_with_the_knees_beyond_it() -> None:
    for seed in range(5):
        keypoints = make_patient(np.random.default_rng(seed), FLAT, 1, "bed_edge").keypoints
        assert np.abs(keypoints[11:13, 1]).max() < FLAT.width / 2 + 0.02 < np.abs(keypoints[13:15, 1]).min() + 0.1
        assert (keypoints[15:17, 2] < -0.2).all() and keypoints[0, 2] > 0.4


def test_somebody_fallen_lies_or_sits_on_the_floor() -> None:
    sitting = 0
    for seed in range(16):
        figure = make_upright(np.random.default_rng(seed), (0.5, 1.0), 40.0, -0.6, 1, "visitor", "fallen")
        height = figure.meshes[0].vertices[:, 2] + 0.6
        assert -0.1 < height.min() < 0 and (height < 0.03).mean() > 0.015, "on the floor, not above it"
        assert figure.keypoints[11:13, 2].mean() + 0.6 < 0.45, "the hips are down"
        assert figure.keypoints[15:17, 2].min() + 0.6 < 0.3, "and a foot with them"
        sitting += bool(figure.keypoints[0, 2] + 0.6 > 0.5)
    assert 1 <= sitting <= 8, "most lie, some sit up"


@pytest.mark.parametrize("activity", [activity for activity in ACTIVITIES if activity != "fallen"])
def test_upright_people_stand_on_the_floor_at_their_place(activity: str) -> None:
    figure = make_upright(np.random.default_rng(5), (1.0, -2.0), 90.0, -0.6, 7, "visitor", activity)
    assert figure.meshes[0].vertices[:, 2].min() == pytest.approx(-0.6, abs=1e-3)
    np.testing.assert_allclose(figure.keypoints[11:13, :2].mean(0), [1.0, -2.0], atol=1e-6)
    left = figure.keypoints[5, :2] - figure.keypoints[6, :2]
    assert left[0] < 0  # facing +y, the left shoulder points to −x


def test_staff_wear_what_staff_wear_and_visitors_do_not() -> None:
    assert make_bystander(np.random.default_rng(0), (0, 2), 0, -0.5, 2, "staff").traits.clothing in STAFF_OUTFITS
    assert make_bystander(np.random.default_rng(0), (0, 2), 0, -0.5, 2, "visitor").traits.clothing not in STAFF_OUTFITS


def test_the_same_generator_state_gives_the_same_figure_whatever_came_before() -> None:
    wanted = digest(make_patient(np.random.default_rng([9, 1]), FLAT))
    for seed in range(3):
        make_patient(np.random.default_rng(seed), RAISED)
    assert digest(make_patient(np.random.default_rng([9, 1]), FLAT)) == wanted
    code = (
        "import numpy as np; from calibration.bed import Bed; from synth.people import make_patient;"
        "from tests.synth.test_people import digest;"
        "print(digest(make_patient(np.random.default_rng([9, 1]), Bed())))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split()[-1] == wanted


def test_skin_tone_is_drawn_independently_of_the_body() -> None:
    tones = [make_upright(np.random.default_rng(s), (0, 0), 0, 0, 1).traits.skin_tone for s in range(60)]
    assert len(set(tones)) >= 9
    assert np.bincount(tones, minlength=11)[1:].max() < 20


def test_clothes_of_a_few_people_are_painted_on() -> None:
    """Painted cloth lies a millimetre and a half on the skin, so its vertices repeat the skin's to within that."""
    painted = 0
    for seed in range(60):
        figure = make_upright(np.random.default_rng(seed), (0, 0), 0, 0, 1, "staff", "standing")
        top = figure.meshes[figure.clothes[-1]].vertices
        painted += bool(np.median(cKDTree(figure.meshes[0].vertices).query(top)[0]) < 0.004)
    assert 2 <= painted <= 15


def test_wrong_requests_say_what_to_choose() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(WardposeError, match="choose one of: supine"):
        make_patient(rng, FLAT, 1, "flying")
    with pytest.raises(WardposeError, match="backrest at 0"):
        make_patient(rng, FLAT, 1, "fowler")
    with pytest.raises(WardposeError, match="backrest at 42"):
        make_patient(rng, RAISED, 1, "prone")
    with pytest.raises(WardposeError, match="staff, visitor, patient"):
        make_bystander(rng, (0, 0), 0, 0, 1, "ghost")
    with pytest.raises(WardposeError, match="activity"):
        make_upright(rng, (0, 0), 0, 0, 1, "visitor", "flying")
