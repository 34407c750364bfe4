"""Two deeds at once can't spoil each other, and one that is sent twice is done once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance import client as client_module
from appliance import versions
from appliance.bedside import plates
from appliance.cli.main import main
from appliance.client import ServiceClient
from appliance.jobs.runner import NOBODY_RUNS_JOBS
from appliance.jobs.store import JobStore
from appliance.live.addresses import service_socket
from appliance.models.store import ModelStore
from appliance.once import Once
from appliance.site import audit, calibrations
from appliance.site.folder import REPOSITORY, SiteFolder
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity
from tests.appliance.test_plates import plate_of
from tests.appliance.test_service import wait_for

Outcome = dict[str, Any] | WardposeError
FEW = {"scenario": "B", "count": 1, "seed": 1}


@pytest.fixture
def client(site: SiteFolder) -> Iterator[ServiceClient]:
    with ServiceClient.connect(site) as client:
        yield client


def together(deeds: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each returns, or the `WardposeError` that it raises; all begin at one moment."""
    ready = threading.Barrier(len(deeds))

    def do(deed: Callable[[], Any]) -> Any:
        ready.wait()
        try:
            return deed()
        except WardposeError as error:
            return error

    with ThreadPoolExecutor(len(deeds)) as threads:
        return list(threads.map(do, deeds))


def asked_together(site: SiteFolder, name: str, requests: Sequence[dict[str, Any]]) -> list[Outcome]:
    """The answers to one call, asked at once by as many clients."""

    def ask(parameters: dict[str, Any]) -> Any:
        with ServiceClient(site) as own:
            return own.call(name, **parameters)

    return together([lambda parameters=parameters: ask(parameters) for parameters in requests])  # type: ignore[misc]


def test_of_two_plates_of_one_name_one_is_kept_whole(client: ServiceClient, calibrated: SiteFolder) -> None:
    staged = [plates.stage(calibrated, plate_of(calibrated)) for _ in range(3)]
    asked = [{"staged": one, "name": "monday", "reason": "nobody is in it"} for one in staged]
    answers = asked_together(calibrated, "plates.keep", asked)
    refused = [answer for answer in answers if isinstance(answer, WardposeError)]
    assert len(refused) == 2 and all("a plate monday is there already" in str(error) for error in refused)
    assert [row.name for row in plates.rows(calibrated) if row.usable] == ["monday"]
    assert plates.look(calibrated, "monday").depth.shape
    assert Counter(row.what for row in audit.rows(calibrated))["plate.keep"] == 1


def test_plates_without_a_name_get_one_each(client: ServiceClient, calibrated: SiteFolder) -> None:
    staged = [plates.stage(calibrated, plate_of(calibrated)) for _ in range(3)]
    answers = asked_together(calibrated, "plates.keep", [{"staged": one, "reason": "seen"} for one in staged])
    assert len({answer["name"] for answer in answers if isinstance(answer, dict)}) == 3


def test_of_two_confirmed_at_once_each_has_its_row_and_its_file(client: ServiceClient, calibrated: SiteFolder) -> None:
    first = calibrations.rows(calibrated)[0].id
    estimate = calibrations.load(calibrated, calibrations.rows(calibrated)[0])
    calibrations.keep(calibrated, replace(estimate, covariance=np.eye(6) * 4e-6))
    asked = [{"id": number, "reason": "seen in the picture"} for number in (first, first + 1)]
    answers = asked_together(calibrated, "calibrations.confirm", asked)
    assert all(isinstance(answer, dict) and answer["confirmed"] for answer in answers)
    rows = calibrations.rows(calibrated)
    assert len({row.file for row in rows}) == len(rows) == 4
    confirmed = [calibrations.load(calibrated, row) for row in rows[:2]]
    assert sorted(one.covariance[0, 0] for one in confirmed) == pytest.approx([1e-6, 4e-6])
    assert calibrations.current_row(calibrated) == rows[0]


