"""Calibrations on disk, the estimate's own rules, and what importing the floor costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sheet_pictures import KINECT_720P
from calibration.atomic import write_bytes
from calibration.bed import Bed
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.files import load_estimate, save_estimate
from calibration.manual import calibrate_manual
from calibration.viewpoint import Viewpoint
from tests.fuzz import broken_bytes, damaged


@pytest.fixture
def estimate() -> CalibrationEstimate:
    return calibrate_manual(Viewpoint(12, 30, 2.4, 3.0, (0.1, -0.05, 0.0)), KINECT_720P, Bed(1.95, 0.88, 0.6), draws=60)


def test_an_estimate_comes_back_as_it_was(tmp_path: Path, estimate: CalibrationEstimate) -> None:
    save_estimate(estimate, tmp_path / "calibrations" / "now.json")
    again = load_estimate(tmp_path / "calibrations" / "now.json")
    np.testing.assert_array_equal(again.camera_from_bed, estimate.camera_from_bed)
    np.testing.assert_array_equal(again.covariance, estimate.covariance)
    assert (again.camera, again.bed, again.method) == (estimate.camera, estimate.bed, estimate.method)
    assert (again.made_at, again.notes, again.confirmed) == (estimate.made_at, estimate.notes, estimate.confirmed)
    assert os.listdir(tmp_path / "calibrations") == ["now.json"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": 99}, "format"),
        ({"covariance": None}, "covariance"),
        ({"covariance": [[1.0]]}, "6×6"),
        ({"covariance": (-np.eye(6)).tolist()}, "covariance"),
        ({"camera_from_bed": [["x"] * 4] * 4}, "camera_from_bed"),
        ({"camera_from_bed": (2 * np.eye(4)).tolist()}, "rotation"),
        ({"camera": {"width": 3}}, "camera.height"),
        ({"bed": {"length": 2000}}, "length"),
        ({"bed": {"colour": 3}}, "colour"),
        ({"confirmed": "yes"}, "confirmed"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, estimate: CalibrationEstimate, change: dict, named: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(estimate.to_dict() | change))
    with pytest.raises(WardposeError) as caught:
        load_estimate(path)
    assert named in str(caught.value)
    assert "bad.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(WardposeError, match=r"bad\.json"):
        load_estimate(tmp_path / "bad.json")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no such calibration"):
        load_estimate(tmp_path / "none.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.json"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WardposeError, match="no space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept.json"]


def test_a_file_in_the_place_of_a_folder_is_an_error_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WardposeError, match=r"file: (file exists|not a directory)|x\.json: "):
        write_bytes(tmp_path / "file" / "x.json", b"")


def test_samples_scatter_as_the_covariance_says(estimate: CalibrationEstimate) -> None:
    poses = estimate.sample(np.random.default_rng(0), 2000)
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    spread = 1e3 * np.sqrt(np.trace(np.cov(centres.T)))
    assert spread == pytest.approx(estimate.centre_sigma_mm, rel=0.05)


def test_an_estimate_without_a_rotation_is_refused(estimate: CalibrationEstimate) -> None:
    with pytest.raises(ValueError, match="rotation"):
        CalibrationEstimate(KINECT_720P, Bed(), 2 * np.eye(4), np.eye(6), 0.0, "manual")


def test_importing_the_floor_brings_in_nothing_heavy() -> None:
    modules = ("board", "corners", "files", "intrinsics", "manual", "outline", "pdf", "posterior", "tag_sheet", "tags")
    heavy = ("torch", "scipy", "numba", "ultralytics", "mmpose", "runtime", "synth")
    imports = ";".join(f"import calibration.{name}" for name in modules)
    code = f"{imports};import sys;print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_damaged_calibration_is_one_that_can_be_used_or_one_line(
    tmp_path: Path, estimate: CalibrationEstimate
) -> None:
    whole, path = estimate.to_dict(), tmp_path / "now.json"

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        content = json.dumps(data.draw(damaged(whole))).encode()
        path.write_bytes(data.draw(broken_bytes(content)) if data.draw(st.booleans()) else content)
        try:
            read = load_estimate(path)
        except WardposeError as error:
            assert "now.json" in str(error) and "\n" not in str(error)
            return
        assert np.isfinite(read.camera_from_bed).all() and np.isfinite(read.viewpoint.distance)
        assert np.isfinite(read.sample(np.random.default_rng(0), 2)).all()

    each()
