"""A recording is made for a reason, is for its owner alone, and is gone when its time is up."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.bedside import recordings
from appliance.cli.main import main
from appliance.deeds import Deeds
from appliance.housekeeping import tidy
from appliance.live import pauses
from appliance.live.addresses import ring_name
from appliance.site import audit
from appliance.site.expiry import parse_expiry
from appliance.site.folder import REPOSITORY, SiteFolder
from calibration.errors import WardposeError
from runtime.capture.k4a_file import K4aFile
from runtime.capture.recording import RecordingSource
from runtime.capture.ring import RingWriter
from runtime.capture.source import RecordingConfig

WHY = "a fall in the night, for the ward's review"


@pytest.fixture(scope="module")
def spec(shared_data: Path) -> str:
    return f"recording:{shared_data / 'kinect' / 'recording.mkv'}#loop=true&realtime=false"


def record(site: SiteFolder, file: Path, spec: str, **changes: object) -> recordings.Recorded:
    options: dict[str, object] = {"seconds": 1.1, "reason": WHY, "expires": "7d", "source": spec}
    return recordings.record(site, file, Deeds(site).ask, **(options | changes))  # type: ignore[arg-type]


def deeds(site: SiteFolder) -> list[tuple[str, str]]:
    return [(row.what, row.reason) for row in reversed(audit.rows(site))]


def set_expiry(site: SiteFolder, file: Path, instant: str) -> None:
    """As if the recording had been made long ago: in the row and in the file's own tag."""
    with site.database.transaction() as db:
        (old,) = db.execute("SELECT expires_at FROM recordings WHERE file = ?", (site.relative(file),)).fetchone()
        db.execute("UPDATE recordings SET expires_at = ? WHERE file = ?", (instant, site.relative(file)))
    file.write_bytes(file.read_bytes().replace(old.encode(), instant.encode()))


