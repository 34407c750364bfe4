"""The models of the paper in their whole size, one after the other: built, tuned a step, exported, read.

Weights are random: what is shown is that each goes through, how long it takes and how well its file agrees.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.codecs import decode_heatmap_dark, decode_heatmap_udp
from runtime.detector_layouts import decode_boxes
from runtime.engines.engine import probe_batch
from runtime.engines.onnx_engine import OnnxEngine
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import load_scenario
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.import_model import build_model, import_model
from tuning.store.card import ModelCard

_IMAGES = 2


@dataclass(frozen=True, slots=True)
class Whole:
    """A model in its whole size. width, height: of its input, pixels. step: whether a step of it is trained; those of
    several hundred million parameters want more memory for that than a box without a GPU has."""

    width: int
    height: int
    step: bool = True


WHOLE: Mapping[str, Whole] = {
    "yolov6l": Whole(640, 384),
    "yolov6l6": Whole(1280, 768, step=False),
    "hrnet-w32-udp": Whole(192, 256),
    "hrnet-w32-dark": Whole(192, 256),
    "hrnet-w48-udp": Whole(192, 256),
    "hrnet-w48-dark": Whole(192, 256),
    "vitpose-b": Whole(192, 256),
    "vitpose-l": Whole(192, 256, step=False),
    "vitpose-h": Whole(192, 256, step=False),
}


def run(
    names: Sequence[str] = (), *, threads: int | None = None, work: Path | None = None, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Figures of each model by its name, default all of `WHOLE`: seconds to build it, of one step of two pictures, to
    export and for one answer; the largest error of the export and of its decoding; what its file takes.

    threads: of training and of answering. work: a folder for the models, each of which is deleted when it was measured.
    """
    for name in names:
        if name not in WHOLE:
            raise WardposeError(
                f"no model of the paper is called {name!r}", where="bench families", mend=f"one of: {', '.join(WHOLE)}"
            )
    found = {}
    with tempfile.TemporaryDirectory(prefix="wardpose-families-", dir=work) as place:
        folder = Path(place)
        chosen = names or tuple(WHOLE)
        data = folder / "data"
        if any(WHOLE[name].step for name in chosen):
            shown = load_scenario("B").model_copy(
                update={"patient_share": 1.0, "nobody_share": 0.0, "floor_share": 0.0, "parts": {}}
            )
            make_dataset(DatasetSpec(scenario=shown, count=_IMAGES, seed=0), data, workers=1)
        for number, name in enumerate(chosen):

            def tell(note: str, number: int = number, name: str = name) -> None:
                if progress:
                    progress(number, len(chosen), f"{name}, {note}")

            with tempfile.TemporaryDirectory(dir=folder) as own:
                found[name] = _measured(name, WHOLE[name], data, Path(own), threads, tell)
        if progress:
            progress(len(chosen), len(chosen), "")
    return found


def _measured(
    name: str, whole: Whole, data: Path, folder: Path, threads: int | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    tell("building")
    began = time.perf_counter()
    card = _built(name, whole, folder)
    row: dict[str, Any] = {"input": f"{whole.width}×{whole.height}", "build_s": time.perf_counter() - began}
    model = folder / card.name
    row["weights_mb"] = (model / card.weights).stat().st_size / 1e6
    if whole.step:
        tell("one step")
        settings = TuneSettings(recipe="paper", batch=_IMAGES, threads=threads)
        if card.task == "detect":
            settings = settings.model_copy(update={"width": whole.width, "height": whole.height})
        began = time.perf_counter()
        tuned = tune(model, data, folder / "tuned", settings, task=card.task)
        row |= {"step_s": time.perf_counter() - began, "steps": tuned.made["steps"], "loss": tuned.made["loss"]}
        model = folder / "tuned"
    tell("exporting")
    began = time.perf_counter()
    onnx = folder / "model.onnx"
    report = export_onnx(model, onnx, width=whole.width, height=whole.height)
    row |= {"export_s": time.perf_counter() - began, "export_error": report.max_error}
    row |= {"onnx_mb": onnx.stat().st_size / 1e6, "files": len(list(folder.glob("model.onnx*")))}
    tell("reading its answer")
    engine = OnnxEngine(onnx, threads=threads)
    batch = probe_batch(engine.info)
    engine.run(batch)
    began = time.perf_counter()
    answers = engine.run(batch)
    row["answer_s"] = time.perf_counter() - began
    if card.task == "detect":
        boxes, scores = decode_boxes(answers, engine.info)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise WardposeError("its answer cannot be read: it is not finite", where=name, mend="tell its authors")
        row["decode_error_px"] = report.max_box_error_px
    else:
        row["decode_error_px"] = _codec_difference(answers[0], engine.info.layout, (whole.width, whole.height))
    return row


def _built(name: str, whole: Whole, folder: Path) -> ModelCard:
    if name != "yolov6l6":
        return build_model(name, folder, "built", width=whole.width, height=whole.height)
    from benchmarks.yolov6_graph import YoloV6, draw

    drawn = draw(folder / "drawn.onnx", YoloV6(p6=True), whole.width, whole.height)
    return import_model(drawn, folder, "built")


def _codec_difference(maps: Any, layout: str, size: tuple[int, int]) -> float:
    """How far (px of the input) our reading of heat maps (1, 17, h, w) is from mmpose's, at the worst joint.

    What an untrained model answers is noise, of which no codec makes a place: its maps lend their shape to drawn ones.
    """
    from tuning.families.mmpose_adapter import mmpose_codec

    rng = np.random.default_rng(0)
    high, wide = maps.shape[2:]
    places = rng.uniform(0.1, 0.9, (17, 2)) * (wide, high)
    rows, columns = np.mgrid[:high, :wide]
    squares = (columns - places[:, 0, None, None]) ** 2 + (rows - places[:, 1, None, None]) ** 2
    drawn = np.exp(-squares / 8).astype(np.float32)
    ours, _ = (decode_heatmap_udp if layout == "heatmap-udp" else decode_heatmap_dark)(drawn[None], size)
    theirs, _ = mmpose_codec(layout, size, (wide, high)).decode(drawn)
    return float(np.abs(ours[0] - theirs[0]).max())
