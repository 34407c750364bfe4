"""Using a model of the site: exported where need be, opened on this box's best engine, scored on labelled pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.models import scored
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    from runtime.detect import PersonDetector
    from runtime.pose import PoseEstimator
    from tuning.evaluate.keypoints import KeypointFigures
    from tuning.evaluate.report import Evaluation
    from tuning.export import ExportReport


def score(
    site: SiteFolder,
    name: str,
    data: Path,
    images: str | Path | None,
    progress: Progress,
    *,
    pose: str | None = None,
    boxes: str = "detected",
    turn_deg: int = 0,
    width: int | None = None,
    height: int | None = None,
) -> Evaluation:
    """Evaluate the detector `name` (exported first where need be), with the pose model `pose` behind it if given.

    width, height: of the detector's input; another than the model's own is exported for this once. Whether a doubtful
    box shows a person is asked, as live, of `pose`, else of the pose model in use. What was found before for the same
    question is not found anew.
    """
    from tuning.coco_folder import read_people
    from tuning.evaluate.report import Evaluation, evaluate_detector, open_for_evaluation
    from tuning.export import export_onnx

    require_task(site, name, "detect")
    if boxes not in ("truth", "detected"):
        raise WardposeError(f"boxes {boxes!r} are not known", where="evaluate", mend="give truth or detected")
    estimator = None if pose is None else open_pose(site, pose, progress)
    store = ModelStore(site)
    card = store.card(name)
    folder = Path(images) if images else None
    pictures = read_people(data, folder)
    with tempfile.TemporaryDirectory(prefix="wardpose-evaluate-") as once:
        own = (width or card.width, height or card.height) == (card.width, card.height)
        onnx = exported(site, name, progress) if own else Path(once) / "model.onnx"
        if not own:
            export_onnx(store.folder(name), onnx, width=width, height=height)
        detector = open_for_evaluation(onnx)
        models = {"detect": (onnx, detector.engine)}
        beside = store.live("pose") if pose is None else pose
        witness = estimator if pose is not None or not beside else open_pose(site, beside, progress)
        if witness is not None:
            models |= {"pose": (exported(site, beside), witness.engine)}
        asked = scored.question(models, data, pictures, {"turn": turn_deg} | ({} if pose is None else {"boxes": boxes}))
        if (known := scored.kept(site, asked, Evaluation)) is not None:
            progress(len(pictures), len(pictures), scored.TOLD)
            return known
        found = evaluate_detector(
            detector, data, folder, progress, pose=estimator, boxes="truth" if boxes == "truth" else "detected",
            turn_deg=turn_deg, info=detector.engine.info, witness=witness,
        )  # fmt: skip
    scored.keep(site, asked, found)
    return found


def score_pose(
    site: SiteFolder, name: str, data: Path, images: str | Path | None, progress: Progress, *, turn_deg: int = 0
) -> KeypointFigures:
    """Evaluate the pose model `name` alone, on the true boxes. What was found before is not found anew."""
    from tuning.coco_folder import read_people
    from tuning.evaluate.keypoints import KeypointFigures
    from tuning.evaluate.report import evaluate_pose

    estimator = open_pose(site, name, progress)
    folder = Path(images) if images else None
    models = {"pose": (exported(site, name), estimator.engine)}
    asked = scored.question(models, data, read_people(data, folder), {"turn": turn_deg})
    if (known := scored.kept(site, asked, KeypointFigures)) is not None:
        progress(known.images, known.images, scored.TOLD)
        return known
    found = evaluate_pose(estimator, data, folder, progress, turn_deg=turn_deg)
    scored.keep(site, asked, found)
    return found


def export_checked(
    site: SiteFolder,
    name: str,
    progress: Progress,
    *,
    width: int | None = None,
    height: int | None = None,
    pictures: Sequence[Path] = (),
) -> ExportReport:
    """Export a model into the site and keep the comparison with the trained one beside it."""
    from tuning.export import export_onnx

    store = ModelStore(site)
    store.verify(name)
    report = export_onnx(
        store.folder(name), store.export_path(name), width=width, height=height, pictures=pictures, progress=progress
    )
    store.record_export(name, report.model_dump())
    return report


def open_detector(site: SiteFolder, name: str, *, confidence: float | None = None) -> PersonDetector:
    """The detector `name`, exported first where need be, on the best engine of this box."""
    from runtime.detect import PersonDetector
    from runtime.engines.engine import open_engine

    require_task(site, name, "detect")
    return PersonDetector(open_engine(exported(site, name)), confidence=confidence)


def open_pose(site: SiteFolder, name: str, progress: Progress = lambda done, total, note: None) -> PoseEstimator:
    """The pose model `name`, exported first where need be, on the best engine of this box."""
    from runtime.engines.engine import open_engine
    from runtime.pose import PoseEstimator

    require_task(site, name, "pose")
    return PoseEstimator(open_engine(exported(site, name, progress)))


def require_task(site: SiteFolder, name: str, task: str) -> None:
    """Raise `WardposeError` unless the model `name` is for `task`."""
    found = ModelStore(site).card(name).task
    if found != task:
        kinds = {"detect": "detector", "pose": "pose model"}
        raise WardposeError(f"{name} is a {kinds[found]}, not a {kinds[task]}", mend="see `wardpose models list`")


def exported(site: SiteFolder, name: str, progress: Progress = lambda done, total, note: None) -> Path:
    """The ONNX file of a model, made now when there is none of its present weights."""
    store = ModelStore(site)
    if store.onnx(name) is None:
        export_checked(site, name, progress)
    path = store.onnx(name)
    assert path is not None
    return path
