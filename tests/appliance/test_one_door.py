"""Everything that changes a site goes through the service's calls: by a schema, by version, one after the other."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance import api, versions, wire
from appliance.client import ServiceClient
from appliance.jobs import requests
from appliance.jobs.kinds import JOB_KINDS
from appliance.jobs.store import ACTIVE, JobStore
from appliance.models.store import ModelStore
from appliance.service import Service, service_socket
from appliance.site import audit, calibrations
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.people import current_user
from appliance.site.settings import load_settings
from calibration.errors import WardposeError

EXAMPLES: dict[str, dict[str, Any]] = {
    "status": {},
    "live.start": {"source": "simulated", "display": False, "reason": "the ward wants it"},
    "live.stop": {"reason": "the bed is empty"},
    "live.began": {"process": "1 2 3", "reason": "by command"},
    "live.ended": {"process": "1 2 3", "reason": "Ctrl-C"},
    "live.pause": {"reason": "washing"},
    "live.resume": {"reason": "washed", "place": "somebody at the bedside page"},
    "jobs.list": {"limit": 5},
    "jobs.get": {"id": 1},
    "jobs.submit": {"kind": "synth", "parameters": {"scenario": "B", "count": 2}},
    "jobs.cancel": {"id": 1},
    "jobs.pause": {"id": 1},
    "jobs.resume": {"id": 1},
    "models.rollback": {"task": "pose", "reason": "it misses feet"},
    "calibrations.keep": {"estimate": "{}"},
    "calibrations.confirm": {"turned": True, "reason": "seen in the picture"},
    "calibrations.discard": {"id": 3},
    "plates.keep": {"staged": ".part", "name": "monday", "reason": "nobody is in it"},
    "plates.look": {"name": "monday", "reason": "is it still the room?"},
    "plates.remove": {"name": "monday", "reason": "the room was painted"},
    "models.remove": {"name": "mine", "reason": "a better one is live"},
    "datasets.remove": {"name": "site-1", "reason": "there is a newer one"},
    "camera.look": {"source": "simulated", "what": "picture", "reason": "is the bed in sight?"},
    "camera.record": {
        "file": "/tmp/a.mkv",
        "seconds": 3.0,
        "expires": "1d",
        "process": "1 2 3",
        "reason": "a fall in the night",
    },
    "camera.recorded": {"id": 1, "kept": True},
    "skeletons.record": {
        "name": "night",
        "seconds": 3.0,
        "expires": "1d",
        "process": "1 2 3",
        "reason": "how often the patient is turned",
    },
    "skeletons.recorded": {"id": 1, "kept": True},
    "skeletons.export": {"name": "night", "to": "bids", "out": "/tmp/night", "reason": "a study"},
    "skeletons.delete": {"name": "night", "reason": "it is over"},
    "settings.set": {"section": "bed", "name": "height", "value": 0.7},
    "camera.forget": {"source": "video:rtsp://nurse:***@camera"},
    "station.switch": {"on": True, "reason": "the night watch"},
    "station.certificate": {"names": ["bed12.ward.local"], "reason": "the first"},
    "station.enter": {"pin": "480261", "address": "10.1.2.3", "place": "somebody at the ward's station"},
    "station.leave": {
        "name": "Anna",
        "address": "10.1.2.3",
        "seconds": 60.0,
        "place": "somebody at the ward's station",
    },
    "roles.assign": {"name": "anna", "role": "nurse", "reason": "she works here"},
    "roles.remove": {"name": "anna", "reason": "she works elsewhere"},
    "site.close": {},
    "box.installed": {"names": ["EGL"]},
    "stop": {},
}


@pytest.fixture
def client(site: SiteFolder) -> Iterator[ServiceClient]:
    with ServiceClient.connect(site) as client:
        yield client


def wardpose(site: SiteFolder, *words: str) -> list[str]:
    return [sys.executable, "-m", "appliance", *words, "--json", "--home", str(site.root)]


def at_once(site: SiteFolder, *commands: tuple[str, ...]) -> list[dict[str, Any]]:
    """The answers of real commands that were started together on a site without a service."""
    started = [
        subprocess.Popen(wardpose(site, *words), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for words in commands
    ]
    return [json.loads(command.communicate(timeout=200)[0]) for command in started]


def test_the_schema_has_every_call_of_the_service_and_its_requests_are_understood(site: SiteFolder) -> None:
    service = Service(site)
    try:
        answering = set(service._calls)
    finally:
        service._lock_file.close()
    schema = wire.schema()
    assert set(schema["calls"]) == answering == set(api.CALLS) == set(EXAMPLES)
    assert schema["version"] == versions.API_VERSION
    for name, parameters in EXAMPLES.items():
        assert {"request", "answer"} == schema["calls"][name].keys()
        request = wire.understood(name, parameters)
        assert request.model_dump(mode="json", exclude_unset=True) == parameters


def test_a_number_that_no_database_holds_is_told_in_one_line_by_every_call() -> None:
    tried = 0
    for name, parameters in EXAMPLES.items():
        inner = parameters.get("parameters", {})
        for fields in (parameters, inner):
            for field in [key for key, value in fields.items() if type(value) in (int, float)]:
                too_large = (10**30, -(10**30)) if type(fields[field]) is int else ()
                for wrong in (*too_large, float("nan"), float("inf")):
                    asked = {**parameters, "parameters": {**inner, field: wrong}} if fields is inner else {}
                    with pytest.raises(WardposeError, match=rf"^{name}: .*{field}"):
                        wire.understood(name, asked or {**parameters, field: wrong})
                    tried += 1
    assert tried > 20


def test_the_schema_leaves_no_field_of_a_request_untyped() -> None:
    schema = wire.schema()
    seen = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                look(schema["$defs"][node["$ref"].rpartition("/")[2]])
            if node.get("type") == "object":
                seen.append(node["title"])
                assert node["additionalProperties"] is False
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    for call in schema["calls"].values():
        look(call["request"])
    assert {"SynthParameters", "StartLive", "SetSetting"} <= set(seen)


def test_every_kind_of_job_can_be_asked_for() -> None:
    kinds = {model.model_fields["kind"].annotation.__args__[0] for model in requests.Submit.__args__}  # type: ignore
    assert kinds == {kind.name for kind in JOB_KINDS}


def test_the_schema_is_printed_by_a_command(site: SiteFolder) -> None:
    command = wardpose(site, "status", "--schema")
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == wire.schema()
    assert not service_socket(site).exists()


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("models.rollback", {"task": "sing", "reason": "a test"}, "models.rollback: task: .*'detect' or 'pose'"),
        ("models.rollback", {"task": "pose"}, "models.rollback: it needs a reason; .*--reason"),
        ("live.start", {"reason": "  "}, "needs a reason"),
        ("jobs.submit", {"kind": "promote", "parameters": {"model": "mine"}}, "needs a reason"),
        ("jobs.submit", {"kind": "sing"}, "jobs.submit: .*'sing'"),
        ("jobs.submit", {"kind": "tune", "parameters": {"volume": 3}}, "volume: Extra inputs"),
        ("plates.remove", {"reason": "old"}, "plates.remove: name: Field required"),
        ("plates.keep", {"staged": "../models", "name": "a", "reason": "seen"}, "is no staged plate"),
        ("calibrations.keep", {"estimate": "nonsense"}, "calibrations.keep: is not JSON"),
        ("settings.set", {"section": "bed", "name": "height", "value": 7}, "height"),
    ],
)
def test_what_is_not_understood_is_one_line_and_changes_nothing(
    client: ServiceClient, site: SiteFolder, name: str, parameters: dict[str, Any], words: str
) -> None:
    before = [row.what for row in audit.rows(site)]
    with pytest.raises(WardposeError, match=words) as refused:
        client.call(name, **parameters)
    assert "\n" not in str(refused.value)
    assert [row.what for row in audit.rows(site)] == before


def test_a_client_of_another_version_gets_one_clear_line_and_can_still_pause(
    client: ServiceClient, site: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(service_socket(site)))
        raw.sendall(b'{"call": "jobs.list", "parameters": {}}\n')  # as before there were versions
        answer = json.loads(raw.makefile().readline())
    assert not answer["ok"] and "an earlier version" in answer["error"]["what"]
    monkeypatch.setattr(versions, "API_VERSION", 99)
    with pytest.raises(WardposeError, match=r"this program speaks version 99 .* version 2; wardpose was updated"):
        client.jobs()
    client.pause("a visit")
    assert audit.rows(site)[0].what == "live.pause"


def test_each_change_leaves_its_row_with_who_and_why(client: ServiceClient, calibrated: SiteFolder) -> None:
    from calibration.files import estimate_text

    estimate = calibrations.load(calibrated, calibrations.rows(calibrated)[0])
    kept = client.call("calibrations.keep", estimate=estimate_text(estimate))
    client.call("calibrations.confirm", id=kept["id"], reason="seen in the picture")
    client.call("settings.set", section="bed", name="height", value=0.7)
    client.pause("washing")
    client.resume("done")
    rows = [(row.what, row.who, row.reason) for row in reversed(audit.rows(calibrated, 5))]
    assert [what for what, _, _ in rows] == [
        "calibration.keep", "calibration.keep", "settings.change", "live.pause", "live.resume",
    ]  # fmt: skip
    assert {who for _, who, _ in rows} == {current_user()}
    assert "seen in the picture" in rows[1][2] and "washing" in rows[3][2] and "done" in rows[4][2]
    assert load_settings(calibrated).bed.height == 0.7


def test_what_the_service_answers_is_what_the_schema_says(client: ServiceClient) -> None:
    for name, asked in (("status", {}), ("jobs.list", {}), ("live.stop", {"reason": "a test"})):
        answer = client.call(name, **asked)
        assert wire.told(name, wire._adapter(name, "answer").validate_python(answer)) == answer


def test_settings_changed_at_once_are_all_kept(client: ServiceClient, site: SiteFolder) -> None:
    wanted = {("bed", "height"): 0.7, ("bed", "length"): 1.9, ("synthesis", "count"): 12, ("tuning", "epochs"): 3}

    def change(one: tuple[tuple[str, str], float]) -> None:
        with ServiceClient(site) as own:
            own.call("settings.set", section=one[0][0], name=one[0][1], value=one[1])

    with ThreadPoolExecutor(len(wanted)) as threads:
        list(threads.map(change, wanted.items()))
    settings = load_settings(site)
    assert {key: getattr(getattr(settings, key[0]), key[1]) for key in wanted} == wanted
    assert Counter(row.what for row in audit.rows(site))["settings.change"] == len(wanted)


def test_two_confirmations_at_once_are_two_rows_of_which_the_newest_is_used(calibrated: SiteFolder) -> None:
    before = len(calibrations.rows(calibrated))
    first, second = at_once(calibrated, ("calibrate", "confirm"), ("calibrate", "confirm"))
    assert first["confirmed"] and second["confirmed"]
    assert {first["id"], second["id"]} == {before + 1, before + 2}
    assert calibrations.current(calibrated).confirmed
    files = [row.file for row in calibrations.rows(calibrated)]
    assert len(set(files)) == len(files)


def test_of_two_imports_of_one_name_at_once_one_is_refused(site: SiteFolder, small_models: Path) -> None:
    source = str(small_models / "nanodet" / "model.onnx")
    answers = at_once(site, *[("models", "import", source, "--name", "mine")] * 2)
    assert sorted(bool(answer["ok"]) for answer in answers) == [False, True]
    refused = next(answer["error"] for answer in answers if not answer["ok"])
    assert "makes a model called 'mine'" in refused or "'mine' is already here" in refused
    assert ModelStore(site).verify("mine").name == "mine"
    assert Counter(row.what for row in audit.rows(site))["model.add"] == 1


def test_of_two_tunings_of_one_name_the_second_is_refused_while_the_first_is_under_way(client: ServiceClient) -> None:
    client.submit("tune", {"name": "mine", "data": "/nowhere"})
    try:
        client.submit("tune", {"name": "mine", "data": "/nowhere"})
    except WardposeError as error:
        assert "makes a model called 'mine'" in str(error)
    else:  # it was quicker: then the first has ended
        assert [job["state"] for job in client.jobs()][1] == "failed"


def test_a_job_that_is_waited_for_tells_how_far_it_is_and_what_came_out(client: ServiceClient, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('like = "C"\nwidth = 160\nheight = 90\nviews_per_scene = 1\n')
    told: list[tuple[int, int]] = []
    wanted = {"scenario": str(tmp_path / "small.toml"), "count": 2, "seed": 1, "out": str(tmp_path / "set")}
    result = client.carry_out("synth", wanted, lambda done, total, note: told.append((done, total)))
    assert result["images"] == 2 and (tmp_path / "set" / "annotations.json").is_file()
    assert told[-1] == (2, 2)


def test_what_stops_the_waiting_stops_the_job_and_waits_for_its_end(client: ServiceClient, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('like = "C"\nwidth = 160\nheight = 90\nviews_per_scene = 1\n')
    wanted = {"scenario": str(tmp_path / "small.toml"), "count": 5000, "seed": 1, "out": str(tmp_path / "set")}

    def stop_at_work(done: int, total: int, note: str) -> None:
        if total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.carry_out("synth", wanted, stop_at_work)
    [job] = client.jobs()
    assert job["state"] == "cancelled" and job["asked_by"] == current_user()


def test_a_job_whose_service_is_killed_is_waited_for_with_the_next(site: SiteFolder, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('like = "C"\nwidth = 160\nheight = 90\nviews_per_scene = 1\n')
    wanted = {"scenario": str(tmp_path / "small.toml"), "count": 3, "seed": 1, "out": str(tmp_path / "set")}
    killed = threading.Event()

    def kill_it_once(done: int, total: int, note: str) -> None:
        if not killed.is_set():
            killed.set()
            os.kill(pid, signal.SIGKILL)

    with ServiceClient.connect(site) as client:
        pid = client.status()["pid"]
        assert client.carry_out("synth", wanted, kill_it_once)["images"] == 3
    assert JobStore(site).all(states=ACTIVE) == []


@pytest.mark.parametrize("words", [("--help",), ("models", "list"), ("camera", "list"), ("pause",), ("resume",)])
def test_what_changes_nothing_or_must_not_wait_starts_no_service(words: tuple[str, ...], site: SiteFolder) -> None:
    subprocess.run(
        [sys.executable, "-m", "appliance", *words, "--home", str(site.root)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    assert not service_socket(site).exists() and not (site.logs / "service.log").exists()


BEHIND = re.compile(
    r"\b(?:calibrations\.(?:keep|confirm|discard)|plates\.(?:keep|keep_staged|note_look|remove)|set_value|import_file"
    r"|rollback|adding|record_promotion|secrets\.forget|JobStore\([^)]*\)\.(?:submit|cancel|resume)"
    r"|kinds\.(?:synthesise|tune|evaluate|export|promote|fetch|take_in|preview|base)|make_as_asked|close_to_others"
    r"|exported|recordings\.(?:begin|end)|note_look|audit\.(?:record|deed|add)|intents\.(?:intend|delete|settle))\("
)


def test_no_command_and_no_screen_goes_past_the_service() -> None:
    past = {
        f"{path.relative_to(REPOSITORY)}: {found}"
        for room in ("cli", "tui")
        for path in (REPOSITORY / "appliance" / room).glob("*.py")
        for found in BEHIND.findall(path.read_text())
    }
    assert not past
