"""A client of the local service: what the terminal UI and the commands hold."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from appliance import versions
from appliance.jobs.runner import NOBODY_RUNS_JOBS, START_THEM, Turn
from appliance.jobs.store import ACTIVE, DEFECT
from appliance.live.addresses import service_socket
from appliance.site.folder import REPOSITORY, SiteFolder, open_log
from appliance.site.roles import NOT_ALLOWED, NotAllowed, require
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress

START_SECONDS = 20.0
ANSWER_SECONDS = 660.0  # starting the live path may export a model first
AT_ONCE_SECONDS = 2.0  # how long what must not wait waits for the service before it does without
CROWDED_SECONDS = 5.0  # how long a place at the socket is tried for
LOOK_SECONDS = 0.1  # between two looks at a job that is waited for
RUNNER_SECONDS = 10.0  # how long whoever runs the jobs may be away: a unit that ended is started again


class NoService(WardposeError):
    """There is no service, or it has gone."""


class ServiceClient:
    """One connection; calls from several threads take turns. It connects again after the service was restarted."""

    def __init__(self, site: SiteFolder, *, answer_s: float = ANSWER_SECONDS) -> None:
        """answer_s: how long an answer is waited for."""
        self.site, self._answer_s = site, answer_s
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._received = b""

    @classmethod
    def connect(cls, site: SiteFolder, *, start: bool = True) -> ServiceClient:
        """A client of the site's service, which is started in the background when none runs and `start` is set."""
        client = cls(site)
        if client._serves():
            return client
        if not start:
            raise client._gone()
        with open_log(site.logs / "service.log") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "appliance.service", "--home", str(site.root), "--leave-when-idle"],
                cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not client._serves():
            # Another client may have been quicker: then our service ends and the other one answers soon.
            if time.monotonic() > deadline:
                child.poll()
                raise WardposeError(
                    "the service did not start", where=str(site.root), mend=f"see {site.logs / 'service.log'}"
                )
            time.sleep(0.05)
        return client

    def answers(self) -> bool:
        """Whether a service is there."""
        try:
            with self._lock:
                self._open()
        except WardposeError:
            return False
        return True

    def _serves(self) -> bool:
        """Whether a service is there that answers a call: one that was killed can be connected to for a moment more.
        Raises `WardposeError` for one of another version."""
        if not self.answers():
            return False
        try:
            self.call("jobs.list", limit=1)
        except NoService:
            return False
        return True

    def call(self, name: str, /, **parameters: Any) -> Any:
        """Ask for one thing; raises `WardposeError` with the service's reason, or when there is no service.

        Where the connection breaks it is asked again, by the same `id`, so that it is not done twice.
        """
        asked = {"call": name, "version": versions.API_VERSION, "id": uuid.uuid4().hex, "parameters": parameters}
        request = json.dumps(asked).encode() + b"\n"
        with self._lock:
            for attempt in (1, 2):
                connection = self._open()
                try:
                    connection.sendall(request)
                    line = self._line(connection)
                    break
                except OSError as error:
                    self._close()
                    if attempt == 2 or isinstance(error, TimeoutError):
                        raise self._gone() from error
                except BaseException:
                    self._close()  # interrupted: an answer is still to come, and belongs to nobody
                    raise
        answer = parse_json(line)
        if not answer["ok"]:
            raise WardposeError(**answer["error"])
        if name not in versions.ANY_VERSION:
            versions.require_version(answer.get("version"), whose="the service that runs", ours="this program")
        return answer["result"]

    def status(self) -> dict[str, Any]:
        result: dict[str, Any] = self.call("status")
        return result

    def start_live(
        self,
        source: str | None = None,
        detector: str | None = None,
        pose: str | None = None,
        display: bool = True,
        *,
        reason: str,
    ) -> dict[str, Any]:
        result: dict[str, Any] = self.call(
            "live.start", source=source, detector=detector, pose=pose, display=display, reason=reason
        )
        return result

    def stop_live(self, reason: str) -> dict[str, Any]:
        result: dict[str, Any] = self.call("live.stop", reason=reason)
        return result

    def pause(self, reason: str = "") -> None:
        self.call("live.pause", reason=reason)

    def resume(self, reason: str) -> None:
        self.call("live.resume", reason=reason)

    def jobs(self, limit: int = 50) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.call("jobs.list", limit=limit)
        return result

    def submit(self, kind: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = self.call("jobs.submit", kind=kind, parameters=dict(parameters or {}))
        return result

    def cancel(self, number: int) -> dict[str, Any]:
        result: dict[str, Any] = self.call("jobs.cancel", id=number)
        return result

    def resume_job(self, number: int) -> dict[str, Any]:
        result: dict[str, Any] = self.call("jobs.resume", id=number)
        return result

    def stop_service(self) -> None:
        """End the service with the live path; running jobs are interrupted and can be resumed."""
        self.call("stop")

    def carry_out(
        self, kind: str, parameters: Mapping[str, Any] | None = None, progress: Progress = lambda *_: None
    ) -> dict[str, Any]:
        """Queue a job and wait until it is done; returns its result.

        Raises `WardposeError` with the job's own reason where it failed. What interrupts the waiting, Ctrl-C or what
        `progress` raises, or that no program runs this site's jobs, cancels the job, and is raised again when its last
        process is gone.
        """
        number = int(self.submit(kind, parameters)["id"])
        seen_at = time.monotonic()
        try:
            while (job := self._job(number))["state"] in ACTIVE:
                if job["state"] == "running" or Turn.is_taken(self.site):
                    seen_at = time.monotonic()
                elif time.monotonic() - seen_at > RUNNER_SECONDS:
                    raise WardposeError(NOBODY_RUNS_JOBS, where=str(self.site.root), mend=START_THEM)
                progress(job["done"], job["total"], job["note"] if job["state"] == "running" else "waits for its turn")
                time.sleep(LOOK_SECONDS)
        except BaseException:
            self.cancel(number)
            while self._job(number)["state"] in ACTIVE:
                time.sleep(LOOK_SECONDS)
            raise
        if job["state"] == "done":
            progress(job["done"], job["total"], job["note"])
            result: dict[str, Any] = job["result"]
            return result
        if job["state"] == "failed":
            raise WardposeError(job["error"], exit_code=70 if job["error"].startswith(DEFECT) else 2)
        why = f": {job['error']}" if job["error"] else ""
        raise WardposeError(
            f"job {number} ({job['title']}) was {job['state']}{why}",
            mend="what is finished is kept; the screen 4 Retarget resumes it",
        )

    def _job(self, number: int) -> dict[str, Any]:
        """A job as it is; where the service was killed meanwhile, another looks after it."""
        try:
            job: dict[str, Any] = self.call("jobs.get", id=number)
        except NoService:
            ServiceClient.connect(self.site).close()
            job = self.call("jobs.get", id=number)
        return job

    def close(self) -> None:
        with self._lock:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> socket.socket:
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._answer_s)
            try:
                self._connect(connection)
            except OSError as error:
                connection.close()
                raise self._gone() from error
            self._connection, self._received = connection, b""
        return self._connection

    def _connect(self, connection: socket.socket) -> None:
        """Where many come at once, the kernel turns some away: they come again."""
        until = time.monotonic() + CROWDED_SECONDS
        while True:
            try:
                return connection.connect(str(service_socket(self.site)))
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _line(self, connection: socket.socket) -> bytes:
        while b"\n" not in self._received:
            data = connection.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the service ended")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._received = None, b""

    def _gone(self) -> NoService:
        return NoService(
            "the service of this site does not answer",
            where=str(self.site.root),
            mend="open `wardpose`, which starts it",
        )


def ask_or_do(site: SiteFolder, name: str, do: Callable[[], Any], /, **parameters: Any) -> Any:
    """One call of a service that runs, answered at once; where none does, or it can't, what `do` returns: the same deed
    in this process. For what must not wait for a service, or can't have one."""
    try:
        with ServiceClient(site, answer_s=AT_ONCE_SECONDS) as client:
            return client.call(name, **parameters)
    except WardposeError as error:
        if error.exit_code == NOT_ALLOWED:
            raise
        _require_role(site, name)
        return do()  # what hinders the deed, it will say itself


def _require_role(site: SiteFolder, name: str) -> None:
    """Raise `NotAllowed` where whoever is at work here may not; a site whose roles can't be read is its owner's."""
    from appliance.api import CALLS  # no other client wants to know every call: that takes a tenth of a second

    try:
        require(site, CALLS[name].may, name)
    except NotAllowed:
        raise
    except WardposeError:  # pausing wants nothing of a damaged database
        pass
