"""Motion recordings: AMASS and BVH are read as they are meant, sampled as in the paper, and put to bed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, JOINTS, PARENTS
from synth.casting import Casting
from synth.people import make_patient
from synth.pose.amass import AmassPoses
from synth.pose.bvh import BvhPoses, Skeleton, frame_of, read_bvh
from synth.pose.clinical import joint_vectors, make_pose, sample_upright
from synth.pose.motion import MotionFrame, sampled_frames

# name, parent, offset: a T-pose, y up, facing z, left is +x.
_ARM = (("Shoulder", (8, 20, 0)), ("Arm", (12, 0, 0)), ("ForeArm", (28, 0, 0)), ("Hand", (25, 0, 0)))
_LEG = (("UpLeg", (10, -5, 0)), ("Leg", (0, -42, 0)), ("Foot", (0, -40, 0)), ("ToeBase", (0, -6, 12)))


def bvh_text(prefix: str, angles: np.ndarray) -> tuple[str, list[str], list[int], np.ndarray]:
    """A recording of one frame; angles (J, 3) degrees ZXY. Also names, parents and offsets."""
    rows: list[tuple[str, int, tuple[float, ...]]] = [("Hips", -1, (0, 0, 0))]
    rows += [("Spine", 0, (0, 10, 0)), ("Spine1", 1, (0, 12, 0)), ("Spine2", 2, (0, 12, 0))]
    rows += [("Neck", 3, (0, 22, 0)), ("Head", 4, (0, 10, 0))]
    for side, sign in (("Left", 1), ("Right", -1)):
        for limb, first in ((_ARM, 3), (_LEG, 0)):
            for k, (name, (x, y, z)) in enumerate(limb):
                rows.append((side + name, first if k == 0 else len(rows) - 1, (sign * x, y, z)))
    lines, numbers = ["HIERARCHY"], [0.0, 95.0, 0.0]

    def write(joint: int, depth: int) -> None:
        name, parent, offset = rows[joint]
        lines.append(f"{'ROOT' if parent < 0 else 'JOINT'} {prefix}{name}\n{{\nOFFSET {' '.join(map(str, offset))}")
        place = "6 Xposition Yposition Zposition" if parent < 0 else "3"
        lines.append(f"CHANNELS {place} Zrotation Xrotation Yrotation")
        numbers.extend(angles[joint])
        children = [k for k, row in enumerate(rows) if row[1] == joint]
        for child in children:
            write(child, depth + 1)
        if not children:
            lines.append("End Site\n{\nOFFSET 0 0 5\n}")
        lines.append("}")

    write(0, 0)
    lines.append(f"MOTION\nFrames: 1\nFrame Time: 0.008333\n{' '.join(f'{n:.6f}' for n in numbers)}")
    return "\n".join(lines), [r[0] for r in rows], [r[1] for r in rows], np.array([r[2] for r in rows], float)


def smplx_turns(frame: MotionFrame) -> dict[str, np.ndarray]:
    """World rotation of each SMPL-X joint, by scipy."""
    found = {"pelvis": Rotation.from_matrix(frame.root)}
    for joint in JOINTS:
        found[joint] = found[PARENTS[joint]] * Rotation.from_rotvec(frame.joints[JOINT_INDEX[joint]])
    return {joint: turn.as_matrix() for joint, turn in found.items()}


@pytest.mark.parametrize("prefix", ["", "mixamorig:"])
def test_bones_point_where_the_recording_says(tmp_path: Path, prefix: str) -> None:
    rng = np.random.default_rng(5)
    text, names, parents, offsets = bvh_text(prefix, rng.uniform(-50, 50, (22, 3)))
    path = tmp_path / "walk.bvh"
    path.write_text(text)
    skeleton = read_bvh(path)
    turns = smplx_turns(frame_of(skeleton, 0))
    # Forward kinematics of the file, written out: world = parent's world · (Z · X · Y).
    order = [names.index(name.removeprefix(prefix)) for name in skeleton.names]
    angles = np.zeros((22, 3))
    angles[order] = skeleton.frames[0, 3:].reshape(22, 3)
    world: list[Rotation] = []
    for joint, parent in enumerate(parents):
        own = Rotation.from_euler("ZXY", angles[joint], degrees=True)
        world.append(own if parent < 0 else world[parent] * own)
    level = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # y up to z up
    for joint, bone, tip, direction in (
        ("left_shoulder", "LeftArm", "LeftForeArm", (1, 0, 0)),
        ("right_elbow", "RightForeArm", "RightHand", (-1, 0, 0)),
        ("left_hip", "LeftUpLeg", "LeftLeg", (0.06, -1, 0)),
        ("right_knee", "RightLeg", "RightFoot", (-0.02, -1, -0.05)),
        ("spine1", "Spine", "Spine1", (0, 1, 0)),
        ("neck", "Neck", "Head", (0, 1, 0)),
    ):
        wanted = level @ world[names.index(bone)].apply(offsets[names.index(tip)])
        found = turns[joint] @ np.array(direction, float)
        cosine = wanted @ found / np.linalg.norm(wanted) / np.linalg.norm(found)
        assert cosine > 0.9999, joint


def test_a_straight_recording_is_the_t_pose(tmp_path: Path) -> None:
    path = tmp_path / "still.bvh"
    path.write_text(bvh_text("", np.zeros((22, 3)))[0])
    frame = frame_of(read_bvh(path), 0)
    np.testing.assert_allclose(frame.root @ [0, 1, 0], [0, 0, 1], atol=1e-9)
    assert np.degrees(np.abs(frame.joints)).max() < 5  # SMPL-X's legs stand a little apart


def test_channels_may_come_in_any_order() -> None:
    skeleton = Skeleton(["Hips"], [-1], [[0.0, 0, 0]], [("YZX", [3, 4, 5])], np.array([[0, 0, 0, 30.0, 20, 10]]))
    wanted = Rotation.from_euler("YZX", [30, 20, 10], degrees=True).as_matrix()
    np.testing.assert_allclose(skeleton.rotations(0)[0], wanted)


@pytest.mark.parametrize(
    ("text", "named"),
    [("", "no BVH"), ("HIERARCHY\nROOT Hips\n{\nOFFSET 0 0", "no BVH"), ("not motion", "no BVH")],
)
def test_a_broken_recording_is_refused(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "x.bvh").write_text(text)
    with pytest.raises(WardposeError, match=named):
        BvhPoses.check(tmp_path)


def test_an_unknown_skeleton_says_which_joint_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.bvh").write_text(bvh_text("", np.zeros((22, 3)))[0].replace("LeftForeArm", "Tentacle"))
    with pytest.raises(WardposeError, match="left elbow"):
        BvhPoses.check(tmp_path)


def amass_folder(folder: Path, frames: int = 400) -> Path:
    """People standing about, one recording in each of AMASS's two forms; the first pose number is the frame's."""
    rng = np.random.default_rng(0)
    for name, width, hands in (("walk_poses", 156, 66), ("walk_stageii", 165, 75)):
        poses = np.zeros((frames, width))
        for k in range(frames):
            root, angles = sample_upright(rng, 0.0, "standing")
            poses[k, :3] = Rotation.from_matrix(root).as_rotvec()
            poses[k, 3:66] = joint_vectors(angles).ravel()
            poses[k, hands : hands + 90] = make_pose(rng, root, angles).hands.ravel()
        np.savez(folder / f"{name}.npz", poses=poses, trans=np.zeros((frames, 3)), gender="neutral")
    return folder


def test_amass_rows_are_root_body_and_hands(tmp_path: Path) -> None:
    for path in sorted(amass_folder(tmp_path, 20).glob("*.npz")):
        row = np.load(path)["poses"][7]
        frame = AmassPoses.read_frame(path, 7)
        assert frame.root[2, 1] > 0.95  # upright: SMPL-X's y is the world's z
        np.testing.assert_array_equal(frame.joints.ravel(), row[3:66])
        np.testing.assert_array_equal(frame.hands.ravel(), row[-90:])


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 100_000))
def test_one_frame_in_a_hundred_of_the_central_part_is_used(count: int) -> None:
    frames = sampled_frames(count)
    assert len(frames) == pytest.approx(max(0.008 * count, 1), abs=1)
    assert all(0.1 * count - 1 <= index < 0.9 * count + 1 and index < count for index in frames)


@pytest.mark.parametrize("posture", ["supine", "lateral_right", "standing"])
def test_somebody_from_a_recording_rests_on_the_bed_or_stands_beside_it(tmp_path: Path, posture: str) -> None:
    casting = Casting(pose_source="amass", pose_path=str(amass_folder(tmp_path)))
    figure = make_patient(np.random.default_rng(3), Bed(), 1, posture, casting=casting)
    low = figure.meshes[0].vertices[:, 2].min()
    if posture == "standing":
        assert low == pytest.approx(-Bed().height, abs=2e-3)
    else:
        assert -0.03 < low < 0.0 and figure.keypoints[:, 2].max() < 0.6
        assert figure.keypoints[0, 0] < figure.keypoints[11, 0]  # the head at the head end
    again = make_patient(np.random.default_rng(3), Bed(), 1, posture, casting=casting)
    np.testing.assert_array_equal(figure.keypoints, again.keypoints)


def test_a_folder_as_amass_delivers_it_is_read_to_its_last_subject(tmp_path: Path) -> None:
    """Beside the motions AMASS puts every subject's `shape.npz` or `neutral_stagei.npz`, and its licence."""
    for subject in ("ACCAD/s001", "CMU/01"):
        (tmp_path / subject).mkdir(parents=True)
        amass_folder(tmp_path / subject, 200)
        np.savez(tmp_path / subject / "shape.npz", betas=np.zeros(16), gender="male")
        np.savez(tmp_path / subject / "neutral_stagei.npz", betas=np.zeros(16))
    (tmp_path / "LICENSE.txt").write_text("for research")
    AmassPoses.check(tmp_path)
    assert len(AmassPoses.open(tmp_path)) == 4 * len(sampled_frames(200))


def test_what_is_no_recording_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="pose_folder"):
        AmassPoses.check(None)
    with pytest.raises(WardposeError, match="there is no such folder"):
        AmassPoses.check(tmp_path / "nowhere")
    np.savez(tmp_path / "shape.npz", betas=np.zeros(16))
    with pytest.raises(WardposeError, match=r"no motion recordings \(\*_poses.npz or \*_stageii.npz\)") as caught:
        AmassPoses.check(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    for betas in ({"betas": np.zeros(16)}, {"poses": np.array([{}], dtype=object)}):
        np.savez(tmp_path / "walk_poses.npz", **betas)
        with pytest.raises(WardposeError, match="is no AMASS recording"):
            AmassPoses.check(tmp_path)


def test_every_recording_of_a_folder_is_looked_at_before_any_work(tmp_path: Path) -> None:
    amass_folder(tmp_path, 20)
    (tmp_path / "zoo_poses.npz").write_bytes(b"half a download")
    with pytest.raises(WardposeError, match=r"zoo_poses\.npz"):
        AmassPoses.check(tmp_path)
