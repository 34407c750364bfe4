"""The whole way on the simulated ward: camera, calibration, synthesis, tuning, evaluation, export, live.

Everything is done by the functions behind the commands, in a site of its own (`demo` in the site folder), so that a
real site's calibration and models are never touched. A demo that was interrupted goes on where it stopped; one that
was finished starts afresh.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.demo.pictures import before_and_after, live_pictures
from appliance.demo.report import answer_of, tell
from appliance.site.folder import SiteFolder
from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress

if TYPE_CHECKING:
    from appliance.demo.teller import Teller


IMAGES = 400
HELD_OUT = 48
SEED = 7
LIVE_SECONDS = 10.0
LIVE_PATIENCE_SECONDS = 90.0
SOURCE = "simulated:ward"
TUNED = {"detect": "demo-detector", "pose": "demo-pose"}


@dataclass
class Journal:
    """The finished stages of one demo with their seconds and results, kept in a file after each."""

    path: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Journal:
        try:
            stages = parse_json(path.read_text())
        except (FileNotFoundError, ValueError):
            stages = {}
        return cls(path, stages if isinstance(stages, dict) else {})

    def keep(self, name: str, seconds: float, result: dict[str, Any]) -> None:
        self.stages[name] = {"seconds": seconds, "result": result}
        write_text(self.path, json.dumps(self.stages, default=str))


@dataclass(frozen=True)
class Stage:
    """One step of the way. kept: an interrupted demo need not do it again."""

    name: str
    title: str
    run: Callable[[SiteFolder, dict[str, dict[str, Any]], Progress], dict[str, Any]]
    kept: bool = True


def run_demo(site: SiteFolder, *, out: Teller) -> dict[str, Any]:
    """Go the whole way; the answer has the keys that `wardpose demo --json` promises.

    Raises `WardposeError` naming the stage that failed; what was finished is kept for the next run.
    """
    home = site.root / "demo"
    if (home / "finished").exists():
        shutil.rmtree(home)
    demo = SiteFolder.open(home)
    journal = Journal.open(home / "journal.json")
    figures: list[dict[str, Any]] = []
    results: dict[str, dict[str, Any]] = {}
    for number, stage in enumerate(STAGES, start=1):
        if stage.kept and stage.name in journal.stages:
            done = journal.stages[stage.name]
            out.say(f"{number}/{len(STAGES)} {stage.title}: kept from the run that was interrupted")
            results[stage.name] = done["result"]
            figures.append({"name": stage.name, "seconds": done["seconds"], "ok": True})
            continue
        begin = time.monotonic()
        try:
            with out.progress(f"{number}/{len(STAGES)} {stage.title}") as progress:
                results[stage.name] = stage.run(demo, results, progress)
        except WardposeError as error:
            raise WardposeError(
                error.what,
                where=f"stage {stage.name}" + (f": {error.where}" if error.where else ""),
                mend=error.mend or "run `wardpose demo` again; it goes on from here",
                exit_code=error.exit_code,
            ) from error
        seconds = time.monotonic() - begin
        figures.append({"name": stage.name, "seconds": round(seconds, 2), "ok": True})
        journal.keep(stage.name, round(seconds, 2), results[stage.name])
    (home / "finished").touch()
    answer = answer_of(figures, results)
    tell(out, answer, results, {stage.name: stage.title for stage in STAGES})
    return answer


def look(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """Open the camera as any other and read from it."""
    from appliance.box import cameras

    progress(0, 1, "waiting for the first frame")
    seen = cameras.probe(site, SOURCE, seconds=2.0)
    progress(1, 1, f"{seen['width']}×{seen['height']}, depth {seen['depth']}")
    return seen


def calibrate(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """From the tag sheet on the mattress, then held against the simulated ward's own truth."""
    import numpy as np

    from appliance.bedside.calibrate import calibrate_tags
    from appliance.site import calibrations
    from runtime.capture.abilities import KnowsTruth
    from runtime.capture.source import ability_of

    estimate = calibrate_tags(site, source=SOURCE, progress=progress)
    # At a real bedside a person confirms head and foot; the simulated ward knows them.
    row = calibrations.confirm(site, calibrations.keep(site, estimate).id)
    ward = ability_of(SOURCE, KnowsTruth)
    assert ward is not None
    truth = ward.true_calibration().camera_from_bed
    found = estimate.camera_from_bed
    turn = found[:3, :3] @ truth[:3, :3].T
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in (found, truth)]
    view = calibrations.load(site, row).viewpoint
    return {
        "azimuth_deg": view.azimuth_deg,
        "elevation_deg": view.elevation_deg,
        "distance_m": view.distance,
        "reprojection_px": estimate.reprojection_px,
        "rotation_error_deg": float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))),
        "camera_error_mm": float(1e3 * np.linalg.norm(centres[0] - centres[1])),
    }