def test_of_two_models_judged_against_one_that_is_live_only_the_first_goes_live(
    fetched: Path, site: SiteFolder
) -> None:
    store = ModelStore(site)
    rivals, live = ("movenet-lightning", "other-pose"), store.live("pose")
    store.import_file(fetched / "movenet-lightning" / "model.onnx", "other-pose")

    def promote(name: str) -> None:
        store.record_promotion(name, accepted=True, reasons={"reasons": ["better"]}, against=live)

    answers = together([lambda name=name: promote(name) for name in rivals])  # type: ignore[misc]
    refused = [answer for answer in answers if isinstance(answer, WardposeError)]
    winner = store.live("pose")
    loser = next(name for name in rivals if name != winner)
    assert len(refused) == 1 and f"{loser} was judged against {live}, but {winner} went live" in str(refused[0])
    assert [(row["model"], row["previous"]) for row in store.promotions()] == [(winner, live)]
    assert store.rollback("pose", "a test") == live


def test_of_two_rollbacks_at_once_the_second_finds_nothing_more(
    client: ServiceClient, fetched: Path, site: SiteFolder
) -> None:
    store = ModelStore(site)
    live = store.live("pose")
    store.record_promotion("movenet-lightning", accepted=True, reasons={})
    answers = asked_together(site, "models.rollback", [{"task": "pose", "reason": "it misses feet"}] * 2)
    assert [answer["live"] for answer in answers if isinstance(answer, dict)] == [live]
    assert store.live("pose") == live and Counter(row.what for row in audit.rows(site))["model.rollback"] == 1


def test_settings_of_one_name_changed_at_once_end_as_one_of_them(client: ServiceClient, site: SiteFolder) -> None:
    from appliance.site.settings import load_settings

    heights = [0.5, 0.6, 0.7, 0.8]
    asked = [{"section": "bed", "name": "height", "value": height} for height in heights]
    assert all(isinstance(answer, dict) for answer in asked_together(site, "settings.set", asked))
    changes = [row.reason for row in reversed(audit.rows(site)) if row.what == "settings.change"]
    # Each began where the one before it had ended.
    told = [change.removeprefix("bed.height ").split(" → ") for change in changes]
    assert [before for before, _ in told[1:]] == [after for _, after in told[:-1]]
    assert float(told[-1][1]) == load_settings(site).bed.height


def test_jobs_asked_for_at_once_are_as_many(client: ServiceClient, site: SiteFolder) -> None:
    answers = asked_together(site, "jobs.submit", [{"kind": "synth", "parameters": FEW}] * 4)
    assert len({answer["id"] for answer in answers if isinstance(answer, dict)}) == 4
    for job in JobStore(site).all():
        client.cancel(job.id)


def test_recordings_into_one_file_at_once_are_one(client: ServiceClient, site: SiteFolder, tmp_path: Path) -> None:
    asked = {
        "file": str(tmp_path / "night.mkv"), "source": "simulated", "seconds": 1.0, "expires": "1d",
        "process": process_identity(os.getpid()), "reason": "a fall in the night",
    }  # fmt: skip
    answers = asked_together(site, "camera.record", [asked] * 3)
    assert sum("another recording is being written" in str(answer) for answer in answers) == 2
    assert Counter(row.what for row in audit.rows(site))["camera.record"] == 1


def send(site: SiteFolder, request: dict[str, Any]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(service_socket(site)))
    connection.sendall(json.dumps(request).encode() + b"\n")
    return connection


def test_a_request_that_comes_again_because_its_answer_was_lost_is_not_carried_out_twice(
    client: ServiceClient, site: SiteFolder
) -> None:
    asked = {"kind": "synth", "parameters": FEW}
    request = {"call": "jobs.submit", "version": versions.API_VERSION, "id": "4711", "parameters": asked}
    send(site, request).close()  # it broke before the answer came
    with send(site, request) as connection:
        answer = json.loads(connection.makefile().readline())
    assert answer["ok"] and [job["id"] for job in client.jobs()] == [answer["result"]["id"]]
    with send(site, request | {"id": "4712"}) as connection:
        assert json.loads(connection.makefile().readline())["result"]["id"] != answer["result"]["id"]
    for job in client.jobs():
        client.cancel(job["id"])


