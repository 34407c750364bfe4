"""SMPL-X behind the same protocol as anny, held against the reference implementation of its authors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, Pose
from synth.body.smplx_body import SmplxBody
from tests.synth.smplx_file import T_POSE, write_smplx_file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smplx_file(tmp_path_factory.mktemp("smplx"))


@pytest.fixture(scope="module")
def body(file: Path) -> SmplxBody:
    return SmplxBody.open(file)


def test_skin_and_joints_are_those_of_the_reference_implementation(file: Path, body: SmplxBody) -> None:
    smplx = pytest.importorskip("smplx", reason="smplx (non-commercial) is not installed: pip install smplx==0.1.28")
    import torch

    model = smplx.SMPLX(str(file), use_pca=False, flat_hand_mean=True, num_betas=10, ext="npz")
    rng = np.random.default_rng(3)
    for _ in range(3):
        shape = body.sample_shape(rng, 40.0)
        root, joints, hands = (
            Rotation.random(random_state=rng),
            rng.normal(0, 0.5, (21, 3)),
            rng.normal(0, 0.3, (2, 15, 3)),
        )

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.tensor(np.asarray(values, dtype=np.float32).reshape(1, -1))

        with torch.no_grad():
            reference = model(
                betas=tensor(np.array(list(shape.parameters.values()))), global_orient=tensor(root.as_rotvec()),
                body_pose=tensor(joints), left_hand_pose=tensor(hands[0]), right_hand_pose=tensor(hands[1]),
            )  # fmt: skip
        pelvis = reference.joints[0, 0].numpy().astype(float)
        posed = body.pose(body.rest(shape), Pose(root.as_matrix(), pelvis, joints, hands))
        np.testing.assert_allclose(posed.vertices, reference.vertices[0].numpy(), atol=2e-5)
        # 55 joints, then nose, right eye, left eye, right ear, left ear.
        wanted = reference.joints[0, [55, 57, 56, 59, 58, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]].numpy()
        np.testing.assert_allclose(posed.keypoints, wanted, atol=2e-5)


def test_the_blend_moves_the_resting_skin_to_the_posed_skin(body: SmplxBody) -> None:
    rng = np.random.default_rng(0)
    rest = body.rest(body.sample_shape(rng, 30.0))
    posed = body.pose(rest, Pose(np.eye(3), np.zeros(3), rng.normal(0, 0.4, (21, 3))))
    moved = np.einsum("vij,vj->vi", posed.blend[:, :, :3], rest.vertices) + posed.blend[:, :, 3]
    np.testing.assert_allclose(moved, posed.vertices, atol=1e-5)


def test_betas_are_normal_within_one(body: SmplxBody) -> None:
    rng = np.random.default_rng(1)
    betas = np.array([list(body.sample_shape(rng, 50.0).parameters.values()) for _ in range(400)])
    assert betas.shape == (400, 10) and np.abs(betas).max() <= 1.0
    # Of a normal cut at ±1, the standard deviation is 0.5397 and 38 % lie within a third… of a uniform, 0.577 and 33 %.
    assert betas.std() == pytest.approx(0.5397, abs=0.02)


def test_joints_lie_where_anny_has_them(body: SmplxBody) -> None:
    from synth.body.anny_body import AVERAGE_ADULT, anny_body

    anny = anny_body()
    wanted = anny.joint_positions(anny.rest(AVERAGE_ADULT))
    rest = body.rest(body.sample_shape(np.random.default_rng(0), 40.0))
    found = body.joint_positions(rest)
    assert found.keys() == wanted.keys()
    assert max(np.linalg.norm(found[joint] - wanted[joint]) for joint in wanted) < 0.25  # another person, the same axes
    assert body.joint_skin.shape == (len(rest.vertices), 17)


def test_a_bent_knee_carries_the_ankle_backward(body: SmplxBody) -> None:
    rest = body.rest(body.sample_shape(np.random.default_rng(0), 40.0))
    joints = np.zeros((21, 3))
    joints[JOINT_INDEX["left_knee"], 0] = np.radians(90)
    straight = body.pose(rest, T_POSE).keypoints[15]
    bent = body.pose(rest, Pose(np.eye(3), np.zeros(3), joints)).keypoints[15]
    assert bent[2] < straight[2] - 0.25 and bent[1] > straight[1] + 0.25


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": None}, "weights missing"),
        ({"posedirs": np.zeros((10475, 3, 207))}, "posedirs is"),
        ({"v_template": np.zeros((6890, 3))}, "v_template is"),
        ({"v_template": np.array([{}], dtype=object)}, "v_template missing"),
        ({"f": np.full((20, 3), 99999, np.uint32)}, "out of range"),
        ({"v_template": np.zeros((10475, 3))}, "a template of 0.00 m"),
        ({"weights": np.zeros((10475, 55))}, "weights that do not add up to 1"),
        ({"J_regressor": np.zeros((55, 10475))}, "joints that are no mean of vertices"),
        ({"kintree_table": np.full((2, 55), 54)}, "kintree_table out of range"),
        ({"v_template": np.full((10475, 3), np.nan)}, "not finite"),
    ],
)
def test_a_file_that_is_no_body_is_refused_in_one_line(tmp_path: Path, changes: dict, named: str) -> None:
    path = write_smplx_file(tmp_path, **changes)
    with pytest.raises(WardposeError, match=named) as caught:
        SmplxBody.open(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="own model file"):
        SmplxBody.check(None)
    with pytest.raises(WardposeError, match="no such file"):
        SmplxBody.check(tmp_path / "SMPLX_MALE.npz")
    (tmp_path / "photo.npz").write_bytes(b"not a zip")
    with pytest.raises(WardposeError, match=r"no \.npz file"):
        SmplxBody.check(tmp_path / "photo.npz")
