"""Base models from random weights and nothing but the project's own synthetic images, for boxes without internet.

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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from calibration.errors import WardposeError
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.report import evaluate_detector, evaluate_pose, open_for_evaluation
from tuning.store.card import ModelCard, write_card

if TYPE_CHECKING:
    from tuning.train.torch_loop import LoopSettings

Progress = Callable[[int, int, str], None]
Task = Literal["detector", "pose"]
NAMES = {"detector": "person-detector", "pose": "person-pose"}
MAX_BYTES = 8 * 2**20
LICENCE = "AGPL-3.0-or-later"
# Of every picture, what the weights are scored on is never trained on: one in this many, by the picture's place.
HELD_OUT_EVERY = 25
_DETECTOR_SIZE, _POSE_WIDTH, _POSE_HEIGHT = 320, 192, 256
_KEYPOINT_TOLERANCE = 2.5
_DETECTOR_AUGMENTATION: dict[str, Any] = {
    "mosaic": 0.4, "degrees": 12.0, "scale": 0.4, "translate": 0.1, "fliplr": 0.5, "flipud": 0.1,
    "hsv_h": 0.02, "hsv_s": 0.6, "hsv_v": 0.45,
}  # fmt: skip
# Patients lie at any angle to the camera; a mosaic would only cut skeletons in two.
_POSE_AUGMENTATION: dict[str, Any] = {
    "mosaic": 0.0, "degrees": 20.0, "scale": 0.4, "translate": 0.1, "fliplr": 0.5,
    "hsv_h": 0.02, "hsv_s": 0.6, "hsv_v": 0.45,
}  # fmt: skip


def base_models_folder() -> Path:
    """Where the base models that come with the product lie."""
    return Path(__file__).resolve().parent / "base_models"


def make_base(
    task: Task,
    data: Path | None,
    out_dir: Path,
    *,
    images: int | None = None,
    epochs: int = 30,
    minutes: float | None = None,
    size: int | None = None,
    batch: int | None = None,
    seed: int = 1,
    resume: bool = False,
    bfloat16: bool = False,
    threads: int | None = None,
    architecture: str | None = None,
    start: Path | None = None,
    score_on: Mapping[str, tuple[Path, Path | None]] | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Train a base model from random weights and write its folder `out_dir`.

    architecture: of a pose model, `yolo11n-pose` (default) or `rtmpose-t`. start: the folder of a base detector whose
    weights a YOLO pose model takes over where they fit, so that it need not learn to see people once more.

    data: a COCO folder of synthetic pictures; None makes one of `images` pictures of many viewpoints first. images:
    with `data`, only its first so many are used. size: longer side of a detector's training picture in pixels. minutes:
    the training, its schedule included, ends within this time; `epochs` bounds it. resume: go on from the checkpoint
    beside `out_dir`. score_on: further evaluation sets by name, (COCO JSON, pictures' folder). The scores on held-out
    synthetic pictures always stand in the card. Raises WardposeError; on cancellation the checkpoint is kept.
    """
    work = out_dir.parent / f".{out_dir.name}.training"
    if out_dir.exists():
        raise WardposeError("a model is already here", where=str(out_dir), mend="choose another folder")
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    folder = data or _make_data(work / "data", images or 6000, seed, resume, progress)
    pictures = read_people(folder / "annotations.json")[:images]
    held_out = pictures[::HELD_OUT_EVERY]
    trained = [picture for place, picture in enumerate(pictures) if place % HELD_OUT_EVERY]
    if not trained or not any(len(picture.boxes) for picture in trained):
        raise WardposeError(
            "too few pictures with people to train on", where=str(folder), mend="make a larger data set"
        )
    train = _train_yolo if task == "detector" else _train_pose
    options = {
        "epochs": epochs,
        "minutes": minutes,
        "seed": seed,
        "bfloat16": bfloat16,
        "threads": threads,
        "batch": batch,
        "architecture": architecture or "yolo11n-pose",
        "start": start,
    }
    state, card, made = train(trained, work / "checkpoint.safetensors", options, size, resume, progress)
    made |= {
        "command": f"wardpose base {task}",
        "from": f"{start.name}'s weights where they fit, else random ones" if start else "random weights",
        "seen": "synthetic images only, no photograph of a person",
        "data": _describe(folder),
        "images": len(trained),
        "seed": seed,
    }
    from tuning.store.save import save_model

    draft = work / out_dir.name
    shutil.rmtree(draft, ignore_errors=True)
    card = save_model(draft, state, card.model_copy(update={"made": made, "licence": LICENCE}), half=True)
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


