"""Whatever a person gives `wardpose synth` that can't be used is told in one line, before a single picture is made."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.cli.main import main
from calibration.bed import Bed
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint
from synth.scenario import KINECT_COLOR


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder with one of everything that is not what its name says."""
    for name in ("rooms", "mocap", "bvh"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "rooms" / "ward.jpg"), np.full((80, 120, 3), 90, np.uint8))
    (tmp_path / "rooms" / "torn.jpg").write_bytes((tmp_path / "rooms" / "ward.jpg").read_bytes()[:300])
    np.savez(tmp_path / "mocap" / "shape.npz", betas=np.zeros(16))
    (tmp_path / "bvh" / "walk.bvh").write_text("HIERARCHY\nROOT Hips\n{\nOFFSET 0 0")
    np.savez(tmp_path / "SMPLX_MINE.npz", weights=np.zeros(3))
    return tmp_path


def calibration_line() -> str:
    pose = Viewpoint(40.0, 30.0, 2.5, 1.0, (0.1, 0.0, 0.0)).camera_from_bed
    estimate = CalibrationEstimate(KINECT_COLOR, Bed(), pose, np.eye(6) * 1e-4, 0.3, "tags", confirmed=True).to_dict()

    def written(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {written(v)}" for k, v in value.items() if v is not None) + "}"
        return "[" + ", ".join(map(written, value)) + "]" if isinstance(value, list | tuple) else json.dumps(value)

    return f"calibration = {written(estimate)}"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("elevation_deg = [60, 20]", ("given.toml, elevation_deg", "least first", "got 60.0, 20.0")),
        ('body = "smplx"\nbody_file = "SMPLX_MINE.npz"', ("SMPLX_MINE.npz", "v_template", "give an SMPLX_*.npz")),
        ('plates = ["nowhere"]\nCALIBRATION', ("nowhere", "holds no plate", "wardpose plates capture")),
        ('plates = ["nowhere"]', ("plates need a calibration", "choose the scenario site")),
        ('backgrounds = "rooms"', ("rooms/torn.jpg", "damaged", "copy it again")),
        ('backgrounds = "nowhere"', ("nowhere", "no such folder", "name a folder")),
        ('pose_source = "amass"\npose_folder = "mocap"', ("mocap", "no motion recordings", "convert them")),
        ('pose_source = "bvh"\npose_folder = "bvh"', ("walk.bvh", "no BVH recording", "export it anew")),
    ],
)
def test_it_says_what_where_and_how_to_mend_it(
    lines: str, words: tuple[str, ...], given: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scenario, out = given / "given.toml", given / "out"
    scenario.write_text(f'like = "C"\n{lines.replace("CALIBRATION", calibration_line())}\n')
    home = ["--home", str(given / "site")]
    assert main([*home, "synth", "--scenario", str(scenario), "--count", "2", "--out", str(out)]) not in (0, 70)
    told = capfd.readouterr().err
    assert len(told.strip().splitlines()) == 1
    for word in words:
        assert word in told
    assert not out.exists()