def synthesise(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """Training images for exactly this viewpoint."""
    from appliance.jobs import kinds

    return kinds.synthesise(site, {"scenario": "site", "count": IMAGES, "seed": SEED}, progress)


def hold_out(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """Labelled frames of the simulated ward itself, which no training image comes from."""
    from appliance.jobs import datasets

    annotations = datasets.held_out(site, progress, count=HELD_OUT, source=SOURCE)
    made = parse_json(annotations.read_bytes())
    return {"folder": str(annotations.parent), "images": len(made["images"]), "people": len(made["annotations"])}


def evaluate_base(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """Detector and pose model as the box starts with them, together."""
    return _evaluate(site, {task: _base(site, task) for task in TUNED}, results, progress)


def tune_detector(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    return _tune(site, "detect", results, progress)


def tune_pose(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    return _tune(site, "pose", results, progress)


def export(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """ONNX, held against the trained model; a graph that was trained as it is has nothing to differ from."""
    from appliance.jobs import kinds

    found = [kinds.export(site, {"model": TUNED[task]}, progress) for task in _tuned(results)]
    return {"max_error": max((result.get("max_error", 0.0) for result in found), default=0.0)}


def evaluate_tuned(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    return _evaluate(site, {task: TUNED[task] for task in _tuned(results)}, results, progress)


def promote(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """The gate decides by the held-out frames, each model by itself; what it refuses is not shown live."""
    from appliance.jobs import kinds

    data = str(_held_out_file(results))
    return {task: kinds.promote(site, {"model": TUNED[task], "data": data}, progress) for task in _tuned(results)}


def go_live(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """Capture, runtime and display as processes of their own, on the simulated camera."""
    from appliance.client import ServiceClient

    with ServiceClient.connect(site) as service:
        try:
            progress(0, int(LIVE_SECONDS), "starting capture and the live path")
            service.call("live.start", source=SOURCE, display=False, reason="the demo shows it")
            figures = _watch(site, service, progress)
        finally:
            with contextlib.suppress(WardposeError):
                service.call("live.stop", reason="the demo ends")
                service.call("stop")
    return figures


def draw(site: SiteFolder, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """The pictures a person looks at."""
    from synth.contact_sheet import contact_sheet

    sheet = contact_sheet(Path(results["synth"]["out"]), site.pictures / "training-images.png", count=24)
    progress(1, 2, "training images")
    before, after = (
        {task: name for task, name in results[stage]["models"].items() if name} for stage in ("before", "after")
    )
    compared = before_and_after(site, before, after, _held_out_file(results), site.pictures / "before-after.png")
    progress(2, 2, "before and after")
    return {"pictures": [str(sheet), str(compared), *results["live"]["pictures"]]}


STAGES = (
    Stage("camera", "frames from the simulated Kinect", look),
    Stage("calibrate", "calibration from the tag sheet", calibrate),
    Stage("synth", f"{IMAGES} training images for this viewpoint", synthesise),
    Stage("held-out", f"{HELD_OUT} held-out frames of this ward", hold_out),
    Stage("before", "evaluation before", evaluate_base),
    Stage("tune", "tuning the detector", tune_detector),
    Stage("tune-pose", "tuning the pose model", tune_pose),
    Stage("export", "ONNX export, checked", export),
    Stage("after", "evaluation after", evaluate_tuned),
    Stage("gate", "promotion gate", promote),
    Stage("live", "live pipeline", go_live, kept=False),
    Stage("pictures", "pictures", draw, kept=False),
)


def _base(site: SiteFolder, task: str) -> str:
    """What the box starts with; empty where it has no pose model."""
    from appliance.models.store import ModelStore

    return ModelStore(site).start(task)


def _tuned(results: dict[str, dict[str, Any]]) -> list[str]:
    """The tasks a model was tuned for."""
    return [task for task, stage in (("detect", "tune"), ("pose", "tune-pose")) if results[stage].get("model")]


def _tune(site: SiteFolder, task: str, results: dict[str, dict[str, Any]], progress: Progress) -> dict[str, Any]:
    from appliance.jobs import kinds

    base = _base(site, task)
    if not base:
        return {"model": ""}
    shutil.rmtree(site.models / TUNED[task], ignore_errors=True)  # what an interrupted run left
    return kinds.tune(site, {"model": base, "data": results["synth"]["out"], "name": TUNED[task]}, progress)


def _evaluate(
    site: SiteFolder, models: dict[str, str], results: dict[str, dict[str, Any]], progress: Progress
) -> dict[str, Any]:
    """The detector's figures, and those of the skeletons in the boxes it finds."""
    from appliance.jobs import kinds

    pose = {"keypoints": True, "pose": models["pose"]} if models.get("pose") else {}
    found = kinds.evaluate(site, {"model": models["detect"], "data": str(_held_out_file(results)), **pose}, progress)
    return found | {"models": models}


def _held_out_file(results: dict[str, dict[str, Any]]) -> Path:
    return Path(results["held-out"]["folder"]) / "annotations.json"


def _watch(site: SiteFolder, service: Any, progress: Progress) -> dict[str, Any]:
    """Let the live path run for a while; its figures, and two pictures of one moment with somebody in it."""
    from appliance.live.addresses import result_socket, ring_name
    from runtime.bus import ResultClient
    from runtime.capture.ring import RingReader

    patience, began = time.monotonic() + LIVE_PATIENCE_SECONDS, None
    best: tuple[float, Any, dict[str, Any]] | None = None
    reader: RingReader | None = None
    client = ResultClient(result_socket(site))
    while began is None or time.monotonic() - began < LIVE_SECONDS:
        status = service.call("status")
        live = status["live"]
        if live["state"] != "live":
            if time.monotonic() > patience:
                troubles = [f"{p['name']}: {p['last_end'] or p['state']}" for p in status["processes"]]
                raise WardposeError(
                    f"the live path shows nothing ({live['state']} {live['message']}); {', '.join(troubles)}",
                    where="live",
                    mend=f"see {site.logs}",
                )
            time.sleep(0.3)
            continue
        began = began or time.monotonic()
        progress(int(time.monotonic() - began), int(LIVE_SECONDS), f"{live['fps']:.1f} frames/s on {live['engine']}")
        with contextlib.suppress(WardposeError):
            reader = reader or RingReader(ring_name(site))
            frame = reader.read_latest()
            message = client.latest(timeout_s=0.5)
            if message["state"] == "live" and abs(message["frame_index"] - frame.index) <= 1 and message["people"]:
                worth = max(sum(k[2] for k in person["keypoints"]) + person["score"] for person in message["people"])
                if best is None or worth > best[0]:
                    best = (worth, frame, message)
        time.sleep(0.4)
    progress(int(LIVE_SECONDS), int(LIVE_SECONDS), f"{live['fps']:.1f} frames/s on {live['engine']}")
    figures = {key: live[key] for key in ("fps", "p50_ms", "p99_ms", "engine", "frames")}
    return figures | {"pictures": live_pictures(site, best)}
