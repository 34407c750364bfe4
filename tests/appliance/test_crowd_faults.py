"""What the fault suite says of a crowd is about the sockets: neither crowd nor counting takes from the picture."""

from __future__ import annotations

import os
import time

import pytest

from appliance.client import ServiceClient
from appliance.faults import crowd_faults
from appliance.faults.attackers import Attackers, attacks_at
from appliance.live.addresses import result_socket
from appliance.site.folder import SiteFolder
from runtime.bus import ResultServer
from tests.appliance.test_service import wait_for


def test_who_attacks_runs_at_idle_priority_in_a_session_of_its_own_and_is_gone_afterwards(site: SiteFolder) -> None:
    door = "the service's socket"
    with ServiceClient.connect(site) as client, Attackers(site, door) as crowd:
        assert crowd._process is not None
        pid = crowd._process.pid
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE and os.getsid(pid) == pid
        for attack in list(attacks_at(door, site))[:2]:
            with crowd.attacking(attack):
                assert client.status()["pid"]
    assert crowd._process.poll() is not None


def test_each_frame_is_counted_once_and_only_those_finished_in_time(site: SiteFolder) -> None:
    with ResultServer(result_socket(site)) as server, crowd_faults._Counter(site) as counter:
        wait_for(lambda: server._clients)
        began = time.monotonic()

        def publish(state: str, finished_at: float | None) -> None:
            heard = sum(map(len, counter._heard))
            server.publish({"state": state, "finished_at": finished_at, "people": []})
            wait_for(lambda: sum(map(len, counter._heard)) > heard)

        for state, after in (("live", -1), ("live", 1), ("live", 1), ("no-signal", 1), ("live", 2), ("live", 9)):
            publish(state, began + after)
        publish("paused", None)
        assert counter.frames(began, began + 5) == 2
        publish("live", began + 6)
        assert counter.frames(began + 5, began + 10) == 1


def test_pairs_that_agree_tell_and_pairs_that_do_not_do_not() -> None:
    assert crowd_faults._tells([(50, 49)] * 20) and crowd_faults._tells([(50, 25)] * 20)
    assert not crowd_faults._tells([(50, 100 if number % 2 else 5) for number in range(20)])


def test_the_interval_is_as_much_wider_as_it_is_looked_at_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(50, 46 + number % 9) for number in range(30)]
    _, low, high = crowd_faults.ratio_of(pairs)
    monkeypatch.setattr(crowd_faults, "LOOKS", 1)
    _, low_once, high_once = crowd_faults.ratio_of(pairs)
    assert low < low_once < high_once < high
