"""Models that are trained in an environment of their own: DINO, Salience-DETR. See `tuning.external.contract`.

A site's own trainer is a subclass of `External` that names its `environments`, registered as a model family.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from calibration.progress import Progress
from runtime.engines.engine import probe_batch
from runtime.model_info import ModelInfo
from tuning.coco_folder import read_people
from tuning.external.asked import AskedTrainer, ExternalModel
from tuning.external.contract import CHECKPOINT, ONNX, ExternalTask
from tuning.external.environments import ENVIRONMENTS, Architecture, Environment
from tuning.external.run import run_external
from tuning.families.family import ImportWish, Reference, TuneSettings, input_size, nobody_asked
from tuning.families.paper_recipe import paper_recipe
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card, verify_weights
from tuning.store.foreign import ForeignModel
from tuning.store.outcome import Outcome
from tuning.store.save import made_by_tuning, save_model
from tuning.store.unfinished import unfinished
from tuning.store.weights import OWN_ENTRY, read_safetensors, write_safetensors

_SIZE = 640
_EPOCHS, _BATCH, _LEARNING_RATE = 1, 16, 1e-5
THRESHOLD = 0.4
_SAID = ("batch_parts",)  # by a trainer of its last step, for the record


class External:
    """Detectors whose authors' frameworks cannot live beside ours."""

    name = "external"
    starts_processes = True
    environments: ClassVar[Mapping[str, Environment]] = ENVIRONMENTS

    def architectures(self) -> tuple[str, ...]:
        return tuple(architecture for known in self.environments.values() for architecture in known.architectures)

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        """The weights by their framework's own names; whether all of them fit is seen when they are exported."""
        if foreign.state is None or wish.architecture not in self.architectures():
            return None
        shapes = {name: value.shape for name, value in foreign.state.items()}
        self._known(wish.architecture).check_tensors(wish.architecture, shapes, str(foreign.path))
        write_safetensors(folder / WEIGHTS_FILE, foreign.state, metadata={OWN_ENTRY: wish.architecture})
        return self._card(wish.architecture, wish)

    def build(self, architecture: str, wish: ImportWish, folder: Path) -> ModelCard:
        """A model of random weights in `folder`, drawn by its framework."""
        card = self._card(architecture, wish)
        with tempfile.TemporaryDirectory(prefix="wardpose-external-") as place:
            self._model(card, None, card.width, card.height).written(Path(place))
            state, _ = read_safetensors(Path(place) / CHECKPOINT)
        write_safetensors(folder / WEIGHTS_FILE, state, metadata={OWN_ENTRY: architecture})
        return card

    def knows(self, card: ModelCard) -> bool:
        return card.format == "safetensors" and card.architecture in self.architectures()

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        self._known(card.architecture).check_size(card.name, width, height)
        return ModelInfo(
            name=card.name, task="detect", layout="detr", width=width, height=height, classes=card.classes,
            person_class=card.person_class, threshold=THRESHOLD, mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        model = self._model(card, verify_weights(folder, card), width, height)
        pictures = probe_batch(self.describe(card, width, height))
        with tempfile.TemporaryDirectory(prefix="wardpose-external-") as place:
            model.written(Path(place), pictures)
            draft.write_bytes((Path(place) / ONNX).read_bytes())
            answers = model.answered(Path(place), len(pictures))
        return nobody_asked if answers is None else AskedTrainer(model, pictures, answers)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        card = read_card(folder)
        pictures = read_people(data_dir / "annotations.json")
        width, height = input_size(card, settings, pictures)
        self._known(card.architecture).check_size(card.name, width, height)
        environment = self._environment(card.architecture)
        environment.require(card.architecture)
        checkout = str(environment.checkout) if environment.code else None
        paper = paper_recipe(card.architecture, settings) if settings.recipe == "paper" else None
        told: dict[str, Any] = {
            "epochs": settings.epochs or _EPOCHS, "batch": settings.batch or _BATCH,
            "learning_rate": settings.learning_rate or _LEARNING_RATE, "minutes": settings.minutes,
        }  # fmt: skip
        if paper:
            told |= paper.model_dump(include={*told, "flip"}) | {"keep_epochs": paper.kept_epochs}
        with unfinished(out_dir, card, data_dir, settings.asked() | {"size": [width, height]}) as checkpoint:
            place = checkpoint.parent
            task = ExternalTask(
                action="tune", architecture=card.architecture, weights=str(verify_weights(folder, card).absolute()),
                data=str(data_dir.absolute()), out=str(place.absolute()), width=width, height=height,
                classes=card.classes, person_class=card.person_class, seed=settings.seed, threads=settings.threads,
                device=settings.device, processes=settings.processes or 1, checkout=checkout, **told,
            )  # fmt: skip
            lines = run_external(environment.python, environment.trainer, task, progress)
            state, _ = read_safetensors(place / CHECKPOINT)
            last = lines[-1] if lines else {}
            loop = task.model_dump(mode="json", exclude={"data", "out", "weights", "checkout", "pictures"})
            loop |= {name: last[name] for name in _SAID if name in last}
            losses = [float(line["loss"]) for line in lines[-50:]]
            outcome = Outcome(
                len(lines), float(last.get("epoch", task.epochs)), float(last.get("seconds", 0.0)),
                sum(losses) / max(1, len(losses)), len(pictures), loop,
            )  # fmt: skip
            made = made_by_tuning(self.name, data_dir, settings, outcome, paper)
            made["environment"] = environment.name
            changes = {"parent": card.name, "made": made, "scores": {}, "width": width, "height": height}
            return save_model(out_dir, state, card.model_copy(update=changes), record=place)

    def _environment(self, architecture: str) -> Environment:
        return next(known for known in self.environments.values() if architecture in known.architectures)

    def _known(self, architecture: str) -> Architecture:
        return self._environment(architecture).architectures[architecture]

    def _model(self, card: ModelCard, weights: Path | None, width: int, height: int) -> ExternalModel:
        self._known(card.architecture).check_size(card.name, width, height)
        return ExternalModel(self._environment(card.architecture), card, weights, width, height)

    def _card(self, architecture: str, wish: ImportWish) -> ModelCard:
        known = self._known(architecture)
        return ModelCard(
            name=wish.name, task="detect", architecture=architecture, layout="detr", width=wish.width or _SIZE,
            height=wish.height or _SIZE, classes=known.classes, built_classes=known.classes,
            person_class=known.person_class, sha256="0" * 64,
        )  # fmt: skip
