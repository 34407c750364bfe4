"""Base models from nothing but the project's own synthetic images: a detector for boxes without the fetched models, the
yardstick of the images' realism, and a pose model that says how far such images alone go.

`python -m tuning.base detector|pose --data DIR --out DIR [--minutes M] [--resume]`: can be stopped at any moment and
goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from tuning.base_options import TASKS, add_options, evaluation_set
from tuning.coco_folder import Picture, read_people
from tuning.data_check import require_sound
from tuning.evaluate.report import evaluate_detector, evaluate_pose, open_for_evaluation
from tuning.families.base_family import BaseFamily, BaseSettings
from tuning.families.family import family_of
from tuning.store.card import ModelCard, read_card, write_card
from tuning.store.save import save_model
from tuning.store.weights import State, read_weights

MAX_BYTES = 8 * 2**20
LICENCE = "AGPL-3.0-or-later"
SEEN = "synthetic images only, no photograph of a person"
# Of every picture, what the weights are scored on is never trained on: one in this many, by the picture's place.
HELD_OUT_EVERY = 25
_MODELS: Mapping[str, Mapping[str, Any]] = {
    "detector": {"task": "detect", "architecture": "yolo11n", "layout": "yolo", "width": 320, "height": 320},
    "pose": {"task": "pose", "architecture": "rtmpose-t", "layout": "simcc", "width": 192, "height": 256},
}
# A pose model is scored on people as they are photographed, and as if they lay to either side.
_TURNS = {"": 0, " turned 90°": 90, " turned 270°": 270}


def base_models_folder() -> Path:
    """Where the base models that come with the product lie."""
    return Path(__file__).resolve().parent / "base_models"


def make_base(
    task: str,
    data: Path | None,
    out_dir: Path,
    settings: BaseSettings | None = None,
    *,
    images: int | None = None,
    size: int | None = None,
    start: Path | None = None,
    resume: bool = False,
    score_on: Mapping[str, tuple[Path, Path | None]] | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Train a base model and write its folder `out_dir`.

    data: a COCO folder of synthetic pictures; None makes one of `images` pictures of many viewpoints first. images:
    with `data`, only its first so many are used. size: longer side of the model's input in pixels. start: the folder of
    an earlier base model, whose weights are gone on with; None begins with random ones. resume: go on from the
    checkpoint beside `out_dir`. score_on: further evaluation sets by name, (COCO JSON, pictures' folder), a pose
    model's turned to either side as well. The scores on held-out synthetic pictures always stand in the card. Raises
    WardposeError; on cancellation the checkpoint is kept.
    """
    settings = settings or BaseSettings()
    work = out_dir.parent / f".{out_dir.name}.training"
    if out_dir.exists():
        raise WardposeError("a model is already here", where=str(out_dir), mend="choose another folder")
    card = _blank_card(task, size)
    known = _weights_to_start_from(start, card) if start else None
    family = family_of(card)
    if not isinstance(family, BaseFamily):
        raise WardposeError(
            f"the family {family.name} makes no base models", mend="remove the package that replaced it"
        )
    if data is not None:
        require_sound(data, task=task)
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    folder = data or _make_data(work / "data", images or 6000, settings.seed, resume, progress)
    pictures = read_people(folder / "annotations.json")[:images]
    held_out = pictures[::HELD_OUT_EVERY]
    trained = [picture for place, picture in enumerate(pictures) if place % HELD_OUT_EVERY]
    if not trained or not any(len(picture.boxes) for picture in trained):
        raise WardposeError(
            "too few pictures with people to train on", where=str(folder), mend="make a larger data set"
        )
    training = family.train_base(
        card, known, trained, settings, checkpoint=work / "checkpoint.safetensors", resume=resume, progress=progress
    )
    outcome = training.outcome
    made = {
        "command": f"wardpose base {task}",
        "from": f"{start.name}, itself from random weights" if start else "random weights",
        "seen": SEEN,
        "data": _describe(folder),
        "images": len(trained),
        "seed": settings.seed,
        "settings": parse_json(training.loop.model_dump_json()),
        "augmentation": dict(training.augmentation),
        "steps": outcome.steps,
        "epochs": round(outcome.epochs, 2),
        "minutes": round(outcome.seconds / 60, 1),
        "loss": outcome.loss,
    }
    draft = work / out_dir.name
    shutil.rmtree(draft, ignore_errors=True)
    made_card = card.model_copy(update={"made": made, "licence": LICENCE})
    card = save_model(draft, training.state, made_card, half=True)
    if (draft / card.weights).stat().st_size > MAX_BYTES:
        raise WardposeError(
            "the weights are larger than a base model may be", where=str(draft), mend="train a smaller one"
        )
    scores = _scores(draft, card, held_out, work, dict(score_on or {}), progress)
    card = card.model_copy(update={"scores": scores})
    write_card(draft, card)
    draft.rename(out_dir)
    shutil.rmtree(work)
    return card


