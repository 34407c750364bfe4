"""What the gate measures of a candidate on this box, beside its scores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.models.store import ModelStore
from appliance.models.use import exported
from appliance.site.folder import SiteFolder
from calibration.progress import Progress

if TYPE_CHECKING:
    from runtime.engines.engine import InferenceEngine
    from tuning.coco_folder import Picture
    from tuning.gate.probe import Likeness, Rate
    from tuning.gate.verdict import Probed

Confidence = tuple[float | None, float | None, int]


def probe(
    site: SiteFolder, name: str, current: str, pictures: Sequence[Picture], progress: Progress, *, leaked: int | None,
    confidence: Confidence = (None, None, 0),
) -> Probed:  # fmt: skip
    """Probe the candidate `name` on the pictures it is judged by; current: the model in use, empty where there is
    none; leaked: what is known of the pictures that the candidate was trained on (see `Probed`); confidence: its
    joints' expected calibration error, the current model's, and over how many joints."""
    from runtime.capture.photograph import read_photograph
    from runtime.engines.engine import open_engine
    from tuning.gate.probe import PROBE_FRAMES, answers_finite
    from tuning.gate.verdict import Probed

    shown = [picture for picture in pictures if len(picture.ids)][:PROBE_FRAMES]
    frames = [read_photograph(picture.path) for picture in shown]
    progress(0, 2, "the exported engine on probe frames")
    finite = answers_finite(open_engine(exported(site, name)), frames)
    likenesses = _likenesses(site, name, shown, frames)
    progress(1, 2, "the frame rate on this box")
    rate = _rate(site, name, current, frames) if current else None
    progress(2, 2, "probed")
    return Probed(likenesses, rate, *confidence, leaked, finite)


def _likenesses(site: SiteFolder, name: str, shown: Sequence[Picture], frames: Sequence[Any]) -> list[Likeness]:
    """Of the engine that would run live to ONNX Runtime on the processor, where it is another, and to the model as it
    was trained, where its family trains in another form than it exports."""
    import numpy as np

    from runtime.detect import letterbox
    from runtime.engines.engine import REFERENCE, open_engine
    from tuning.families.family import SlowReference, family_of, nobody_asked
    from tuning.gate.probe import TrainedEngine

    store, card = ModelStore(site), ModelStore(site).card(name)
    engine = open_engine(exported(site, name))
    others: list[tuple[InferenceEngine, str]] = []
    if engine.name != REFERENCE:
        others.append((open_engine(exported(site, name), prefer=REFERENCE), f"on {REFERENCE}"))
    with tempfile.TemporaryDirectory(prefix="wardpose-probe-") as folder:
        if card.format != "onnx":
            draft = Path(folder) / "model.onnx"
            reference = family_of(card).export(store.folder(name), card, draft, engine.info.width, engine.info.height)
            if isinstance(reference, SlowReference) and card.task == "detect":
                reference.ask(np.concatenate([letterbox(color, engine.info)[0] for color in frames]))
            if reference is not None and reference is not nobody_asked:
                others.append((TrainedEngine(reference, engine), "as it was trained"))
        return [_likeness(card.task, engine, other, shown, frames, against) for other, against in others]


def _likeness(
    task: str, engine: InferenceEngine, other: InferenceEngine, shown: Sequence[Picture], frames: Sequence[Any],
    against: str,
) -> Likeness:  # fmt: skip
    import numpy as np

    from runtime.detect import PersonDetector
    from runtime.detections import Detections
    from runtime.pose import PoseEstimator
    from tuning.gate.probe import same_boxes, same_joints

    if task == "detect":
        one, two = (PersonDetector(each, confidence=0.1) for each in (engine, other))
        return same_boxes(one.detect, two.detect, frames, against)
    people = [Detections(p.boxes.astype(np.float32), np.ones(len(p.ids), np.float32)) for p in shown]
    first, second = PoseEstimator(engine), PoseEstimator(other)
    return same_joints(first.estimate, second.estimate, frames, people, against)


def _rate(site: SiteFolder, name: str, current: str, frames: Sequence[Any]) -> Rate:
    from tuning.gate.probe import measured_rate

    task = ModelStore(site).card(name).task
    return measured_rate(_live_path(site, name, task), _live_path(site, current, task), frames)


def _live_path(site: SiteFolder, name: str, task: str) -> Callable[[Any], object]:
    """What the live path does with a frame, with the model `name` for `task` and the live one for the other."""
    from runtime.frames import Frame
    from runtime.pipeline import LivePipeline

    store = ModelStore(site)
    models = {"detect": store.live("detect"), "pose": store.live("pose")} | {task: name}
    pipeline = LivePipeline.open(
        exported(site, models["detect"]), exported(site, models["pose"]) if models["pose"] else None
    )
    numbers = iter(range(1_000_000_000))

    def work(color: Any) -> object:
        number = next(numbers)
        return pipeline.process(Frame(color, number / 30, number, "probe"))

    return work