def test_a_recording_plays_what_the_camera_gave(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    done = record(site, tmp_path / "night.mkv", spec)
    assert (done.frames, done.seconds) == (6, 1.0)
    assert stat.S_IMODE(done.file.stat().st_mode) == 0o600
    with RecordingSource(RecordingConfig(path=str(done.file), realtime=False)) as source:
        frame = source.read()
        assert source.info.tags["WARDPOSE_REASON"] == WHY
    with RecordingSource(RecordingConfig(path=spec.removeprefix("recording:").partition("#")[0])) as source:
        expected = source.read()
    np.testing.assert_array_equal(frame.color, expected.color)
    np.testing.assert_array_equal(frame.depth, expected.depth)
    assert deeds(site) == [("camera.record", WHY)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "  "}, "needs a reason"),
        ({"reason": "test"}, "needs a reason"),
        ({"expires": ""}, "no span of time"),
        ({"expires": "never"}, "no span of time"),
        ({"expires": "0d"}, "no span of time"),
        ({"expires": "1000d"}, "at most 90d"),
        ({"seconds": 0}, "can't be recorded"),
        ({"seconds": float("nan")}, "should be a finite number"),
        ({"source": "video:/nowhere"}, "nowhere"),
    ],
)
def test_what_may_not_be_recorded_is_refused_and_leaves_nothing(
    site: SiteFolder, tmp_path: Path, spec: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(WardposeError, match=said):
        record(site, tmp_path / "out" / "night.mkv", spec, **changes)
    assert not list(tmp_path.rglob("*night*"))


def test_two_recordings_at_once_do_not_write_to_one_file(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    refused: list[str] = []

    def again(done: int, total: int, note: str) -> None:
        if not refused:
            with pytest.raises(WardposeError) as error:
                record(site, tmp_path / "night.mkv", spec)
            refused.append(str(error.value))

    assert record(site, tmp_path / "night.mkv", spec, progress=again).frames == 6
    assert "another recording is being written to it; choose another name" in refused[0]
    assert [what for what, _ in deeds(site)] == ["camera.record"]


def test_no_file_is_overwritten(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    (tmp_path / "night.mkv").write_text("mine")
    with pytest.raises(WardposeError, match="choose another name"):
        record(site, tmp_path / "night.mkv", spec)
    assert (tmp_path / "night.mkv").read_text() == "mine"


def test_a_pause_at_the_bedside_holds_for_recordings_too(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    pauses.pause(site)
    with pytest.raises(WardposeError, match="paused"):
        record(site, tmp_path / "night.mkv", spec)


def test_the_command_line_demands_reason_and_expiry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "camera",
        "record",
        "--home",
        str(tmp_path / "site"),
        "--out",
        str(tmp_path / "x.mkv"),
        "--seconds",
        "1",
    ]
    for missing, given in (("--reason", ["--expires", "1d"]), ("--expires", ["--reason", WHY])):
        assert main([*arguments, *given]) == 2
        assert f"required: {missing}" in capsys.readouterr().err


def test_a_camera_that_runs_is_recorded_from_there(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    """The source named can't be opened; frames come all the same, so they come through the ring."""
    with RecordingSource(RecordingConfig(path=spec.removeprefix("recording:").partition("#")[0])) as source:
        frame = source.read()
    script = (
        "import sys, time, pickle\nfrom runtime.capture.ring import RingWriter\n"
        "frame = pickle.load(sys.stdin.buffer)\nwriter = RingWriter(sys.argv[1])\n"
        "while True:\n    writer.write(frame, live=False)\n"
        "    writer.heartbeat('streaming', source='kinect:3')\n    time.sleep(0.1)\n"
    )

    camera = subprocess.Popen([sys.executable, "-c", script, ring_name(site)], stdin=subprocess.PIPE, cwd=REPOSITORY)
    try:
        assert camera.stdin is not None
        camera.stdin.write(pickle.dumps(frame))
        camera.stdin.close()
        end = time.monotonic() + 30
        while not _streams(site):
            assert time.monotonic() < end
            time.sleep(0.05)
        done = record(site, tmp_path / "night.mkv", "kinect:3", seconds=0.5)
    finally:
        camera.terminate()
        camera.wait()
        _ring_gone(site)
    played = RecordingSource(RecordingConfig(path=str(done.file), realtime=False))
    with played as source:
        np.testing.assert_array_equal(source.read().jpeg, frame.jpeg)
        imu = source.read().imu
        assert imu is not None and abs(imu.timestamp_s) < 2.0  # on the frames' clock, not on the recording's


def _streams(site: SiteFolder) -> bool:
    from appliance.live.meter import ring_status

    return bool(ring_status(site)["state"] == "streaming")


def _ring_gone(site: SiteFolder) -> None:
    RingWriter(ring_name(site)).close()


def test_housekeeping_deletes_what_has_expired_and_nothing_else(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    old, new = record(site, tmp_path / "old.mkv", spec), record(site, tmp_path / "new.mkv", spec)
    assert tidy(site) == []
    assert old.file.exists()
    set_expiry(site, old.file, "2020-01-01T00:00:00.000Z")
    with pytest.raises(WardposeError, match="expired at 2020"):
        K4aFile(old.file)
    assert recordings.overdue(site) == [str(old.file)]
    assert tidy(site) == [] and recordings.overdue(site) == []
    assert not old.file.exists() and new.file.exists()
    assert deeds(site)[-1] == ("recording.delete", "expired at 2020-01-01T00:00:00.000Z")
    assert tidy(site) == [] and len(deeds(site)) == 3  # once


def test_another_file_of_that_name_is_left_alone(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    done = record(site, tmp_path / "night.mkv", spec)
    set_expiry(site, done.file, "2020-01-01T00:00:00.000Z")
    done.file.write_text("somebody's thesis")
    assert tidy(site) == []
    assert done.file.read_text() == "somebody's thesis"
    assert deeds(site)[-1][0] == "recording.gone"


def test_a_killed_recorder_leaves_nothing_for_long(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    command = [sys.executable, "-m", "appliance", "camera", "record", "--home", str(site.root), "--seconds", "3000"]
    command += ["--out", str(tmp_path / "night.mkv"), "--reason", WHY, "--expires", "7d"]
    command += ["--source", spec.replace("realtime=false", "realtime=true")]
    recorder = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".night.mkv.*.part")):
        assert time.monotonic() < end and recorder.poll() is None
        time.sleep(0.05)
    assert tidy(site) == []
    assert list(tmp_path.glob(".night.mkv.*.part"))  # it is at work: leave it
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    assert tidy(site) == []
    assert not list(tmp_path.glob("*night*"))
    assert deeds(site)[-1][0] == "recording.abandon"


def test_an_interrupted_recorder_leaves_nothing_at_all(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    seen = 0

    def stop(done: int, total: int, note: str) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(site, tmp_path / "night.mkv", spec, progress=stop)
    assert not list(tmp_path.glob("*night*"))
    assert [what for what, _ in deeds(site)] == ["camera.record", "recording.abandon"]


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(site: SiteFolder, tmp_path: Path, spec: str) -> None:
    script = (
        "import resource, sys\nfrom appliance.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\nsys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "camera", "record", "--home", str(site.root), "--seconds", "9"]
    command += ["--out", str(tmp_path / "night.mkv"), "--reason", WHY, "--expires", "7d", "--source", spec]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=dict(os.environ))
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].endswith("check the disk, then give the command again")
    assert not list(tmp_path.glob("*night*"))


def test_a_nearly_full_disk_is_left_to_the_box(
    site: SiteFolder, tmp_path: Path, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "LEAST_FREE_BYTES", 1 << 62)
    with pytest.raises(WardposeError, match="nearly full"):
        record(site, tmp_path / "night.mkv", spec)
    assert not list(tmp_path.glob("*night*"))


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("7d", 168), (" 2W ", 336), ("30m", 0.5)])
def test_spans_are_read_as_a_person_writes_them(text: str, hours: float) -> None:
    assert parse_expiry(text, most=timedelta(days=90)) == timedelta(hours=hours)


def test_a_frame_without_a_known_lens_is_refused(site: SiteFolder, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(WardposeError, match="lens calibration"):
        record(site, tmp_path / "night.mkv", f"video:{tmp_path / 'photo.png'}")
