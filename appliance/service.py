"""The local service: the one place that knows how the box is. `python -m appliance.service`.

It runs the jobs and supervises the live path; the terminal UI and the commands are its clients and so see the same
truth, and everything that changes the site goes through it. It listens on a Unix socket that only the site's owner can
open; what can be asked, and how it is answered, stands in `appliance.api`, and on the wire as `appliance.wire` says.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

from appliance import api, cut_off, program, versions, wire
from appliance.deeds import Deeds
from appliance.doorkeeper import Doorkeeper
from appliance.doorway import Doorway
from appliance.jobs.runner import JobRunner, Turn
from appliance.jobs.store import KINDS
from appliance.live import calibration_watch, outages, pauses, running, station, wish
from appliance.live.addresses import ring_name, service_socket
from appliance.live.meter import LiveMeter
from appliance.live.metrics import exposition
from appliance.live.metrics_door import MetricsBySettings
from appliance.live.ownership import AlreadyRuns, LiveLock
from appliance.live.plan import LivePlan, plan, process_specs
from appliance.live.station import StationKeeper
from appliance.live.status import live_status
from appliance.live.supervisor import Supervisor
from appliance.once import Once
from appliance.site import audit, ballast, calibrations, closing
from appliance.site.folder import SiteFolder, open_lock
from calibration.disk import behind
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.memory import give_back_freed_memory
from calibration.redaction import redacted
from runtime.notify import notify

STEP_SECONDS = 0.5
IDLE_SECONDS = 60.0
HEALTH_SECONDS = 300.0
TROUBLE_SECONDS = 10.0  # until what failed is tried again
GONE_SECONDS = 10.0  # how long what a killed service left may take to end


class Service:
    """Everything behind the socket. `run` blocks until `stop`."""

    def __init__(
        self, site: SiteFolder, *, leave_when_idle: bool = False, kinds: str = KINDS, run_jobs: bool = True
    ) -> None:
        self.site, self.leave_when_idle = site, leave_when_idle
        self._lock_file = _lock(site)
        self._deeds = Deeds(site, kinds)
        self._doorkeeper = Doorkeeper(site)
        self.jobs, self.models = self._deeds.jobs, self._deeds.models
        self._runner, self._turn, self._run_jobs = JobRunner(site, kinds, self.jobs), Turn(site), run_jobs
        self._jobs_from = 0.0  # the moment before which the runner is not asked: it had trouble
        self._live_lock = threading.RLock()
        self._supervisor: Supervisor | None = None
        self._plan: LivePlan | None = None
        self._holding: LiveLock | None = None
        self._watch: Supervisor | None = None
        # They listen whoever runs the live path; outages are noted by whoever runs it in a terminal.
        self._meter, self._picture = LiveMeter(site), outages.PictureWatch(site)
        self._drift = calibration_watch.DriftMeter(site)
        self._path = running.look(site)
        # Where units run the jobs, another runs the station's view.
        self._station = StationKeeper(site) if run_jobs else None
        self._was_paused = False
        self._health: dict[str, Any] = {"ok": None, "checks": []}
        self._stopping = threading.Event()
        self._last_call = time.monotonic()
        self._door: Doorway | None = None
        self._metrics = MetricsBySettings(site, lambda: exposition(self.status().model_dump()))
        self._once: Once[dict[str, Any]] = Once()
        self._calls: dict[str, Callable[[Any], Any]] = {
            "status": lambda _: self.status(),
            "live.start": self.start_live,
            "live.stop": self.stop_live,
            "live.pause": self.pause,
            "live.resume": self.resume,
            "station.enter": self.enter_station,
            "station.leave": self.leave_station,
            "stop": self.stop,
            **self._deeds.calls,
        }

    def run(self) -> None:
        """Serve until `stop`; then end the live path and interrupt the jobs, which can be resumed."""
        with contextlib.suppress(WardposeError):
            for told in cut_off.settle(self.site):
                sys.stderr.write(f"{told}\n")
        path = service_socket(self.site)
        path.unlink(missing_ok=True)  # we hold the lock, so nobody serves there
        server = self._door = Doorway(path, self.answer)
        threads = [
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="service socket", daemon=True
            ),
            threading.Thread(target=self._watch_health, name="health", daemon=True),
        ]
        for thread in threads:
            thread.start()
        self._meter.start()
        self._drift.start()
        try:
            self._go_on_live()
            notify("READY=1")
            while not self._stopping.wait(STEP_SECONDS):
                self._step()
                self._metrics.follow()
                notify("WATCHDOG=1")
        finally:
            server.shutdown()
            server.server_close()
            path.unlink(missing_ok=True)
            self._metrics.close()
            if self._station is not None:
                self._station.stop()
            with self._live_lock:
                was_running = self._supervisor is not None
                self._end_live()
            if was_running:
                pauses.record(self.site, "stop", "", "with the service; it comes back with it")
            self._meter.stop()
            self._drift.stop()
            if self._run_jobs and self._turn.take():
                self._runner.stop_all()
            self._turn.release()
            self._lock_file.close()

    def stop(self, _: api.Nothing) -> api.Stopping:
        """Asked for by a client: it is written down who did."""
        audit.record_or_tell(self.site, "service.stop")
        self.leave()
        return api.Stopping()

    def leave(self) -> None:
        """End by itself, or by a signal."""
        self._stopping.set()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Answer one line of the socket; what was sent again because its answer was lost gets that answer."""
        name = ""
        try:
            request = _request(line)
            name = request["call"]
            key = str(request.get("id") or "") if name not in versions.READING else ""

            def carry_out() -> dict[str, Any]:
                return self._carry_out(name, request.get("parameters", {}), request.get("version"))

            answer = self._once.answer(key, carry_out)
        except WardposeError as error:
            answer = _refused(error)
        return answer | {"version": versions.API_VERSION}

    def _carry_out(self, name: str, parameters: object, version: object) -> dict[str, Any]:
        try:
            return {"ok": True, "result": self.call(name, parameters, version)}
        except WardposeError as error:
            return _refused(error)
        except Exception as error:
            if (told := behind(error)) is not None:
                return _refused(told)
            what = redacted(f"a defect: {type(error).__name__}: {error}")
            sys.stderr.write(f"call {name}: {what}\n")
            return _refused(WardposeError(what, where=name, exit_code=70))

    def call(self, name: str, parameters: object, version: object = versions.API_VERSION) -> Any:
        """Answer one request; raises `WardposeError` for what can't be done or understood."""
        if name not in versions.ANY_VERSION:
            versions.require_version(version, whose="this program", ours="the service that runs")
        asked = wire.understood(name, parameters)
        self._doorkeeper.require(name, asked)
        if name != "status":
            self._last_call = time.monotonic()
        return wire.told(name, self._calls[name](asked))

    def status(self) -> api.Status:
        """The whole truth in one object."""
        with self._live_lock:
            own, path = self._supervisor is not None, running.look(self.site)
            processes = self._supervisor.to_dict() if self._supervisor else path.states()
            processes += self._watch.to_dict() if self._watch else []
        processes += self._station.to_dict() if self._station else []
        row, drifted = calibrations.current_row(self.site), self._drift.figures()
        return api.Status(
            site=str(self.site.root), pid=os.getpid(), own=own, processes=processes, jobs=self._deeds.list_jobs(20),
            runner=Turn.is_taken(self.site),
            models={"detect": self.models.live("detect"), "pose": self.models.live("pose")}, calibration=row,
            drift=drifted, health=self._health, station=station.told(self.site),
            **live_status(self.site, self._meter.figures(), path),
        )  # fmt: skip

    def start_live(self, asked: api.StartLive) -> LivePlan:
        """Start the live path, or start it anew with another plan; refused where somebody else runs it."""
        if self._supervisor is None:
            running.require_free(self.site)
        wanted = plan(self.site, **asked.model_dump(exclude={"reason"}))
        specs = process_specs(self.site, wanted)
        with self._live_lock:
            self._end_live()
            self._begin(wanted, specs)
            wish.remember(self.site, wanted)
        models = f"{wanted.detector}, {wanted.pose or 'no pose model'}"
        pauses.record(self.site, "start", wanted.source, f"{models}: {asked.reason}")
        return wanted

    def stop_live(self, asked: api.Why) -> api.StoppedLive:
        with self._live_lock:
            was_running = self._supervisor is not None
            self._end_live()
            wish.forget(self.site)
        if not was_running:
            whose = wish.end(self.site, asked.reason)
            return api.StoppedLive(stopped=bool(whose), whose=whose)
        pauses.record(self.site, "stop", "", asked.reason)
        return api.StoppedLive(stopped=True, whose="the service")

    def pause(self, asked: api.Pause) -> api.Paused:
        """Pause the site, whether or not anything runs."""
        held = pauses.pause(self.site, asked.reason, who=asked.place)
        return api.Paused(by=held.by, since=held.since, reason=held.reason, words=held.words())

    def resume(self, asked: api.Resume) -> api.Resumed:
        held = pauses.resume(self.site, asked.reason, who=self._doorkeeper.whose(asked))
        return api.Resumed(was=api.PauseTold(**held.to_dict()) if held else None)

    def enter_station(self, asked: api.EnterStation) -> api.Entered:
        return api.Entered(name=self._doorkeeper.enter_station(asked))

    def leave_station(self, asked: api.LeaveStation) -> api.Done:
        self._doorkeeper.leave_station(asked)
        return api.Done()

    def _go_on_live(self) -> None:
        wanted = wish.recall(self.site)
        if wanted is None:
            return
        try:
            with self._live_lock:
                self._begin(wanted, process_specs(self.site, wanted), patience_s=GONE_SECONDS)
        except AlreadyRuns as error:
            sys.stderr.write(f"{error}\n")  # the wish stays: this service runs it again when it starts next
        except WardposeError as error:
            sys.stderr.write(f"the live path could not be started again: {error}\n")
            wish.forget(self.site)

    def _begin(self, wanted: LivePlan, specs: list[Any], *, patience_s: float = 0.0) -> None:
        self._holding = running.begin(self.site, "service", asdict(wanted), patience_s=patience_s)
        outages.note(self.site, "start", why="by the service")
        self._supervisor = Supervisor(self.site, specs, on_restart=self._note_restart)
        self._supervisor.start()
        self._plan = wanted
        self._begin_watch()

    def _begin_watch(self) -> None:
        """Watch the calibration of a live path, as soon as there is one."""
        with self._live_lock:
            if self._plan is None or self._watch is not None:
                return
            spec = calibration_watch.process_spec(self.site, self._plan.source)
            if spec is not None:
                self._watch = Supervisor(self.site, [spec], on_restart=self._note_restart)
                self._watch.start()

    def _end_live(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._holding is not None:
            self._holding.release()
        self._watch, self._supervisor, self._holding, self._plan = None, None, None, None
        self._meter.forget()
        self._picture = outages.PictureWatch(self.site)  # its end was asked for: that is no outage

    def _note_restart(self, name: str, why: str) -> None:
        outages.note(self.site, "restart", name, why)

    def _look_after_live(self) -> None:
        """Give what the page paused its rows, blank what a killed capture process left, and note outages."""
        self._path = running.look(self.site)
        self._deeds.foreground.look_after()
        pauses.write_down(self.site)
        paused = pauses.switch(self.site).active
        if paused and not self._was_paused:
            from runtime.capture.ring import blank_ring

            with contextlib.suppress(OSError, WardposeError):
                blank_ring(ring_name(self.site))
        self._was_paused = paused
        if self._path.looks and self._path.kind != "foreground":
            self._picture.look(self._meter.figures())

    def _step(self) -> None:
        try:
            if self._run_jobs and time.monotonic() >= self._jobs_from and self._turn.take():
                self._runner.step()
        except WardposeError as error:  # a full disk, for one: jobs go on when there is room
            sys.stderr.write(f"{error}\n")
            self._jobs_from = time.monotonic() + TROUBLE_SECONDS
        try:
            self._begin_watch()
            self._look_after_live()
            if self._station is not None:
                self._station.look()
            idle = not self.jobs.all(1, states=("queued", "running")) and self._supervisor is None
            idle = idle and not (self._station is not None and self._station.on)
        except WardposeError as error:  # the live path must go on
            sys.stderr.write(f"{error}\n")
            self._stopping.wait(TROUBLE_SECONDS)
            return
        if not idle or (self._door is not None and self._door.clients):
            self._last_call = time.monotonic()
        elif self.leave_when_idle and time.monotonic() - self._last_call > IDLE_SECONDS:
            self.leave()

    def _watch_health(self) -> None:
        from appliance.box.doctor import examine
        from appliance.housekeeping import tidy

        while True:
            with contextlib.suppress(WardposeError):
                for problem in tidy(self.site):
                    sys.stderr.write(f"{problem}\n")
            with contextlib.suppress(WardposeError):
                self._health = examine(self.site).to_dict()
            if self._stopping.wait(HEALTH_SECONDS):
                return


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = parse_json(line)
    except ValueError:
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("call"), str):
        raise WardposeError("a request is one line of JSON with a call")
    return request


