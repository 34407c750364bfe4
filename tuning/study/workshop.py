"""What each kind of a study's cell does: makes pictures, tunes a model, scores it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from tuning.coco_folder import Picture, read_people, scenes_of
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.store.card import read_card
from tuning.study.cells import (
    Boxes,
    Cell,
    FirstImages,
    Images,
    Likeness,
    Model,
    Photographs,
    Size,
    Skeletons,
    Tuning,
    TurnedPeople,
)
from tuning.study.ledger import Results
from tuning.study.real_people import Column, columns_of, score

EVERYBODY = "everybody"
LABELS = "annotations.json"
# Features name colours and edges as well as people: of so many pictures a set, as in the paper's figures.
_LIKENESS_SEED = 0


@dataclass(frozen=True, slots=True)
class Workshop:
    """Does cells. models: folder of each model of the box, by name; threads, workers: for training and for making
    pictures, default one a core."""

    models: Mapping[str, Path]
    threads: int | None = None
    workers: int | None = None

    def __call__(self, cell: Cell, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        """What the cell comes to. made: a folder for what it makes; what a killed run left there is gone on with."""
        do: Callable[..., Mapping[str, Any]] = getattr(self, f"_{cell.kind.replace('-', '_')}")
        return do(cell, results, made, progress)

    def _images(self, cell: Images, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        from synth.dataset import DatasetSpec, make_dataset

        spec = DatasetSpec(scenario=cell.scenario, count=cell.count, seed=cell.seed)
        summary = make_dataset(spec, made, resume=made.exists(), workers=self.workers, progress=progress)
        return _set(made, summary.images, summary.people)

    def _first_images(self, cell: FirstImages, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        whole = made.parent / results[cell.of]["folder"]
        content = parse_json((whole / LABELS).read_bytes())
        content["images"] = content["images"][: cell.count]
        within = {image["id"] for image in content["images"]}
        content["annotations"] = [row for row in content["annotations"] if row["image_id"] in within]
        made.mkdir(parents=True, exist_ok=True)
        _link(made / "images", whole / "images")
        write_bytes(made / LABELS, json.dumps(content, ensure_ascii=False).encode() + b"\n")
        return _set(made, len(content["images"]), len(content["annotations"]))

    def _turned_people(self, cell: TurnedPeople, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        from tuning.turned import TurnSettings, turn_data

        if not made.is_dir():  # it appears whole
            made.parent.mkdir(parents=True, exist_ok=True)
            settings = TurnSettings(count=cell.count, seed=cell.seed)
            if not cell.turned:
                settings = settings.model_copy(update={"least_deg": 0.0, "most_deg": 0.0})
            turn_data(Path(cell.annotations), Path(cell.images) if cell.images else None, made, settings, progress)
        pictures = read_people(made / LABELS)
        return _set(made, len(pictures), sum(int((~picture.ignored).sum()) for picture in pictures))

    def _photographs(self, cell: Photographs, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        pictures = read_people(Path(cell.annotations), Path(cell.images) if cell.images else None)
        people = sum(int((~picture.ignored).sum()) for picture in pictures)
        return {"annotations": cell.annotations, "image_folder": cell.images, "images": len(pictures), "people": people}

    def _tuning(self, cell: Tuning, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        if not (made / "model.json").is_file():
            width, height = cell.size or (None, None)
            settings = TuneSettings(
                epochs=cell.epochs, width=width, height=height, seed=cell.seed, threads=self.threads
            )
            made.parent.mkdir(parents=True, exist_ok=True)
            tune(self.models[cell.model.name], _labels(results[cell.data], made)[0].parent, made, settings, progress)
        return {"folder": made.name, "made": read_card(made).made}

    def _boxes(self, cell: Boxes, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        from tuning.evaluate.report import open_for_evaluation

        onnx = self._exported(cell.model, cell.size, results, made)
        pictures = read_people(*_labels(results[cell.target], made))
        scenes = scenes_of(pictures)
        found = score(open_for_evaluation(onnx, threads=self.threads), columns(pictures), progress)
        return {
            name: {
                "figures": one.figures(),
                "people": one.scores,
                "scenes": {person: str(scenes[person]) for person in one.scores},
            }
            for name, one in found.items()
        }

    def _skeletons(self, cell: Skeletons, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        from runtime.engines.engine import open_engine
        from runtime.pose import PoseEstimator
        from tuning.evaluate.report import evaluate_detector, open_for_evaluation, pose_figures

        labels, folder = _labels(results[cell.target], made)
        pose = PoseEstimator(open_engine(self._exported(cell.pose, None, results, made), threads=self.threads))
        if cell.detector is None:
            pictures = read_people(labels, folder, keypoints=True)
            figures = pose_figures(pose, pictures, progress)
        else:
            onnx = self._exported(cell.detector, cell.size, results, made)
            evaluation = evaluate_detector(
                open_for_evaluation(onnx, threads=self.threads), labels, folder, progress,
                pose=pose, boxes="detected",
            )  # fmt: skip
            if evaluation.keypoints is None:
                raise WardposeError("nobody has keypoints", where=str(labels), mend="leave this set out")
            figures = evaluation.keypoints
        scenes = scenes_of(read_people(labels, folder))
        return {
            "figures": figures.figures() | {"keypoints_AR": round(figures.AR, 4)},
            "people": figures.oks,
            "visible": figures.seen,
            "scenes": {person: str(scenes[person]) for person in figures.oks},
        }

    def _likeness(self, cell: Likeness, results: Results, made: Path, progress: Progress) -> Mapping[str, Any]:
        from synth.features import neighbour_map, picture_features, principal_components

        groups: list[int] = []
        paths: list[Path] = []
        sizes: dict[str, list[list[float]]] = {}
        for number, name in enumerate(cell.sets):
            pictures = read_people(*_labels(results[name], made))
            places = np.linspace(0, len(pictures) - 1, min(cell.pictures, len(pictures))).round().astype(int)
            chosen = [pictures[place] for place in places]
            paths += [picture.path for picture in chosen]
            groups += [number] * len(chosen)
            sizes[name] = [shares for picture in pictures for shares in _shares(picture)]

        def opened() -> Any:
            for done, path in enumerate(paths):
                progress(done, len(paths), "features")
                yield read_photograph(path)

        onnx = self._exported(cell.model, None, results, made)
        features = picture_features(onnx, opened())
        components, shares = principal_components(features)
        return {
            "sets": list(cell.sets),
            "groups": groups,
            "components": components.round(4).tolist(),
            "shares": shares.round(4).tolist(),
            "neighbours": neighbour_map(features, _LIKENESS_SEED).round(4).tolist(),
            "sizes": sizes,
        }

    def _exported(self, model: Model, size: Size | None, results: Results, made: Path) -> Path:
        """The model as ONNX in the folder of a cell; a part of a draft that a killed run left is written anew."""
        folder = self.models[model.name] if model.tuned is None else made.parent / results[model.tuned]["folder"]
        width, height = size or (None, None)
        made.mkdir(parents=True, exist_ok=True)
        onnx = made / f"{model.tuned or model.name}.onnx"
        export_onnx(folder, onnx, width=width, height=height)
        return onnx


def columns(pictures: Sequence[Picture]) -> list[Column]:
    """A target's people: everybody, and by how they lie where the file says so."""
    return [Column(EVERYBODY, tuple(pictures)), *columns_of(pictures)]


def _set(made: Path, images: int, people: int) -> dict[str, Any]:
    return {"folder": made.name, "images": images, "people": people}


def _labels(result: Mapping[str, Any], made: Path) -> tuple[Path, Path | None]:
    """The annotations of a set, and the folder of its pictures where they lie elsewhere."""
    if "folder" in result:  # made by this study: beside whatever else it made, wherever it was moved to
        return made.parent / result["folder"] / LABELS, None
    return Path(result["annotations"]), Path(result["image_folder"]) if result["image_folder"] else None


def _shares(picture: Picture) -> list[list[float]]:
    """Width and height of each person's box, in shares of the picture's."""
    boxes = picture.boxes[~picture.ignored]
    shares = (boxes[:, 2:] - boxes[:, :2]) / (picture.width, picture.height)
    listed: list[list[float]] = shares.round(4).tolist()
    return listed


def _link(link: Path, target: Path) -> None:
    """A link to a folder beside the link's own, in place of what a killed run left."""
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
