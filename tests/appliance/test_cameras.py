"""`wardpose camera`: what is there, what is missing, and how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.box import cameras, setup_full
from appliance.cli.main import main
from appliance.site.folder import SiteFolder


def test_every_problem_comes_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "sys/bus/usb/devices/2-1"
    device.mkdir(parents=True)
    for name, content in (("idVendor", "045e"), ("idProduct", "097b"), ("speed", "480")):
        (device / name).write_text(f"{content}\n")
    webcam = tmp_path / "sys/class/video4linux/video0"
    webcam.mkdir(parents=True)
    (webcam / "name").write_text("Webcam C270\n")
    monkeypatch.setattr(setup_full, "KINECT_ENVIRONMENT", tmp_path / "no-environment")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    listed = {camera["name"]: camera for camera in cameras.list_cameras(tmp_path)}
    kinect = listed["kinect"]
    assert not kinect["ok"]
    whats = [problem["what"] for problem in kinect["problems"]]
    assert ["USB 2" in whats[0], "library" in whats[1], "display" in whats[2]] == [True] * 3
    assert all(problem["mend"] for camera in listed.values() for problem in camera["problems"])
    assert listed["simulated"]["ok"] and not listed["simulated"]["problems"]
    assert listed["video:0"]["detail"] == "this user may not open it"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", None),
        ("echo 'ImportError: libk4a.so.1.4: cannot open' >&2; exit 1", "libk4a.so.1.4"),
        ("exec /nowhere/python", "can't be loaded"),
    ],
)
def test_the_kinects_library_is_tried_in_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/python3.11/site-packages/pyk4a").mkdir(parents=True)
    python = tmp_path / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(setup_full, "KINECT_ENVIRONMENT", tmp_path)
    problem = cameras.library_problem()
    assert (problem is None) if said is None else (problem is not None and said in problem.what)


def test_a_recording_is_probed(
    site: SiteFolder, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = f"recording:{shared_data / 'kinect' / 'recording.mkv'}"
    found = cameras.probe(site, spec, seconds=0.1)
    assert (found["width"], found["height"], found["depth"], found["imu"]) == (1280, 720, "640×576", True)
    assert (found["pitch_deg"], found["roll_deg"]) == (15.7, 1.2)
    assert main(["camera", "probe", spec, "--seconds", "0.1", "--home", str(tmp_path)]) == 0
    assert "it looks 16° up, and stands 1° askew" in capsys.readouterr().out


def test_the_list_is_one_json_object(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["camera", "list", "--json", "--home", str(tmp_path)]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert {"kinect", "recording", "simulated", "video"} <= {camera["name"] for camera in answer["cameras"]}
    assert answer["chosen"] == "simulated"


def test_setup_can_be_kept_to_the_kinect(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "--kinect", "--dry-run", "--json", "--home", str(tmp_path)]) == 0
    steps = [step["name"] for step in json.loads(capfd.readouterr().out)["steps"]]
    assert steps == ["Xvfb", "udev rule", "Kinect environment"]