class LosesTheFirstAnswer(threading.Thread):
    """Stands where the service does, hands everything on to it, and hangs up instead of giving the first answer."""

    def __init__(self, here: Path, service: Path) -> None:
        super().__init__(daemon=True)
        self._service, self.lost = service, 0
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(here))
        self._server.listen()

    def run(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            with caller, socket.socket(socket.AF_UNIX) as service:
                service.connect(str(self._service))
                asks, answers = caller.makefile("rb"), service.makefile("rb")
                while line := asks.readline():
                    service.sendall(line)
                    answer = answers.readline()
                    if not self.lost:
                        self.lost += 1
                        caller.shutdown(socket.SHUT_RDWR)
                        break
                    caller.sendall(answer)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def test_a_client_whose_connection_breaks_asks_again_and_gets_the_one_answer(
    client: ServiceClient, site: SiteFolder
) -> None:
    aside = site.sockets / "aside.sock"
    service_socket(site).rename(aside)
    between = LosesTheFirstAnswer(service_socket(site), aside)
    between.start()
    try:
        with ServiceClient(site, answer_s=30) as own:
            job = own.submit("synth", FEW)
            own.cancel(job["id"])
    finally:
        between.close()
        service_socket(site).unlink()
        aside.rename(service_socket(site))
    assert between.lost == 1 and [one["id"] for one in client.jobs()] == [job["id"]]
    assert Counter(row.what for row in audit.rows(site))["job.submit"] == 1


def test_of_requests_with_one_key_at_once_one_is_carried_out_and_all_get_its_answer() -> None:
    once: Once[int] = Once()
    carried_out: list[int] = []

    def carry_out() -> int:
        carried_out.append(1)
        threading.Event().wait(0.05)
        return 7

    assert together([lambda: once.answer("key", carry_out)] * 5) == [7] * 5
    assert len(carried_out) == 1
    assert once.answer("other", carry_out) == 7 and once.answer("", carry_out) == 7
    assert len(carried_out) == 3


@pytest.fixture
def without_jobs(site: SiteFolder) -> Iterator[ServiceClient]:
    """A client of what the unit `wardpose-service` starts, on a box whose unit `wardpose-jobs` does not run."""
    command = [sys.executable, "-m", "appliance.service", "--without-jobs", "--home", str(site.root)]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    client = ServiceClient(site)
    wait_for(client.answers)
    yield client
    client.close()
    process.terminate()
    process.wait(60)


def test_where_no_program_runs_jobs_a_command_says_so_instead_of_waiting_for_ever(
    without_jobs: ServiceClient, site: SiteFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_module, "RUNNER_SECONDS", 0.3)
    assert without_jobs.status()["runner"] is False
    waiting = without_jobs.submit("synth", FEW)
    assert main(["status", "--home", str(site.root)]) == 0
    assert NOBODY_RUNS_JOBS in capsys.readouterr().out
    without_jobs.cancel(waiting["id"])
    with pytest.raises(WardposeError, match=f"{NOBODY_RUNS_JOBS}.*systemctl start wardpose-jobs") as told:
        without_jobs.carry_out("synth", FEW)
    assert "\n" not in str(told.value)
    assert [job["state"] for job in without_jobs.jobs()] == ["cancelled"] * 2  # nothing begins behind somebody's back
    command = [sys.executable, "-m", "appliance.job_runner", "--home", str(site.root)]
    runner = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        wait_for(lambda: without_jobs.status()["runner"])
        with pytest.raises(WardposeError, match="no such file"):
            without_jobs.carry_out("import", {"file": str(site.root / "none.onnx"), "name": "none"})
    finally:
        runner.terminate()
        assert runner.wait(60) == 0
    assert not is_running(process_identity(runner.pid))
