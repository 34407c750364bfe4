"""The command line as a person and as a program meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.main import build_parser, main
from appliance.cli.output import Output
from appliance.site.folder import REPOSITORY, SiteFolder

COMMANDS = ("demo", "doctor", "setup", "status", "kept", "test", "camera", "calibrate", "synth", "preview", "tune",
            "evaluate", "export", "promote", "rollback", "base", "models", "run", "display", "bench", "study",
)  # fmt: skip


def wardpose(*arguments: str, home: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=timeout, env=dict(os.environ, WARDPOSE_HOME=str(home)), check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    assert f"wardpose {command}" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom appliance.cli.main import build_parser\nbuild_parser().format_help()\n"
        "print([m for m in ('numpy', 'cv2', 'torch', 'pydantic', 'sqlite3', 'rich', 'textual') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], cwd=REPOSITORY, text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sing"], "invalid choice: 'sing'"),
        (["synth", "--count", "many"], "'many' is no whole number"),
        (["synth", "--louder"], "does not know: --louder"),
        (["evaluate"], "required: --data"),
        (["models", "verify", "nobody/.."], "is no model's name"),
        (["export", "--model", "nobody"], "no model is called 'nobody'"),
        (["synth", "--scenario", "site"], "this site is not calibrated; calibrate first"),
        (["synth", "--scenario", "Z"], "no scenario is called 'Z'"),
        (["synth", "--scenario", "D", "--count", "0"], "0 images"),
        (["tune", "--data", "nowhere"], "no such folder"),
        (["rollback"], "no earlier model"),
        (["camera", "probe", "eye"], "no capture source is called 'eye'"),
        (["camera", "probe", "recording:nowhere.mkv"], "nowhere.mkv"),
        (["calibrate", "confirm"], "no calibration to confirm"),
        (["calibrate", "corners", "1", "2", "3", "4"], "argument X,Y"),
        (["bench", "synth", "--count", "0"], "--count must be 1 or more"),
        (["run", "--detector", "nobody"], "no model is called 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_and_with_json_one_object(
    arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = ["--home", str(tmp_path / "site")]
    if "verify" in arguments:  # an intact report, not an error: the verdict stands in a row
        assert main([*home, *arguments]) == 1
        assert words in capfd.readouterr().out
        return
    assert main([*home, *arguments]) not in (0, 70)
    told = capfd.readouterr()
    assert words in told.err and len(told.err.strip().splitlines()) == 1 and told.err.startswith("wardpose")


def test_progress_that_counts_nothing_tells_its_note_or_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.cli.output.PLAIN_SECONDS", 0.0)
    for done, total, note in ((0, 0, ""), (0, 0, "reading the weights"), (1, 4, ""), (4, 4, "done")):
        with Output(as_json=False).progress("importing") as progress:
            progress(done, total, note)
    told = capsys.readouterr().err.splitlines()
    assert told == ["importing: reading the weights", "importing: 1 of 4", "importing: 4 of 4 (done)"]


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    answered = wardpose("doctor", "--json", home=tmp_path / "site")
    report = json.loads(answered.stdout)
    assert {"name", "ok", "detail", "mend"} <= report["checks"][0].keys()
    assert report["ok"] == (answered.returncode == 0)
    failed = wardpose("--json", "export", "--model", "nobody", home=tmp_path / "site")
    assert json.loads(failed.stdout)["ok"] is False and "nobody" in json.loads(failed.stdout)["error"]
    assert failed.returncode != 0


def test_a_foreign_model_is_imported_scored_and_verified(tmp_path: Path, shared_data: Path) -> None:
    home = tmp_path / "site"
    weights = shared_data / "weights" / "yolox_nano.onnx"
    imported = json.loads(wardpose("models", "import", str(weights), "--name", "yolox", "--json", home=home).stdout)
    assert (imported["model"], imported["task"]) == ("yolox", "detect")
    again = wardpose("models", "import", str(weights), "--name", "yolox", home=home)
    assert again.returncode != 0 and "already here" in again.stderr
    data = json.loads((shared_data / "photos" / "person.json").read_text())
    few = {image["id"] for image in data["images"][:12]}
    data["images"] = [image for image in data["images"] if image["id"] in few]
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] in few]
    (tmp_path / "few.json").write_text(json.dumps(data))
    scored = wardpose(
        "evaluate", "--model", "yolox", "--data", str(tmp_path / "few.json"),
        "--images", str(shared_data / "photos" / "images"), "--json", home=home,
    )  # fmt: skip
    figures = json.loads(scored.stdout)
    assert figures["images"] == 12 and 0.2 < figures["AP"] < figures["AP50"] <= 1
    weights_here = next((home / "models" / "yolox").glob("*.onnx"))
    weights_here.write_bytes(weights_here.read_bytes()[:-1] + b"x")
    verdict = wardpose("models", "verify", "--json", home=home)
    assert verdict.returncode == 1
    assert [m["ok"] for m in json.loads(verdict.stdout)["models"] if m["model"] == "yolox"] == [False]


def test_a_pickle_that_carries_code_is_refused_and_not_run(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    refused = wardpose("models", "import", str(tmp_path / "evil.pt"), home=tmp_path / "site")
    assert refused.returncode != 0 and len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "ran").exists() and not list((tmp_path / "site" / "models").iterdir())


def test_ctrl_c_says_that_what_was_finished_is_kept(tmp_path: Path, shared_data: Path) -> None:
    home = tmp_path / "site"
    source = f"recording:{shared_data / 'kinect' / 'recording.mkv'}#loop=true"
    running = subprocess.Popen(
        [sys.executable, "-m", "appliance", "camera", "probe", source, "--seconds", "60", "--home", str(home)],
        cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        running.communicate(timeout=6)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=20)
    assert running.returncode == 130 and told.strip() == "wardpose: stopped; what was finished is kept"


def test_the_test_command_passes_arguments_to_pytest(tmp_path: Path) -> None:
    answered = wardpose(
        "test", "tests/appliance/test_settings.py", "-k", "utf or text", "--collect-only", home=tmp_path
    )
    assert answered.returncode == 0 and "test_settings.py" in answered.stdout


def test_setup_without_leave_only_says_what_it_would_do(site: SiteFolder) -> None:
    answered = json.loads(wardpose("setup", "--dry-run", "--json", home=site.root).stdout)
    assert answered["ok"] and not any(step["done"] for step in answered["steps"])
    assert {step["name"] for step in answered["steps"]} >= {
        "EGL",
        "Xvfb",
        "Chromium",
        "udev rule",
        "Kinect environment",
    }


def test_status_of_a_box_that_does_nothing_starts_no_service(site: SiteFolder) -> None:
    answered = wardpose("status", "--json", home=site.root)
    told = json.loads(answered.stdout)
    assert (told["service"], told["skeleton"], told["calibration"]) == (False, False, None)
    assert told["models"] == {"detect": "person-detector", "pose": ""}
    assert "no skeleton is drawn" in answered.stderr and "trained on synthetic images only" in answered.stderr
    assert not list(site.logs.glob("service.log"))


def test_the_list_of_models_says_what_is_missing_and_how_to_get_it(site: SiteFolder) -> None:
    words = wardpose("models", "list", home=site.root).stdout.splitlines()
    assert words[0].split() == ["model", "task", "live", "input", "family", "exported", "licence", "source"]
    assert words[2].split()[:5] == ["person-detector", "detect", "yes", "320×320", "ultralytics"]
    assert "nanodet" in words[-1] and "no skeleton is drawn" in words[-1] and "wardpose models fetch" in words[-1]


def test_the_list_of_models_on_a_box_that_has_them_all(fetched: Path, site: SiteFolder) -> None:
    told = json.loads(wardpose("models", "list", "--json", home=site.root).stdout)
    live = {model["task"]: model["name"] for model in told["models"] if model["live"]}
    assert told["missing"] == [] and live == {"detect": "nanodet", "pose": "movenet-thunder"}
