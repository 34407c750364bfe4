"""The live path of this site: what runs live, and which processes it is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.live import calibration_watch, outages, ownership
from appliance.live.addresses import (
    calibration_in_use,
    page_key_file,
    result_socket,
    ring_name,
    service_socket,
    write_calibration_in_use,
)
from appliance.live.supervisor import ProcessSpec
from appliance.models.store import ModelStore
from appliance.site import calibrations
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.settings import load_settings
from calibration.errors import WardposeError
from calibration.processes import die_with_parent

EXPORT_SECONDS = 600.0
UNSURENESS_FILE = "unsureness.json"


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What runs live. `detector` and `pose` are models' names; no pose model: boxes only. engine: the inference engine
    to use or fail; None: the best that qualifies."""

    source: str
    detector: str
    pose: str | None
    display: bool = True
    engine: str | None = None


def plan(
    site: SiteFolder,
    *,
    source: str | None = None,
    detector: str | None = None,
    pose: str | None = None,
    display: bool = True,
    engine: str | None = None,
) -> LivePlan:
    """What the settings and the promoted models say, with what was asked for in their place.

    A pose model that nobody asked for and that isn't there is left out; everything else must exist.
    """
    from runtime.capture.secrets import keep
    from runtime.capture.source import check_spec

    settings, store = load_settings(site), ModelStore(site)
    # A password is kept apart from here on: what runs is named by settings, processes and audit rows alike.
    source = keep(site.secrets_file, source) if source else settings.camera.source
    check_spec(source)  # a spec that can't be right is told here, not in a log
    detector = detector or settings.live.detector or store.live("detect")
    if store.card(detector).task != "detect":
        raise WardposeError(f"{detector} is no detector", mend="see `wardpose models list`")
    asked = pose or settings.live.pose
    chosen = asked or store.live("pose")
    try:
        if chosen and store.card(chosen).task != "pose":
            raise WardposeError(f"{chosen} is no pose model", mend="see `wardpose models list`")
    except WardposeError:
        if asked:
            raise
        chosen = ""
    return LivePlan(source, detector, chosen or None, display, engine or settings.live.engine or None)


def process_command(site: SiteFolder, name: str, live: LivePlan) -> list[str]:
    """The command line of one of the live processes: `capture`, `live` or `display`."""
    python, socket = [sys.executable, "-m"], str(result_socket(site))
    pause = ["--pause-file", str(site.pause_file)]
    if name == "capture":
        secrets = ["--secrets", str(site.secrets_file)]
        command = [*python, "runtime.capture.process", "--source", live.source, *secrets]
        return [*command, "--ring", ring_name(site), *pause]
    if name == "live":
        command = [*python, "runtime.live", "--ring", ring_name(site), "--socket", socket, *pause]
        command += ["--detector", str(model_file(site, live.detector))]
        command += ["--pose", str(model_file(site, live.pose))] if live.pose else []
        command += ["--engine", live.engine] if live.engine else []
        command += ["--engines", str(site.engines), "--unsureness", str(site.root / UNSURENESS_FILE)]
        newest = newest_images(site)
        command += ["--pictures", str(newest)] if newest is not None else []
        return command + _bed(site, live.source)
    if name == "display":
        display = load_settings(site).display
        command = [*python, "runtime.display.service", "--socket", socket, "--port", str(display.port), *pause]
        command += ["--service", str(service_socket(site)), "--key-file", str(page_key_file(site))]
        command += ["--pins-file", str(site.pins_file)]
        return [*command, "--language", display.language, *page_bed(site, live.source)]
    raise WardposeError(f"no process is called {name!r}", mend="choose capture, live or display")


def newest_images(site: SiteFolder) -> Path | None:
    """The pictures of the site's newest training set, on which engines are tried; None where it has none."""
    folders = (path / "images" for path in site.datasets.glob("*") if not path.name.startswith("held-out"))
    return max((path for path in folders if path.is_dir()), key=lambda path: path.stat().st_mtime, default=None)


def _bed(site: SiteFolder, source: str) -> list[str]:
    """Where the bed is in this camera's picture, which tells how somebody lies; nothing for another camera's frames."""
    row = calibrations.current_row(site)
    if row is None or source != load_settings(site).camera.source:
        return []
    return ["--calibration", str(site.resolve(row.file))]


def page_bed(site: SiteFolder, source: str) -> list[str]:
    """The bed that a page draws: of whichever calibration is in use; nothing for another camera's frames."""
    if source != load_settings(site).camera.source:
        return []
    write_calibration_in_use(site)
    return ["--calibration", str(calibration_in_use(site))]


def process_specs(site: SiteFolder, live: LivePlan) -> list[ProcessSpec]:
    """The live path's processes in the order they start; models that were not exported yet are exported first."""
    names = ["capture", "live", *(["display"] if live.display else [])]
    store = ModelStore(site)
    promoted = {"detector": live.detector == store.live("detect"), "pose": live.pose == (store.live("pose") or None)}

    def again() -> tuple[str, ...]:
        """As it would be started now: where the plan was for the promoted models, with those promoted since."""
        detector = store.live("detect") if promoted["detector"] else live.detector
        pose = store.live("pose") or None if promoted["pose"] else live.pose
        return tuple(process_command(site, "live", replace(live, detector=detector, pose=pose)))

    return [
        ProcessSpec(name, tuple(process_command(site, name, live)), again=again if name == "live" else None)
        for name in names
    ]


def become(site: SiteFolder, name: str, **asked: str | None) -> None:
    """Turn this process into one of the live path's (systemd starts them so); returns only by raising.

    asked: `source`, `detector`, `pose`, `engine` as for `plan`. A model is looked for only where it is needed. Raises
    `WardposeError` where somebody else keeps this site's live path running; a page alone may be served beside it.
    """
    from runtime.capture.secrets import keep

    if name not in ("display", "station"):
        ownership.share(site)
    if os.environ.get("INVOCATION_ID"):
        outages.note(site, "start", name, "by systemd")
    if name == "station":
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-m", "appliance.station_view", "--home", str(site.root)])
    if name == "drift":
        calibration_watch.watch(site)
        raise SystemExit
    if name == "live":
        command = process_command(site, name, plan(site, **asked))  # type: ignore[arg-type]
    else:
        asked_for = asked.get("source")
        source = keep(site.secrets_file, asked_for) if asked_for else load_settings(site).camera.source
        live = LivePlan(source, "", None)
        command = process_command(site, name, live)
    os.chdir(REPOSITORY)
    os.execv(command[0], command)


def model_file(site: SiteFolder, name: str) -> Path:
    """The model's ONNX file; made in a process of its own, so that torch's gigabyte does not stay with the caller."""
    store = ModelStore(site)
    store.verify(name)
    if (path := store.onnx(name)) is None:
        command = [sys.executable, "-m", "appliance", "export", "--model", name, "--home", str(site.root)]
        ended = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=EXPORT_SECONDS, check=False,
            preexec_fn=die_with_parent(),
        )  # fmt: skip
        path = store.onnx(name)
        if ended.returncode or path is None:
            lines = ended.stderr.strip().splitlines()
            raise WardposeError(lines[-1].removeprefix("wardpose: ") if lines else "the export failed", where=name)
    return path
