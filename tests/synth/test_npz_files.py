"""AMASS and SMPL-X archives of others: read right, or named with the file and the array before any work.

Like YanjieZe/GMR#32 (a .pkl where an .npz is wanted), vchoutas/smplx#10 and eth-ait/aitviewer#1 (SMPL-H for SMPL-X).
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import WardposeError
from synth.body.smplx_body import SmplxBody
from synth.npz import read_npz
from synth.pose.amass import AmassPoses
from synth.pose.bank import SHIPPED, PoseBank
from tests.fuzz import broken_bytes


def amass(frames: int = 3, **changes: Any) -> bytes:
    """An AMASS recording's content: somebody standing, arms out."""
    poses = np.zeros((frames, 156))
    poses[:, 0] = np.pi / 2
    content = io.BytesIO()
    np.savez(content, **({"poses": poses, "trans": np.zeros((frames, 3)), "gender": "neutral"} | changes))
    return content.getvalue()


def check(folder: Path, content: bytes, name: str = "walk_poses.npz") -> AmassPoses:
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(content)
    AmassPoses.check(folder)
    return AmassPoses.open(folder)


def test_the_bytes_of_a_gender_are_nobodys_business(tmp_path: Path) -> None:
    """As in nghorbani/amass#67, where they became a folder's name."""
    assert len(check(tmp_path, amass(gender=np.array(b"female")))) == 1


def test_poses_of_another_body_are_named_by_their_width(tmp_path: Path) -> None:
    """As in NVlabs/ProtoMotions#3: 49 joints where 52 are wanted."""
    with pytest.raises(WardposeError, match=r"poses \(785, 147\), not frames × 156 or 165"):
        check(tmp_path, amass(poses=np.zeros((785, 147))))


def with_damaged_member(content: bytes) -> bytes:
    """The archive with one byte of its poses changed, so that its checksum no longer holds."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.getinfo("poses.npy").header_offset
    at = start + 1500
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (amass(poses=np.full((3, 156), np.nan)), r"walk_poses\.npz: array 'poses' .* not finite"),
        (amass(poses=np.full((3, 156), 90.0)), r"walk_poses\.npz: frame 0 turns joint 0 by 156: no radians"),
        (amass(poses=np.zeros((3, 72))), r"is no AMASS recording \(poses \(3, 72\)"),
        (amass(poses=np.array([["a"] * 156])), "array 'poses' is of the kind"),
        (amass(poses=np.zeros((0, 156))), "is no AMASS recording"),
        (amass(poses=np.array([{}], dtype=object)), "is no AMASS recording"),
        (with_damaged_member(amass()), r"walk_poses\.npz: .* damaged"),
        (pickle.dumps({"poses": 1}, protocol=4), r"walk_poses\.npz: is a pickle.*give the \.npz"),
        (amass()[:-30], r"walk_poses\.npz: is no \.npz file, or a damaged one"),
        (b"", r"walk_poses\.npz: is no \.npz file"),
    ],
)
def test_a_recording_that_does_not_hold_is_named_before_any_work(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(WardposeError, match=says):
        check(tmp_path, content)


def test_a_folder_of_other_kinds_says_which_it_holds(tmp_path: Path) -> None:
    (tmp_path / "walk.pkl").write_bytes(pickle.dumps(1))
    with pytest.raises(WardposeError, match=r"holds no motion recordings .*, but \.pkl files; convert them"):
        AmassPoses.check(tmp_path)


@pytest.mark.parametrize("name", ["SMPLX_NEUTRAL.pkl", "SMPLX_NEUTRAL.npz"])
def test_a_pickled_body_is_told_what_to_give_instead(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"v_template": 1}, protocol=2))
    with pytest.raises(WardposeError, match=r"is a pickle.*give the \.npz of the same model"):
        SmplxBody.check(tmp_path / name)


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "SMPLX_NEUTRAL.npy", np.zeros(3))
    with pytest.raises(WardposeError, match=r"is one array \(\.npy\)"):
        SmplxBody.check(tmp_path / "SMPLX_NEUTRAL.npy")


def test_a_header_that_promises_more_than_the_file_holds_is_not_believed(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 156)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("poses.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises(WardposeError, match="array 'poses' is damaged"):
        read_npz(tmp_path / "x.npz", ["poses"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=broken_bytes(amass()))
def test_a_damaged_recording_is_its_poses_or_one_line(tmp_path: Path, content: bytes) -> None:
    try:
        found = check(tmp_path, content)
    except WardposeError:
        return
    frame = found.read_frame(tmp_path / "walk_poses.npz", 0)
    np.testing.assert_allclose(frame.joints, 0)
    np.testing.assert_allclose(frame.root @ [0, 1, 0], [0, 0, 1], atol=1e-9)


KINDS = st.sampled_from(["<f8", "<f4", "<i4", "<U3", "|b1", "<c16", "|O"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=KINDS, shape=st.lists(st.sampled_from([0, 1, 3, 156, 165]), max_size=3), value=st.sampled_from([0, 1, 9e9]))
def test_arrays_of_other_kinds_and_shapes_are_poses_or_one_line(
    tmp_path: Path, kind: str, shape: list[int], value: float
) -> None:
    with np.errstate(invalid="ignore"):
        poses = np.full(shape, value).astype(kind)
    try:
        check(tmp_path, amass(poses=poses))
    except WardposeError:
        return
    assert len(shape) == 2 and shape[1] in (156, 165) and shape[0] > 0 and kind in ("<f8", "<f4", "<i4")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_bank_of_poses_is_itself_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = SHIPPED.read_bytes()
    path = tmp_path / "bank.npz"
    path.write_bytes(data.draw(broken_bytes(whole)))
    try:
        bank = PoseBank(path)
    except WardposeError:
        return
    assert len(bank) == len(PoseBank())
