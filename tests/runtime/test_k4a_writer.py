"""What is recorded is, bit for bit, what is played again: by our reader, and by the SDK where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.intrinsics import COLOR_MODES, read_k4a_calibration
from calibration.k4a_json import NOMINAL_DEPTH, k4a_calibration_json
from runtime.capture.k4a_file import EXPIRES_TAG, K4aFile
from runtime.capture.k4a_writer import K4aWriter
from runtime.capture.recording import RecordingSource, decode_jpeg
from runtime.capture.source import RecordingConfig
from runtime.frames import Frame, ImuSample
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Frame]:
    """The real recording's frame five times over, its depth changed a little each time."""
    path = shared_data / "kinect" / "recording.mkv"
    with RecordingSource(RecordingConfig(path=str(path), loop=True, realtime=False)) as source:
        frames = [source.read() for _ in range(5)]
    changed = []
    for number, frame in enumerate(frames):
        assert frame.depth is not None and frame.imu is not None
        imu = replace(frame.imu, timestamp_s=frame.timestamp_s - 0.001)
        frame = replace(frame, depth=frame.depth + np.uint16(number), imu=imu)
        changed.append(frame.at(frame.timestamp_s + 500_000))  # a box that has run for days
    return changed


def write(path: Path, frames: Sequence[Frame]) -> Path:
    with path.open("w+b") as stream:
        writer = K4aWriter(stream, frames[0], {"WARDPOSE_REASON": "a test"})
        for frame in frames:
            writer.write(frame)
        writer.finish()
    return path


def play(path: Path) -> list[Frame]:
    with RecordingSource(RecordingConfig(path=str(path), realtime=False)) as source:
        count = round(source.info.duration_s * source.info.frames_per_s) + 1
        return [source.read() for _ in range(count)]


def test_the_real_frames_come_back_bit_for_bit(real: list[Frame], tmp_path: Path) -> None:
    played = play(write(tmp_path / "again.mkv", real))
    assert len(played) == len(real)
    start_s = real[0].imu.timestamp_s  # type: ignore[union-attr]
    for expected, frame in zip(real, played, strict=True):
        for field in ("color", "depth", "infrared", "jpeg"):
            np.testing.assert_array_equal(getattr(frame, field), getattr(expected, field), err_msg=field)
        assert frame.timestamp_s == pytest.approx(expected.timestamp_s - start_s, abs=1e-6)
        assert frame.imu is not None and expected.imu is not None
        np.testing.assert_array_equal(frame.imu.acceleration, expected.imu.acceleration)
        np.testing.assert_array_equal(frame.imu.angular_velocity, expected.imu.angular_velocity)
        assert frame.imu.timestamp_s == pytest.approx(expected.imu.timestamp_s - start_s, abs=1e-6)
        for field in ("color_from_depth", "color_from_imu"):
            np.testing.assert_allclose(getattr(frame, field), getattr(expected, field), atol=1e-12)
        assert_same_camera(frame.camera, expected.camera)
        assert_same_camera(frame.depth_camera, expected.depth_camera)


def assert_same_camera(left: CameraModel | None, right: CameraModel | None) -> None:
    assert left is not None and right is not None
    assert (left.width, left.height, left.distortion) == (right.width, right.height, right.distortion)
    assert (left.fx, left.fy, left.cx, left.cy) == pytest.approx((right.fx, right.fy, right.cx, right.cy), abs=1e-9)


def test_the_recording_says_what_it_is(real: list[Frame], tmp_path: Path) -> None:
    info = K4aFile(write(tmp_path / "again.mkv", real)).info
    assert (info.color_mode, info.depth_mode, info.infrared, info.imu) == ("MJPG_720P", "NFOV_UNBINNED", True, True)
    assert info.frames_per_s == 5
    assert info.tags["WARDPOSE_REASON"] == "a test"


