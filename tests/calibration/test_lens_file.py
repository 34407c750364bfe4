"""Lens files as other tools write them: OpenCV's models are taken, else what is missing is said.

Like ros-perception/image_pipeline#576, daniilidis-group/m3ed#4 and MIT-SPARK/Kimera-VIO#47 (4 or 5 coefficients) and
orbbec/OrbbecSDK_ROS2#216 (8).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.k4a_json import k4a_calibration_json
from calibration.lens_file import read_lens
from tests.fuzz import broken_bytes, damaged

LENS = {"width": 640, "height": 480, "fx": 500.0, "fy": 501.0, "cx": 320.0, "cy": 240.0}
COEFFICIENTS = [0.1, -0.05, 0.001, -0.001, 0.01, 0.002, 0.001, 0.0005, 0.004, -0.003, 0.002, 0.001]
POINTS = np.array([[0.3, -0.2, 1.0], [-0.5, 0.4, 1.0], [0.0, 0.0, 1.0]])


def read(folder: Path, values: Any, size: tuple[int, int] = (640, 480)) -> CameraModel:
    path = folder / "lens.json"
    path.write_bytes(values if isinstance(values, bytes) else json.dumps(values).encode())
    return read_lens(path, size)


def lens(**changes: Any) -> dict[str, Any]:
    values = {**LENS, **changes}
    return {"wardpose_lens": {name: value for name, value in values.items() if value != "gone"}}


@pytest.mark.parametrize("count", [0, 4, 5, 8, 12])
def test_each_of_opencvs_models_projects_as_opencv_does(tmp_path: Path, count: int) -> None:
    camera = read(tmp_path, lens(distortion=COEFFICIENTS[:count]))
    matrix = np.array([[500.0, 0, 320], [0, 501, 240], [0, 0, 1]])
    given_to = np.array(COEFFICIENTS[:count]) if count else None
    expected, _ = cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), matrix, given_to)
    np.testing.assert_allclose(camera.project(POINTS), expected.reshape(-1, 2), atol=1e-9)
    np.testing.assert_allclose(camera.unproject(camera.project(POINTS)), POINTS, atol=1e-6)


def test_without_a_word_of_distortion_there_is_none(tmp_path: Path) -> None:
    assert not read(tmp_path, lens()).distorted and not read(tmp_path, lens(distortion=None)).distorted
    assert read(tmp_path, b"\xef\xbb\xbf" + json.dumps(lens()).encode()) == read(tmp_path, lens())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (lens(distortion=[*COEFFICIENTS, 0.1, 0]), "distortion has 14 coefficients; OpenCV's models of 4"),
        # What OpenCV itself answers for its rational model (ros-perception/image_pipeline PR#440).
        (lens(distortion=[*COEFFICIENTS, 0, 0]), "has 14 coefficients.*; leave out the last two, which are 0"),
        (lens(distorsion=[0.1] * 5), "a camera has no 'distorsion'; it has width"),
        # Four coefficients of a fisheye are others than those of a pinhole (realsenseai/librealsense PR#7061).
        (lens(distortion_model="equidistant", distortion=[0.1] * 4), "a camera has no 'distortion_model'"),
        (lens(distortion="0.1"), "distortion is '0.1', no list"),
        (lens(distortion=[0.1, None, 0, 0]), "a coefficient of distortion is null"),
        (lens(fx=None), "fx is null, no number"),
        (lens(fy="gone"), "wardpose_lens has no fy"),
        (lens(fx=0.78, fy=0.78, cx=0.5, cy=0.5), r"wardpose_lens\.fx is 0\.78, no focal length in pixels"),
        (lens(cx=0.5), r"wardpose_lens\.cx is 0\.5, not within the picture"),
        (lens(width=1280, height=960), "measured at 1280×960, the pictures are 640×480"),
        (lens(width=640.5), "width is 640.5, no whole number"),
        ({"wardpose_lens": [1, 2]}, "wardpose_lens is no object"),
        ([1, 2], "has neither wardpose_lens nor an Azure Kinect's calibration"),
        ({"camera_matrix": [[1]]}, "has neither wardpose_lens nor"),
        (b"image_width: 640\ncamera_matrix:\n  data: [1]\n", "is YAML, as ROS and OpenCV write it; write it as"),
        (b"\xff\xfe{}", "is not JSON"),
        ({"CalibrationInformation": {"Cameras": None}}, r"CalibrationInformation\.Cameras is no list"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, values: Any, says: str) -> None:
    with pytest.raises(WardposeError, match=says) as caught:
        read(tmp_path, values)
    assert "lens.json" in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_lens_is_a_lens_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = lens(distortion=COEFFICIENTS[:5])
    content = json.dumps(data.draw(damaged(whole))).encode()
    try:
        camera = read(tmp_path, data.draw(broken_bytes(content)) if data.draw(st.booleans()) else content)
    except WardposeError:
        return
    assert 25 < camera.fx < 32_000 and np.isfinite(camera.project(POINTS)[2]).all()


KINECT = json.loads(k4a_calibration_json(CameraModel(1280, 720, 611.0, 611.0, 639.0, 366.0, tuple([0.1] * 8))))


@pytest.mark.parametrize("junk", [10**400, "person", None])
@pytest.mark.parametrize("field", ["MetricRadius", "ModelParameters"])
def test_a_number_of_a_kinect_that_is_none_is_named(tmp_path: Path, field: str, junk: Any) -> None:
    content = json.loads(json.dumps(KINECT))
    depth = content["CalibrationInformation"]["Cameras"][0]
    if field == "MetricRadius":
        depth[field] = junk
    else:
        depth["Intrinsics"][field][0] = junk
    if field == "MetricRadius" and junk is None:
        assert read(tmp_path, content, (1280, 720)).fx > 0  # it says nothing, as if it were absent
    else:
        with pytest.raises(WardposeError, match=field):
            read(tmp_path, content, (1280, 720))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged(KINECT))
def test_a_damaged_calibration_of_a_kinect_is_a_lens_or_one_line(tmp_path: Path, content: Any) -> None:
    try:
        camera = read(tmp_path, content, (1280, 720))
    except WardposeError:
        return
    assert camera.fx > 0 and np.isfinite(camera.distortion).all()
