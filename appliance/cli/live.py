"""wardpose run, wardpose display, and the terminal UI."""

from __future__ import annotations

import argparse
import time
from typing import Any

from appliance.cli.output import Output

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
        "--only", choices=("capture", "live", "display", "drift"), help="be just this one process (for systemd)"
    )
    run.set_defaults(run=run_live)
    display = commands.add_parser("display", parents=[common], help="serve the display page on this box's loopback")
    display.set_defaults(run=show_display)


def open_terminal_ui(options: argparse.Namespace, out: Output) -> int:
    from appliance.site_folder import SiteFolder
    from appliance.tui.app import run

    run(SiteFolder.open(options.home))
    return 0


def run_live(options: argparse.Namespace, out: Output) -> int:
    from appliance import drift
    from appliance.client import ServiceClient
    from appliance.live import LiveMeter, become, plan, process_specs, ring_status
    from appliance.site_folder import SiteFolder
    from appliance.supervisor import Supervisor
    from calibration.errors import WardposeError

    site = SiteFolder.open(options.home)
    if options.only:
        become(
            site,
            options.only,
            source=options.source,
            detector=options.detector,
            pose=options.pose,
            engine=options.engine,
        )
    with ServiceClient(site) as client:
        if client.answers() and client.status()["live"]["plan"]:
            raise WardposeError(
                "the live path already runs", where=str(site.root), mend="stop it in the terminal UI first"
            )
    wanted = plan(
        site, source=options.source, detector=options.detector, pose=options.pose, engine=options.engine,
        display=not options.headless,
    )  # fmt: skip
    out.say(f"camera {wanted.source}, detector {wanted.detector}, pose {wanted.pose or 'none'}; Ctrl-C ends it")
    if wanted.display:
        from appliance.settings import load_settings

        out.say(f"the page: http://127.0.0.1:{load_settings(site).display.port}/")
    watched = drift.process_spec(site, wanted.source)
    specs = process_specs(site, wanted) + ([watched] if watched else [])
    supervisor, meter, watch = Supervisor(site, specs), LiveMeter(site), drift.DriftMeter(site)
    supervisor.start()
    meter.start()
    watch.start()
    figures, live_since, told = meter.figures(), None, ("", 0.0)
    began, interrupted = time.monotonic(), False
    try:
        while live_since is None or options.seconds is None or time.monotonic() - live_since < options.seconds:
            time.sleep(0.2)
            figures, camera = meter.figures(), ring_status(site)
            if live_since is None and figures["state"] == "live":
                live_since = time.monotonic()
            if options.seconds is not None and live_since is None:
                _give_up_if_hopeless(supervisor, camera, time.monotonic() - began, wanted.source)
            line = _line(figures, supervisor, camera)
            if (drifted := watch.figures())["state"] == "drifted":
                line += f"; {drifted['text']}: calibrate again"
            told = _tell(out, line, told, lively=figures["state"] == "live")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        verdict = watch.figures()
        supervisor.stop()
        meter.stop()
        watch.stop()
    out.answer(
        {"ok": live_since is not None, "source": wanted.source, "detector": wanted.detector, "pose": wanted.pose}
        | figures
        | {"drift": verdict}
    )
    if interrupted and options.seconds is not None:
        raise KeyboardInterrupt
    return 0


def _give_up_if_hopeless(supervisor: Any, camera: dict[str, Any], waited_s: float, source: str) -> None:
    """A measured run ends when no live picture will come; an open-ended one tries for ever."""
    from calibration.errors import WardposeError

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
        people = f"{figures['people']} {'person' if figures['people'] == 1 else 'people'}"
        pace = f"{figures['fps']:.1f} frames a second, {figures['p50_ms']:.0f} ms behind"
        return f"live: {people}, {pace}, on {figures['engine']}"
    failing = [f"{s.name}: {s.last_end or s.state}" for s in supervisor.states() if s.state != "running"]
    why = "; ".join(failing) or figures["message"] or camera["message"] or f"camera {camera['state']}"
    return f"{'starting' if figures['state'] == 'off' else figures['state']}: {why}"


def show_display(options: argparse.Namespace, out: Output) -> int:
    from appliance.live import become
    from appliance.settings import load_settings
    from appliance.site_folder import SiteFolder

    site = SiteFolder.open(options.home)
    out.say(f"http://127.0.0.1:{load_settings(site).display.port}/")
    become(site, "display")
    return 0