def _blank_card(task: str, size: int | None) -> ModelCard:
    """The card of a base model that is still to be trained; `size` is the longer side of its input."""
    fields = dict(_MODELS[task])
    if size is not None:
        longer = max(fields["width"], fields["height"])
        fields |= {side: size * fields[side] // longer for side in ("width", "height")}
    return ModelCard(name=TASKS[task], sha256="0" * 64, **fields)


def _weights_to_start_from(start: Path, card: ModelCard) -> State:
    """The weights of an earlier base model; one that was trained on photographs would make this no base model."""
    earlier = read_card(start)
    if earlier.made.get("seen") != SEEN or earlier.architecture != card.architecture:
        raise WardposeError(
            f"{earlier.name} is no earlier {card.name} of synthetic images alone",
            where=str(start),
            mend="start from one that `wardpose base` made, or leave it out",
        )
    return read_weights(start, earlier)


def _make_data(folder: Path, images: int, seed: int, resume: bool, progress: Progress | None) -> Path:
    from synth.dataset import DatasetSpec, make_dataset
    from synth.scenario import load_scenario

    spec = DatasetSpec(scenario=load_scenario("base"), count=images, seed=seed)
    make_dataset(spec, folder, resume=resume, progress=progress)
    return folder


def _describe(folder: Path) -> dict[str, Any]:
    """The data set's own specification, or at least its name."""
    try:
        content = parse_json((folder / "dataset.json").read_bytes())
        spec = content.get("spec", {}) if isinstance(content, dict) else {}
    except (FileNotFoundError, ValueError):
        return {"name": folder.name}
    scenario = spec.get("scenario")
    name = scenario.get("name") if isinstance(scenario, dict) else scenario
    return {"name": folder.name, "scenario": name, "count": spec.get("count"), "seed": spec.get("seed")}


def _scores(
    draft: Path,
    card: ModelCard,
    held_out: list[Picture],
    work: Path,
    sets: dict[str, tuple[Path, Path | None]],
    progress: Progress | None,
) -> dict[str, dict[str, float]]:
    """Figures on held-out pictures and on further sets; one without keypoints says nothing of a pose model."""
    from runtime.engines.engine import open_engine
    from runtime.pose import PoseEstimator
    from tuning.export import export_onnx

    onnx = work / "model.onnx"
    export_onnx(draft, onnx, pictures=[picture.path for picture in held_out[:4]])
    sets = {"synthetic held out": (_write_coco(held_out, work / "held_out.json"), held_out[0].path.parent), **sets}
    scores: dict[str, dict[str, float]] = {}
    for name, (coco_json, images_dir) in sets.items():
        if card.task == "detect":
            scores[name] = evaluate_detector(open_for_evaluation(onnx), coco_json, images_dir, progress).figures()
        elif any(picture.keypoints[..., 2].any() for picture in read_people(coco_json, images_dir)):
            estimator = PoseEstimator(open_engine(onnx))
            for turned, degrees in _TURNS.items():
                found = evaluate_pose(estimator, coco_json, images_dir, progress, turn_deg=degrees)
                scores[name + turned] = found.figures()
    return scores


def _write_coco(pictures: list[Picture], path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for picture in pictures:
        people = zip(picture.ids, picture.boxes, picture.keypoints, picture.areas, picture.ignored, strict=True)
        for person, (x1, y1, x2, y2), keypoints, area, ignored in people:
            rows.append(
                {
                    "id": int(person),
                    "image_id": picture.id,
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area),
                    "iscrowd": int(ignored),
                    "keypoints": keypoints.ravel().tolist(),
                }
            )
    images = [{"id": p.id, "file_name": p.path.name, "width": p.width, "height": p.height} for p in pictures]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(content))
    return path


def make_as_asked(options: argparse.Namespace, out_dir: Path, start: Path | None, progress: Progress) -> ModelCard:
    """`make_base` by the options of `add_options`."""
    try:
        settings = BaseSettings(
            epochs=options.epochs, minutes=options.minutes, batch=options.batch, learning_rate=options.rate,
            seed=options.seed, threads=options.threads, bfloat16=options.bfloat16,
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise WardposeError(f"{first['loc'][0]}: {first['msg']}", where="wardpose base", mend="leave it out") from None
    return make_base(
        options.task, options.data, out_dir, settings, images=options.images, size=options.size, start=start,
        resume=options.resume, score_on=dict(evaluation_set(text) for text in options.score), progress=progress,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Train a base model, with a line of progress now and then."""
    parser = argparse.ArgumentParser(
        prog="python -m tuning.base", description="Train a base model on synthetic images."
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, help="model folder (default: the product's own)")
    parser.add_argument("--start", type=Path, help="folder of an earlier base model to go on with")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    out_dir = options.out or base_models_folder() / TASKS[options.task]
    try:
        card = make_as_asked(options, out_dir, options.start, _line_now_and_then())
    except WardposeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the checkpoint is kept, go on with --resume\n")
        return 130
    sys.stdout.write(card.model_dump_json(indent=2) + "\n")
    return 0


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _line_now_and_then(seconds: float = 10.0) -> Progress:
    last = -seconds

    def progress(done: int, total: int, note: str) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {done}/{total}  {note}\n")
            sys.stdout.flush()

    return progress


if __name__ == "__main__":
    sys.exit(main())
