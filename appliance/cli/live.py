"""wardpose run, stop, pause, resume, display, and the terminal UI."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from appliance.cli.asking import add_reason
from appliance.cli.output import Output, Told
from appliance.cli.values import any_words
from calibration.errors import WardposeError
from calibration.processes import process_identity

if TYPE_CHECKING:
    from appliance.client import ServiceClient
    from appliance.live.ownership import LiveLock
    from appliance.site.folder import SiteFolder

LIVE_WITHIN_SECONDS = 120.0
RETRYING_SECONDS = 15.0  # a camera that has not opened by then does not


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    run = commands.add_parser("run", parents=[common], help="run the live path in the foreground")
    run.add_argument("--source", help="camera (default: the site's)")
    run.add_argument("--detector", help="detector (default: the one that is live)")
    run.add_argument("--pose", help="pose model (default: the one that is live)")
    run.add_argument("--engine", help="inference engine, to be used or fail (default: the best that this box can run)")
    run.add_argument("--headless", action="store_true", help="without the display page")
    run.add_argument("--seconds", type=float, help="stop after so many seconds of live picture")
    run.add_argument(
        "--only",
        choices=("capture", "live", "display", "drift", "station"),
        help="be just this one process (for systemd)",
    )
    add_reason(run)
    run.set_defaults(run=run_live)
    display = commands.add_parser("display", parents=[common], help="serve the display page on this box's loopback")
    display.add_argument("--address", action="store_true", help="only say the page's address with its key")
    display.add_argument("--new-key", action="store_true", help="make a new key for the page and say its new address")
    display.set_defaults(run=show_display)
    stop = commands.add_parser("stop", parents=[common], help="end the live path, whoever started it")
    add_reason(stop)
    stop.set_defaults(run=stop_live)
    pause = commands.add_parser(
        "pause", parents=[common], help="look at nothing: no live picture, no recording, no calibration, until resume"
    )
    pause.add_argument("--reason", type=any_words, default="", help="why; every screen and the audit trail say it")
    pause.set_defaults(run=pause_site)
    resume = commands.add_parser("resume", parents=[common], help="lift the pause, whoever set it")
    add_reason(resume)
    resume.set_defaults(run=resume_site)


def open_terminal_ui(options: argparse.Namespace) -> int:
    from appliance.cli.streams import is_terminal
    from appliance.cli.watched import watched
    from appliance.site.folder import SiteFolder
    from calibration.errors import WardposeError

    if not is_terminal():
        raise WardposeError(
            "the terminal UI needs a terminal", mend="name a command, such as `wardpose status`; see `wardpose --help`"
        )
    site = SiteFolder.open(options.home)

    def show() -> int:
        from appliance.tui.app import run

        run(site)
        return 0

    return watched(show)


def run_live(options: argparse.Namespace, out: Output) -> int:
    from appliance.live import calibration_watch, outages, pauses, running
    from appliance.live.meter import LiveMeter, ring_status
    from appliance.live.plan import become, plan, process_specs
    from appliance.live.supervisor import Supervisor
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    if options.only:
        become(
            site, options.only, source=options.source, detector=options.detector, pose=options.pose,
            engine=options.engine,
        )  # fmt: skip
    running.require_free(site)
    if options.seconds is not None:
        pauses.switch(site).require_off()  # a measured run has nothing to measure
    wanted = plan(
        site, source=options.source, detector=options.detector, pose=options.pose, engine=options.engine,
        display=not options.headless,
    )  # fmt: skip
    watched = calibration_watch.process_spec(site, wanted.source)
    specs = process_specs(site, wanted) + ([watched] if watched else [])
    holding = running.begin(site, "foreground", asdict(wanted))
    service = _told_the_service(site, holding, options.reason)
    outages.note(site, "start", why="in a terminal")
    out.say(f"camera {wanted.source}, detector {wanted.detector}, pose {wanted.pose or 'none'}; Ctrl-C ends it")
    if wanted.display:
        from appliance.live.addresses import page_address

        out.say(Told(f"the page: {page_address(site)}"))
    supervisor = Supervisor(site, specs, on_restart=lambda name, why: outages.note(site, "restart", name, why))
    meter, watch, picture = (
        LiveMeter(site),
        calibration_watch.DriftMeter(site, writes=False),
        outages.PictureWatch(site),
    )
    switch = pauses.switch(site)
    supervisor.start()
    meter.start()
    watch.start()
    figures, live_since, told = meter.figures(), None, ("", 0.0)
    began, interrupted, why = time.monotonic(), False, "it could not go on"
    try:
        while live_since is None or options.seconds is None or time.monotonic() - live_since < options.seconds:
            time.sleep(0.2)
            figures, camera, held = meter.figures(), ring_status(site), switch.state()
            if held is not None:
                figures["state"] = "paused"
                if options.seconds is not None:
                    switch.require_off()
            picture.look(figures)
            if live_since is None and figures["state"] == "live":
                live_since = time.monotonic()
            if options.seconds is not None and live_since is None:
                _give_up_if_hopeless(supervisor, camera, time.monotonic() - began, wanted.source)
            line = f"{held.words()}; `wardpose resume` lifts it" if held else _line(figures, supervisor, camera)
            if (drifted := watch.figures())["state"] == "drifted":
                line += f"; {drifted['text']}: calibrate again"
            if figures["state"] == "live" and (unsure := figures["unsure"]) and unsure["words"]:
                line += f"; {unsure['words']}"
            told = _tell(out, line, told, lively=figures["state"] == "live")
        why = "it has run as long as it should"
    except KeyboardInterrupt:
        interrupted, why = True, "Ctrl-C, or `wardpose stop`"
    finally:
        verdict = watch.figures()
        supervisor.stop()
        meter.stop()
        watch.stop()
        _tell_the_end(service, why)
        holding.release()
    out.answer(
        {"ok": live_since is not None, "source": wanted.source, "detector": wanted.detector, "pose": wanted.pose}
        | figures
        | {"drift": verdict}
    )
    if interrupted and options.seconds is not None:
        raise KeyboardInterrupt
    return 0


def _told_the_service(site: SiteFolder, holding: LiveLock, reason: str) -> ServiceClient:
    """The service, which knows now that this process keeps the live path running, and stays as long as it is asked."""
    from appliance.client import ServiceClient

    try:
        service = ServiceClient.connect(site)
        service.call("live.began", process=process_identity(os.getpid()), reason=reason)
    except BaseException:
        holding.release()
        raise
    return service


def _tell_the_end(service: ServiceClient, reason: str) -> None:
    from appliance.client import NoService, ServiceClient

    ended = {"process": process_identity(os.getpid()), "reason": reason}
    with contextlib.suppress(WardposeError):  # it has ended all the same
        try:
            service.call("live.ended", **ended)
        except NoService:
            service = ServiceClient.connect(service.site)
            service.call("live.ended", **ended)
    service.close()


def stop_live(options: argparse.Namespace, out: Output) -> int:
    from appliance.client import NoService, ServiceClient
    from appliance.live import wish
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    try:
        with ServiceClient(site) as client:
            whose = str(client.stop_live(options.reason)["whose"])
    except NoService:  # none is started for this: it would begin by going on with what is to end
        whose = wish.end(site, options.reason)
    out.say(f"the live path has ended; {whose}" if whose else "nothing runs")
    out.answer({"ok": True, "stopped": bool(whose), "whose": whose})
    return 0


def pause_site(options: argparse.Namespace, out: Output) -> int:
    from appliance.client import ask_or_do
    from appliance.live import pauses

    site = pauses.site_at(options.home)

    def pause() -> dict[str, Any]:  # pausing wants nobody's help
        held = pauses.pause(site, options.reason)
        return {"ok": True, "paused": True} | held.to_dict()

    told = ask_or_do(site, "live.pause", pause, reason=options.reason)
    out.say(f"PAUSED {told['words'].removeprefix('paused ')}: nothing is looked at until `wardpose resume`")
    _tell_what_waits(site, out)
    out.answer(told)
    return 0


def resume_site(options: argparse.Namespace, out: Output) -> int:
    from appliance.client import ask_or_do
    from appliance.live import pauses

    site = pauses.site_at(options.home)

    def resume() -> dict[str, Any]:
        held = pauses.resume(site, options.reason)
        return {"ok": True, "paused": False, "was": held.to_dict() if held else None}

    told = ask_or_do(site, "live.resume", resume, reason=options.reason)
    out.say(f"resumed; it was {told['was']['words']}" if told["was"] else "it is not paused")
    _tell_what_waits(site, out)
    out.answer(told)
    return 0


def _tell_what_waits(site: SiteFolder, out: Output) -> None:
    from appliance.live import pauses
    from calibration.disk import look

    if pauses.switch(site).owes and (trouble := look(site.root)) is not None:
        out.say(f"its row in the audit trail is written when it can be: {trouble.words}")
    if pauses.switch(site).forgets:
        out.say("this disk takes no file, so the pause holds only until the box is started anew")


def _give_up_if_hopeless(supervisor: Any, camera: dict[str, Any], waited_s: float, source: str) -> None:
    """A measured run ends when no live picture will come; an open-ended one tries for ever."""
    if camera["state"] == "retrying" and waited_s > RETRYING_SECONDS:
        raise WardposeError(f"the camera fails: {camera['message']}", mend="see `wardpose camera probe`")
    for state in supervisor.states():
        if state.restarts >= 3:
            raise WardposeError(
                f"the {state.name} process keeps failing: {state.last_end}",
                where=source,
                mend="see its log in the site folder",
            )
    if waited_s > LIVE_WITHIN_SECONDS:
        why = camera["message"] or f"the camera is {camera['state']}"
        raise WardposeError(f"no live picture within {LIVE_WITHIN_SECONDS:.0f} s; {why}", where=source)


def _tell(out: Output, line: str, told: tuple[str, float], *, lively: bool) -> tuple[str, float]:
    """Say `line` when it is news: at once in trouble when it differs, and now and then while all is well."""
    pause = 2.0 if lively or line != told[0] else 30.0
    if time.monotonic() - told[1] < pause:
        return told
    out.say(line)
    return line, time.monotonic()


def _line(figures: dict[str, Any], supervisor: Any, camera: dict[str, Any]) -> str:
    if figures["state"] == "live":
        from runtime.state import not_this_bed, people_words

        pace = f"{figures['fps']:.1f} frames a second, {figures['p50_ms']:.0f} ms behind"
        state = not_this_bed(figures["origin"]) or "live"
        return f"{state}: {people_words(figures['people'])}, {pace}, on {figures['engine']}"
    failing = [f"{s.name}: {s.last_end or s.state}" for s in supervisor.states() if s.state != "running"]
    why = "; ".join(failing) or figures["message"] or camera["message"] or f"camera {camera['state']}"
    return f"{'starting' if figures['state'] == 'off' else figures['state']}: {why}"


def show_display(options: argparse.Namespace, out: Output) -> int:
    from appliance.live.addresses import page_address, page_key_file
    from appliance.live.plan import become
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    if options.new_key:
        from runtime.display.page_key import new_key

        new_key(page_key_file(site))
    address = page_address(site)
    if options.address or options.new_key:
        out.say(Told(address))
        if options.new_key:
            out.say("it holds as soon as the page is served anew, and the old one no longer")
        out.answer({"ok": True, "address": Told(address), "opener": str(page_key_file(site).with_suffix(".html"))})
        return 0
    out.say(Told(f"{address}  (whoever has this address may watch and pause)"))
    become(site, "display")
    return 0