def coloured(width: int, height: int, time_s: float = 0.0) -> Frame:
    rows, columns = np.mgrid[:height, :width]
    color = np.stack([rows * 255 // height, columns * 255 // width, rows * 0 + 128], axis=-1).astype(np.uint8)
    return Frame(color, time_s, 0, "test", camera=CameraModel(width, height, 600.0, 600.0, width / 2, height / 2))


@pytest.mark.parametrize("size", [(1280, 720), (2048, 1536)])
def test_a_camera_without_depth_or_jpeg_is_recorded_too(size: tuple[int, int], tmp_path: Path) -> None:
    frames = [coloured(*size, time_s=1000 + index / 30) for index in range(4)]
    played = play(write(tmp_path / "colour.mkv", frames))
    assert len(played) == 4
    assert np.abs(played[0].color.astype(int) - frames[0].color).mean() < 1.0
    assert played[0].depth is None and played[0].imu is None
    assert_same_camera(played[0].camera, frames[0].camera)
    assert K4aFile(tmp_path / "colour.mkv").info.frames_per_s == pytest.approx(30, rel=1e-3)


@pytest.mark.parametrize("size", COLOR_MODES)
def test_a_calibration_survives_its_json(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    camera = CameraModel(*size, *rng.uniform(400, 900, 4), tuple(rng.normal(0, 0.3, 8).tolist()))
    read = read_k4a_calibration(k4a_calibration_json(camera), size)
    assert_same_camera(read.color, camera)
    assert_same_camera(read.depth, NOMINAL_DEPTH)
    np.testing.assert_allclose(read.color_from_depth, np.eye(4), atol=1e-12)


def test_a_picture_that_changes_its_size_is_refused(real: list[Frame], tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="from 1280×720 to 640×360"):
        write(tmp_path / "x.mkv", [real[0], coloured(640, 360, 5.0)])
    with pytest.raises(WardposeError, match="from 640×576 to 320×288"):
        write(tmp_path / "x.mkv", [real[0], replace(real[1], depth=np.zeros((288, 320), np.uint16))])


def test_a_recording_whose_pictures_change_their_size_is_not_played_on(real: list[Frame], tmp_path: Path) -> None:
    small = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].ravel()
    path = write(tmp_path / "x.mkv", [real[0], replace(real[1], jpeg=small)])
    with RecordingSource(RecordingConfig(path=str(path), realtime=False)) as source:
        source.read()
        with pytest.raises(WardposeError, match="a picture of 64×48 lies in a recording of 1280×720"):
            source.read()


def test_an_expired_recording_is_not_played(real: list[Frame], tmp_path: Path) -> None:
    path = tmp_path / "old.mkv"
    for expires, refused in (("2020-01-01T00:00:00.000Z", True), ("2999-01-01T00:00:00.000Z", False)):
        with path.open("w+b") as stream:
            writer = K4aWriter(stream, real[0], {EXPIRES_TAG: expires})
            writer.write(real[0])
            writer.finish()
        if refused:
            with pytest.raises(WardposeError, match="expired at 2020-01-01T00:00:00"):
                K4aFile(path)
        else:
            K4aFile(path)


def test_a_lens_nobody_knows_and_a_size_the_format_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="lens calibration"):
        write(tmp_path / "x.mkv", [replace(coloured(1280, 720), camera=None)])
    with pytest.raises(WardposeError, match="no mode 640×360"):
        write(tmp_path / "x.mkv", [coloured(640, 360)])


def test_a_jpeg_passes_through_untouched(real: list[Frame], tmp_path: Path) -> None:
    capture = next(K4aFile(write(tmp_path / "again.mkv", real)).captures())
    assert capture.color is not None and real[0].jpeg is not None
    assert capture.color == real[0].jpeg.tobytes()
    assert decode_jpeg(capture.color) is not None


SDK_PLAYBACK = """
    import hashlib, json, sys
    from pyk4a import CalibrationType, PyK4APlayback
    playback = PyK4APlayback(sys.argv[1])
    playback.open()
    captures, samples = [], []
    while True:
        try: capture = playback.get_next_capture()
        except EOFError: break
        planes = [capture.color.tobytes(), capture.depth.astype("<u2").tobytes(), capture.ir.astype("<u2").tobytes()]
        captures.append([hashlib.sha256(plane).hexdigest() for plane in planes] + [capture.color_timestamp_usec])
    playback.seek(0)
    while True:
        try: sample = playback.get_next_imu_sample()
        except EOFError: break
        samples.append([*sample["acc_sample"], *sample["gyro_sample"], sample["acc_timestamp"]])
    known = playback.calibration
    lens = known.get_camera_matrix(CalibrationType.COLOR)
    move = known.get_extrinsic_parameters(CalibrationType.ACCEL, CalibrationType.COLOR)
    print(json.dumps({"captures": captures, "samples": samples, "focal": [lens[0, 0], lens[1, 1]],
                      "color_from_imu": move[0].tolist()}))
"""


def test_the_sdk_plays_what_was_recorded(real: list[Frame], tmp_path: Path) -> None:
    python = os.environ.get("WARDPOSE_KINECT_PYTHON") or str(REPOSITORY / ".venv-kinect" / "bin" / "python")
    if not Path(python).exists():
        pytest.skip("the Kinect SDK is not installed (wardpose setup --kinect)")
    path = write(tmp_path / "again.mkv", real)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", textwrap.dedent(SDK_PLAYBACK), str(path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    expected = [sdk_view(frame) for frame in play(path)]
    assert said["captures"] == [[*hashes, time_us] for hashes, time_us, _ in expected]
    assert said["samples"] == [sample for _, _, sample in expected]
    assert real[0].camera is not None and real[0].color_from_imu is not None
    assert said["focal"] == pytest.approx([real[0].camera.fx, real[0].camera.fy], rel=1e-6)
    np.testing.assert_allclose(said["color_from_imu"], real[0].color_from_imu[:3, :3], atol=1e-6)


def sdk_view(frame: Frame) -> tuple[list[str], int, list[float]]:
    assert frame.jpeg is not None and frame.depth is not None and frame.infrared is not None
    planes = (frame.jpeg, frame.depth.astype("<u2"), frame.infrared.astype("<u2"))
    assert isinstance(frame.imu, ImuSample)
    sample = [
        *frame.imu.acceleration.tolist(),
        *frame.imu.angular_velocity.tolist(),
        round(frame.imu.timestamp_s * 1e6),
    ]
    return [hashlib.sha256(p.tobytes()).hexdigest() for p in planes], round(frame.timestamp_s * 1e6), sample