def _refused(error: WardposeError) -> dict[str, Any]:
    told = {"what": error.what, "where": error.where, "mend": error.mend, "exit_code": error.exit_code}
    return {"ok": False, "error": told}


def _lock(site: SiteFolder) -> IO[str]:
    """Held as long as this service lives; the kernel frees it however we end."""
    ballast.make_room(site.root)
    stream = os.fdopen(open_lock(site.sockets / "service.lock"))
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise WardposeError(
            "another service already runs for this site", where=str(site.root), mend="use it, or stop it"
        ) from None
    return stream


def main(arguments: list[str] | None = None) -> int:
    """Run the service of one site in the foreground."""
    parser = argparse.ArgumentParser(prog="appliance.service", description=__doc__)
    parser.add_argument("--home")
    parser.add_argument("--leave-when-idle", action="store_true", help="end after a minute without work or clients")
    parser.add_argument(
        "--without-jobs", action="store_true", help="leave the jobs to `python -m appliance.job_runner`"
    )
    options = parser.parse_args(arguments)
    program.prepare()
    give_back_freed_memory()
    closing.close_and_tell(options.home)
    service = Service(
        SiteFolder.open(options.home), leave_when_idle=options.leave_when_idle, run_jobs=not options.without_jobs
    )
    program.end_by(service.leave)
    service.run()
    return 0


if __name__ == "__main__":
    program.exit_with(main)