def _make_data(folder: Path, images: int, seed: int, resume: bool, progress: Progress | None) -> Path:
    from synth.dataset import DatasetSpec, make_dataset
    from synth.scenario import load_scenario

    spec = DatasetSpec(scenario=load_scenario("base"), count=images, seed=seed)
    make_dataset(spec, folder, resume=resume, progress=progress)
    return folder


def _describe(folder: Path) -> dict[str, Any]:
    """The data set's own specification, or at least its name."""
    try:
        content = json.loads((folder / "dataset.json").read_bytes())
        spec = content.get("spec", {}) if isinstance(content, dict) else {}
    except (FileNotFoundError, json.JSONDecodeError):
        return {"name": folder.name}
    scenario = spec.get("scenario")
    name = scenario.get("name") if isinstance(scenario, dict) else scenario
    return {"name": folder.name, "scenario": name, "count": spec.get("count"), "seed": spec.get("seed")}


def _loop(options: dict[str, Any], batch: int, **recipe: Any) -> LoopSettings:
    """What every base training shares, and the architecture's own `recipe`."""
    from tuning.train.torch_loop import LoopSettings

    asked = {name: options[name] for name in ("epochs", "minutes", "seed", "threads", "bfloat16")}
    return LoopSettings(
        batch=batch, nominal_batch=batch, optimizer="adamw", learning_rate=2e-3, final_factor=0.01,
        average_decay=0.998, **asked, **recipe,
    )  # fmt: skip


