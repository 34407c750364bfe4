"""The figures for Prometheus: read by its own parser, on loopback alone, when the settings say so."""

from __future__ import annotations

import http.client
import math
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from appliance.client import ServiceClient
from appliance.live.meter import LiveMeter
from appliance.live.metrics import exposition
from appliance.live.metrics_door import CONTENT_TYPE, MetricsDoor
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from tests.appliance.test_service import client, wait_for

__all__ = ["client"]


def _samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def _status(site: SiteFolder, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    meter = LiveMeter(site)
    for message in messages:
        meter._note(message)
    return {"live": meter.figures(), "camera": {"state": "streaming", "fps": 29.97}, "processes": []} | more


def _message(index: int, **more: Any) -> dict[str, Any]:
    at = 100 + index / 10
    return {
        "state": "live", "captured_at": at, "finished_at": at + 0.04, "frame_index": index, "people": [{"score": 0.5}],
        "stages_ms": {"detect": 20.0, "pose": 10.0 + index}, "engines": {"detector": "e"}, "stale_s": 0.5,
    } | more  # fmt: skip


def test_the_figures_are_those_of_the_messages(site: SiteFolder) -> None:
    processes = [{"name": "capture", "restarts": 2}, {"name": "live", "restarts": None}]
    unsure = {"now": 0.3, "after_tuning": 0.2, "retarget": True}
    told = [{"stage": "pose", "name": 'a "quoted" one', "used": True}]
    messages = [_message(index, unsure=unsure, engines_told=told) for index in (0, 1, 4)]
    found = _samples(exposition(_status(site, messages, processes=processes)))
    assert found["wardpose_live"] == {(): 1}
    assert found["wardpose_frames_total"] == {(): 3}
    assert found["wardpose_frames_dropped_total"] == {(): 2}
    assert found["wardpose_confidence"] == {(): 0.5}
    assert found["wardpose_camera_frames_per_second"] == {(): 29.97}
    assert found["wardpose_frame_to_skeleton_seconds"][("quantile", "0.5"),] == pytest.approx(0.04)
    assert found["wardpose_stage_seconds"][("quantile", "0.99"), ("stage", "pose")] == pytest.approx(0.014)
    assert found["wardpose_unsureness"] == {(("when", "now"),): 0.3, (("when", "after_tuning"),): 0.2}
    assert found["wardpose_retargeting_proposed"] == {(): 1}
    assert found["wardpose_process_restarts_total"] == {(("process", "capture"),): 2}
    assert found["wardpose_engine_used"] == {(("engine", 'a "quoted" one'), ("stage", "pose")): 1}
    assert found["wardpose_frame_age_seconds"][()] > 0


def test_where_nothing_runs_what_is_not_known_is_left_out(site: SiteFolder) -> None:
    found = _samples(exposition(_status(site, [])))
    assert found["wardpose_live"] == {(): 0}
    assert "wardpose_frame_age_seconds" not in found
    assert "wardpose_stage_seconds" not in found


def test_nobody_is_told_of(site: SiteFolder) -> None:
    crowd = [{"score": 0.5, "id": 77, "role": "patient", "place": "in-bed"}] * 3
    one, many = (exposition(_status(site, [_message(0, people=p)])) for p in (crowd[:1], crowd))
    assert [line for line in one.splitlines() if "age_seconds" not in line and "temp" not in line] == [
        line for line in many.splitlines() if "age_seconds" not in line and "temp" not in line
    ]


@given(name=st.text(max_size=20), value=st.floats())
def test_any_name_and_number_is_read_as_it_was(name: str, value: float) -> None:
    live = dict.fromkeys(("age_ms", "p50_ms", "p99_ms", "fps", "confidence", "unsure"))
    live |= {"state": "off", "frames": 0, "dropped": 0, "stages_ms": {}, "engines": []}
    status = {"live": live, "camera": {}, "processes": [{"name": name, "restarts": value}]}
    (sample,) = _samples(exposition(status))["wardpose_process_restarts_total"].items()
    assert sample[0] == (("process", name),)
    assert sample[1] == value or (math.isnan(sample[1]) and math.isnan(value))


def _asked(port: int, path: str = "/metrics", host: str = "") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    told = answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
    connection.close()
    return told


def test_the_door_answers_its_one_path_to_this_box_alone() -> None:
    door = MetricsDoor(0, lambda: "wardpose_live 1\n")
    try:
        assert _asked(door.port) == (200, CONTENT_TYPE, "wardpose_live 1\n")
        assert _asked(door.port, "/")[0] == 404
        assert _asked(door.port, host=f"evil.example:{door.port}")[0] == 404
        with pytest.raises(WardposeError, match="is taken"):
            MetricsDoor(door.port, str)
    finally:
        door.close()


def test_the_service_answers_where_the_settings_say(site: SiteFolder, client: ServiceClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])

    def answers() -> bool:
        try:
            return _samples(_asked(port)[2])["wardpose_live"] == {(): 0}
        except OSError:
            return False

    assert not answers()
    client.call("settings.set", section="metrics", name="port", value=port)
    wait_for(answers)
    client.call("settings.set", section="metrics", name="port", value=0)
    wait_for(lambda: not answers())
