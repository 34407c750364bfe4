"""The Kinect's adapter says what is missing, and carries captures out of a process that may hang or die.

No camera is at hand in a test: `kinect_stand_in` takes pyk4a's place in the worker's environment and delivers the
captures of the real recording through its interface. What is tested is ours: the worker, the pipe, the words, the ends.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.capture.kinect import KinectSource
from runtime.capture.recording import RecordingSource
from runtime.capture.source import KinectConfig, RecordingConfig, StaleFrame, make_source
from tests.runtime.kinect_stand_in import take_apart

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recorded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return take_apart(shared_data / "kinect" / "recording.mkv", tmp_path_factory.mktemp("kinect"))


@pytest.fixture
def kinect(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., KinectSource]]:
    monkeypatch.setenv("DISPLAY", ":99")  # so that no Xvfb is started for a stand-in
    sources = []

    def make(behaviour: str = "", **options: object) -> KinectSource:
        (recorded / "behaviour").write_text(behaviour)
        sources.append(KinectSource(KinectConfig(python=str(recorded / "python"), **options)))  # type: ignore[arg-type]
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def test_a_capture_arrives_as_the_recording_holds_it(kinect: Callable[..., KinectSource], shared_data: Path) -> None:
    with RecordingSource(RecordingConfig(path=str(shared_data / "kinect" / "recording.mkv"))) as recording:
        expected = recording.read()
    with kinect() as source:
        frame = source.read(10.0)
        assert source.serial == "001514394512"
    for field in ("color", "depth", "infrared", "color_from_depth"):
        np.testing.assert_array_equal(getattr(frame, field), getattr(expected, field), err_msg=field)
    assert (frame.camera, frame.depth_camera) == (expected.camera, expected.depth_camera)
    assert frame.timestamp_s == pytest.approx(time.monotonic(), abs=10.0)
    assert frame.imu is not None
    assert frame.imu.timestamp_s == pytest.approx(frame.timestamp_s - 0.1, abs=1e-6)  # 100 ms before, by device time


def test_the_newest_capture_wins(kinect: Callable[..., KinectSource]) -> None:
    with kinect() as source:
        first = source.read(10.0)
        time.sleep(0.5)
        before = time.monotonic()
        second = source.read(10.0)
    assert second.index == first.index + 1
    assert second.timestamp_s > before - 0.3  # not the one that has been waiting since the first


def test_depth_can_be_switched_off(kinect: Callable[..., KinectSource]) -> None:
    with kinect(depth=False) as source:
        frame = source.read(10.0)
    assert frame.depth is None and frame.depth_camera is None and frame.camera is not None


def test_dropouts_are_waited_through(kinect: Callable[..., KinectSource]) -> None:
    with kinect("dropouts") as source:
        assert [source.read(10.0).index for _ in range(6)] == list(range(6))


def read_until_it_ends(source: KinectSource) -> None:
    while True:
        source.read(1.0)


def test_a_lost_camera_ends_in_an_error_and_opens_again(kinect: Callable[..., KinectSource]) -> None:
    source = kinect("lost")
    source.open()
    with pytest.raises(WardposeError) as caught:
        read_until_it_ends(source)
    assert not isinstance(caught.value, StaleFrame)
    source.close()
    source.open()
    assert source.read(10.0).index == 0


def test_a_worker_that_dies_ends_in_an_error(kinect: Callable[..., KinectSource]) -> None:
    with kinect() as source:
        source.read(10.0)
        assert source._worker is not None
        source._worker.kill()
        with pytest.raises(WardposeError, match="kinect"):
            read_until_it_ends(source)


def test_garbage_from_the_worker_ends_in_an_error(kinect: Callable[..., KinectSource]) -> None:
    with kinect("garbage") as source, pytest.raises(WardposeError) as caught:
        read_until_it_ends(source)
    assert not isinstance(caught.value, StaleFrame)


def test_a_worker_stuck_in_its_driver_is_stale_and_can_still_be_closed(kinect: Callable[..., KinectSource]) -> None:
    source = kinect("stuck")
    source.open()
    worker = source._worker
    assert worker is not None
    with pytest.raises(StaleFrame, match="no frame within"):
        read_until_it_ends(source)
    source.close()
    assert worker.poll() is not None


@pytest.mark.parametrize("behaviour", ["device", "open"])
def test_a_camera_that_cannot_be_opened_is_never_called_open(
    kinect: Callable[..., KinectSource], behaviour: str
) -> None:
    source = kinect(behaviour)
    with pytest.raises(WardposeError, match="kinect: ") as caught:
        source.open()
    assert "\n" not in str(caught.value) and "; " in str(caught.value)
    with pytest.raises(RuntimeError, match="isn't open"):
        source.read()


def test_a_camera_that_never_starts_is_given_up(
    kinect: Callable[..., KinectSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.capture.kinect.OPEN_TIMEOUT_S", 1.0)
    with pytest.raises(WardposeError):
        kinect("silent").open()


def test_a_library_that_does_not_load_is_named(kinect: Callable[..., KinectSource]) -> None:
    with pytest.raises(WardposeError, match=r"libk4a\.so.*numpy<2"):
        kinect("library").open()


def test_an_absent_package_is_named() -> None:
    with pytest.raises(WardposeError, match=r"pyk4a is not installed.*wardpose setup"):
        KinectSource(KinectConfig(python=sys.executable, depth=False)).open()


def test_an_absent_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="not installed; run wardpose setup"):
        KinectSource(KinectConfig(python=str(tmp_path / "python"))).open()


def test_an_absent_library_is_named(kinect: Callable[..., KinectSource], tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no such library"):
        kinect(library=str(tmp_path / "libk4a.so")).open()


def test_the_worker_ends_when_its_parent_is_killed(recorded: Path) -> None:
    (recorded / "behaviour").write_text("stuck")
    program = f"""
        import os, signal, time
        from runtime.capture.kinect import KinectSource
        from runtime.capture.source import KinectConfig
        source = KinectSource(KinectConfig(python={str(recorded / "python")!r}, depth=False))
        source.open()
        for _ in range(2): source.read(10.0)
        print(source._worker.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    pid = int(done.stdout)
    end = time.monotonic() + 10.0
    while _alive(pid):
        assert time.monotonic() < end, "the worker outlived its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_worker_needs_nothing_of_ours() -> None:
    worker = REPOSITORY / "runtime" / "capture" / "kinect_worker.py"
    done = subprocess.run([sys.executable, "-I", str(worker), "--help"], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("spec", "problem"),
    [("kinect:x", "device"), ("kinect#fps=7", "5, 15 or 30"), ("kinect#color=3072p", "15 frames a second at most")],
)
def test_impossible_settings_are_refused(spec: str, problem: str) -> None:
    with pytest.raises(WardposeError, match=problem):
        make_source(spec)