def _train_yolo(
    pictures: list[Picture],
    checkpoint: Path,
    options: dict[str, Any],
    size: int | None,
    resume: bool,
    progress: Progress | None,
    *,
    pose: bool = False,
) -> tuple[Any, ModelCard, dict[str, Any]]:
    from tuning.families.yolo_models import build_detector, build_pose
    from tuning.families.yolo_training import train_detector
    from tuning.store.card import read_card
    from tuning.store.weights import read_weights
    from tuning.train.torch_state import seed_everything

    size, batch = size or _DETECTOR_SIZE, options["batch"] or 16
    loop = _loop(options, batch, warmup_steps=max(1, min(100, -(-len(pictures) // batch))), weight_decay=5e-4)
    shape: dict[str, Any] = {"name": "base", "width": size, "height": size, "sha256": "0" * 64}
    seed_everything(options["seed"])
    if pose:
        card = ModelCard(task="pose", architecture=options["architecture"], layout="yolo-pose", **shape)
        start: Path | None = options["start"]
        known = read_weights(start, read_card(start)) if start else None
        built, augmentation = build_pose(card, None, start=known, where=str(start)), _POSE_AUGMENTATION
    else:
        card = ModelCard(task="detect", architecture="yolo11n", layout="yolo", **shape)
        built, augmentation = build_detector(card, None), _DETECTOR_AUGMENTATION
    outcome = train_detector(
        built, pictures, loop, size=size, augmentation=augmentation, keypoint_tolerance=_KEYPOINT_TOLERANCE,
        checkpoint=checkpoint, resume=resume, progress=progress,
    )  # fmt: skip
    return built.state(), card, _made(loop, augmentation, outcome)


def _train_pose(
    pictures: list[Picture],
    checkpoint: Path,
    options: dict[str, Any],
    size: int | None,
    resume: bool,
    progress: Progress | None,
) -> tuple[Any, ModelCard, dict[str, Any]]:
    if options["architecture"] != "rtmpose-t":
        return _train_yolo(pictures, checkpoint, options, size, resume, progress, pose=True)
    from tuning.families.person_crops import PoseAugmentation
    from tuning.families.rtmpose_training import build_pose, train_pose
    from tuning.train.torch_state import seed_everything, state_of

    loop = _loop(options, options["batch"] or 32, warmup_steps=200, weight_decay=0.05, clip_norm=35.0)
    height = size or _POSE_HEIGHT
    width = height * _POSE_WIDTH // _POSE_HEIGHT
    card = ModelCard(
        name="base", task="pose", architecture="rtmpose-t", layout="simcc", width=width, height=height, sha256="0" * 64
    )
    augmentation = PoseAugmentation()
    seed_everything(options["seed"])
    module = build_pose(card, None)
    outcome = train_pose(
        module, pictures, loop, width=width, height=height, augmentation=augmentation,
        checkpoint=checkpoint, resume=resume, progress=progress,
    )  # fmt: skip
    return state_of(module), card, _made(loop, augmentation.model_dump(), outcome)


def _made(loop: Any, augmentation: Mapping[str, Any], outcome: Any) -> dict[str, Any]:
    return {
        "settings": json.loads(loop.model_dump_json()),
        "augmentation": dict(augmentation),
        "steps": outcome.steps,
        "epochs": round(outcome.epochs, 2),
        "minutes": round(outcome.seconds / 60, 1),
        "loss": outcome.loss,
    }


def _scores(
    draft: Path,
    card: ModelCard,
    held_out: list[Picture],
    work: Path,
    sets: dict[str, tuple[Path, Path | None]],
    progress: Progress | None,
) -> dict[str, dict[str, float]]:
    """Figures on held-out pictures and on further sets; one without keypoints says nothing of a pose model."""
    from tuning.export import export_onnx

    onnx = work / "model.onnx"
    export_onnx(draft, onnx, pictures=[picture.path for picture in held_out[:4]])
    sets = {"synthetic held out": (_write_coco(held_out, work / "held_out.json"), held_out[0].path.parent), **sets}
    scores: dict[str, dict[str, float]] = {}
    for name, (coco_json, images_dir) in sets.items():
        if card.task == "detect":
            scores[name] = evaluate_detector(open_for_evaluation(onnx), coco_json, images_dir, progress).figures()
        elif any(picture.keypoints[..., 2].any() for picture in read_people(coco_json, images_dir)):
            from runtime.engines.engine import open_engine
            from runtime.pose import PoseEstimator

            figures = evaluate_pose(PoseEstimator(open_engine(onnx)), coco_json, images_dir, progress)
            scores[name] = {"keypoints_AP": round(figures.AP, 4), "keypoints_AR": round(figures.AR, 4)}
    return scores


def _write_coco(pictures: list[Picture], path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for picture in pictures:
        people = zip(picture.boxes, picture.keypoints, picture.areas, picture.ignored, strict=True)
        for (x1, y1, x2, y2), keypoints, area, ignored in people:
            rows.append(
                {
                    "id": len(rows) + 1,
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


def main(arguments: list[str] | None = None) -> int:
    """Train a base model, with a line of progress now and then."""
    parser = argparse.ArgumentParser(
        prog="python -m tuning.base", description="Train a base model from random weights."
    )
    parser.add_argument("task", choices=("detector", "pose"))
    parser.add_argument("--data", type=Path, help="COCO folder of synthetic pictures (default: one is made)")
    parser.add_argument("--images", type=int, help="pictures to use, or to make")
    parser.add_argument("--out", type=Path, help="model folder (default: the product's own)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--minutes", type=float, help="end within this time, learning-rate schedule and all")
    parser.add_argument("--size", type=int, help="longer side of a training picture (px)")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--architecture", choices=("yolo11n-pose", "rtmpose-t"), help="of a pose model")
    parser.add_argument("--start", type=Path, help="base detector whose weights a YOLO pose model begins with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--bfloat16", action="store_true", help="faster where the processor has bfloat16")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--score", action="append", default=[], metavar="NAME=COCO.json[:IMAGES]", help="a further set for the card"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        card = make_base(
            options.task, options.data, options.out or base_models_folder() / NAMES[options.task],
            images=options.images,
            epochs=options.epochs, minutes=options.minutes, size=options.size, batch=options.batch, seed=options.seed,
            resume=options.resume, bfloat16=options.bfloat16, threads=options.threads,
            architecture=options.architecture, start=options.start,
            score_on=dict(evaluation_set(text) for text in options.score), progress=_line_now_and_then(),
        )  # fmt: skip
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


def evaluation_set(text: str) -> tuple[str, tuple[Path, Path | None]]:
    """A set to score on, from NAME=COCO.json or NAME=COCO.json:IMAGES."""
    name, _, place = text.partition("=")
    annotations, _, images_dir = place.partition(":")
    if not name or not annotations:
        raise WardposeError(f"--score {text!r} names no set", mend="write NAME=COCO.json or NAME=COCO.json:IMAGES")
    return name, (Path(annotations), Path(images_dir) if images_dir else None)


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
