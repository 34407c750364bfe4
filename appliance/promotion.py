"""The gate as the site sees it: a model goes live only when it proves better than the one in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import calibrations
from appliance.models import ModelStore
from appliance.settings import load_settings
from appliance.site_folder import SiteFolder
from calibration.errors import WardposeError

if TYPE_CHECKING:
    from tuning.export import ExportReport

Progress = Callable[[int, int, str], None]
HELD_OUT_IMAGES = 100
HELD_OUT_SEED = 2_000_000_011  # far from any seed a person would train with


def decide(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Judge the detector `model` on held-out pictures and put it live if it passes; the decision is kept either way.

    Parameters: model; data and images (held-out pictures; default: simulated ones of this site); upright (a COCO file
    on which it must not get worse). Returns `{ok, model, accepted, reasons, live, before, after}`.
    """
    from appliance.work import require_task, score
    from tuning.gate import judge

    store = ModelStore(site)
    name = str(parameters["model"])
    require_task(site, name, "detect")  # a pose model's gate is still to come
    current = store.opponent(name)
    if name == current:
        raise WardposeError(f"{name} has no other model to be better than", mend="see `wardpose models list`")
    store.verify(name)
    if parameters.get("data"):
        target, images = Path(parameters["data"]), parameters.get("images")
    else:
        target, images = held_out(site, progress), None
    sets: dict[str, tuple[Path, Any]] = {"this bedside": (target, images)}
    if parameters.get("upright"):
        sets["upright"] = (Path(parameters["upright"]), None)
    report = _export_report(site, name, progress)
    after = {label: score(site, name, data, folder, progress) for label, (data, folder) in sets.items()}
    before = {label: score(site, current, data, folder, progress) for label, (data, folder) in sets.items()}
    verdict = judge(after, before, report, target="this bedside")
    figures = {
        "before": before["this bedside"].figures(),
        "after": after["this bedside"].figures(),
    }
    store.record_promotion(name, accepted=verdict.passed, reasons={"reasons": verdict.reasons, **figures})
    return {
        "ok": verdict.passed,
        "model": name,
        "accepted": verdict.passed,
        "reasons": verdict.reasons,
        "live": store.live("detect"),
        **figures,
    }


def held_out(site: SiteFolder, progress: Progress, *, count: int = HELD_OUT_IMAGES) -> Path:
    """The annotations of simulated pictures of this site that no training has seen, made once and kept.

    On the simulated camera they are frames of its own ward; elsewhere they come from the calibrated viewpoint.
    """
    source = load_settings(site).camera.source
    if source.partition(":")[0] == "simulated":
        from synth.simulated_camera import SimulatedCamera

        out = site.datasets / "held-out-simulated"
        camera = SimulatedCamera.from_argument(source.partition(":")[2])
        camera.write_held_out(out, count, resume=True, progress=progress)
    else:
        from synth.dataset import DatasetSpec, make_dataset
        from synth.scenario import site_scenario

        row = calibrations.current_row(site)
        estimate = calibrations.current(site)
        out = site.datasets / f"held-out-{row.id if row else 0}"
        spec = DatasetSpec(scenario=site_scenario(estimate), count=count, seed=HELD_OUT_SEED)
        make_dataset(spec, out, resume=True, progress=progress)
    return out / "annotations.json"


def _export_report(site: SiteFolder, name: str, progress: Progress) -> ExportReport:
    from appliance.work import export_checked
    from tuning.export import ExportReport

    store = ModelStore(site)
    card = store.card(name)
    if card.format != "onnx":
        return export_checked(site, name, progress)
    # An imported ONNX file is itself the model: there is nothing it could differ from.
    return ExportReport(
        path=str(store.onnx(name)), sha256=card.sha256, layout=card.layout, width=card.width, height=card.height,
        pictures=0, inputs="the model is the file", max_error=0.0, tolerance=1e-3,
    )  # fmt: skip
