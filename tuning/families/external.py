"""Models that are trained in an environment of their own: DINO, Salience-DETR. See `tuning.external.contract`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import read_people
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


class External:
    """Detectors whose authors' frameworks cannot live beside ours."""

    name = "external"

    def architectures(self) -> tuple[str, ...]:
        return tuple(architecture for known in ENVIRONMENTS.values() for architecture in known.architectures)

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        """The weights by their framework's own names; whether all of them fit is seen when they are exported."""
        if foreign.state is None or wish.architecture not in self.architectures():
            return None
        shapes = {name: value.shape for name, value in foreign.state.items()}
        known_architecture(wish.architecture).check_tensors(wish.architecture, shapes, str(foreign.path))
        write_safetensors(folder / WEIGHTS_FILE, foreign.state, metadata={OWN_ENTRY: wish.architecture})
        return _card(wish.architecture, wish)

    def build(self, architecture: str, wish: ImportWish, folder: Path) -> ModelCard:
        """A model of random weights in `folder`, drawn by its framework."""
        card = _card(architecture, wish)
        with tempfile.TemporaryDirectory(prefix="wardpose-external-") as place:
            _export(card, None, Path(place), card.width, card.height)
            state, _ = read_safetensors(Path(place) / CHECKPOINT)
        write_safetensors(folder / WEIGHTS_FILE, state, metadata={OWN_ENTRY: architecture})
        return card

    def knows(self, card: ModelCard) -> bool:
        return card.format == "safetensors" and card.architecture in self.architectures()

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        known_architecture(card.architecture).check_size(card.name, width, height)
        return ModelInfo(
            name=card.name, task="detect", layout="detr", width=width, height=height, classes=card.classes,
            person_class=card.person_class, threshold=THRESHOLD, mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        with tempfile.TemporaryDirectory(prefix="wardpose-external-") as place:
            _export(card, verify_weights(folder, card), Path(place), width, height)
            draft.write_bytes((Path(place) / ONNX).read_bytes())
        return nobody_asked  # its trainer gives the file and no answers

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        card = read_card(folder)
        pictures = read_people(data_dir / "annotations.json")
        width, height = input_size(card, settings, pictures)
        known_architecture(card.architecture).check_size(card.name, width, height)
        environment, checkout = _environment(card.architecture)
        paper = paper_recipe(card.architecture, settings) if settings.recipe == "paper" else None
        told: dict[str, Any] = {
            "epochs": settings.epochs or _EPOCHS, "batch": settings.batch or _BATCH,
            "learning_rate": settings.learning_rate or _LEARNING_RATE,
        }  # fmt: skip
        if paper:
            told = paper.model_dump(include=set(told)) | {"keep_epochs": paper.kept_epochs}
        with unfinished(out_dir, card, data_dir, settings.asked() | {"size": [width, height]}) as checkpoint:
            place = checkpoint.parent
            task = ExternalTask(
                action="tune", architecture=card.architecture, weights=str(verify_weights(folder, card).absolute()),
                data=str(data_dir.absolute()), out=str(place.absolute()), width=width, height=height,
                classes=card.classes, person_class=card.person_class, seed=settings.seed, threads=settings.threads,
                device=settings.device, checkout=checkout, **told,
            )  # fmt: skip
            lines = run_external(environment.python, environment.trainer, task, progress)
            state, _ = read_safetensors(place / CHECKPOINT)
            loop = task.model_dump(mode="json", exclude={"data", "out", "weights", "checkout"})
            losses = [float(line["loss"]) for line in lines[-50:]]
            outcome = Outcome(
                len(lines), float(task.epochs), 0.0, sum(losses) / max(1, len(losses)), len(pictures), loop
            )
            made = made_by_tuning(self.name, data_dir, settings, outcome, paper)
            made["environment"] = environment.name
            changes = {"parent": card.name, "made": made, "scores": {}, "width": width, "height": height}
            return save_model(out_dir, state, card.model_copy(update=changes), record=place)


def known_architecture(name: str) -> Architecture:
    """One of those that an external trainer has."""
    return next(known.architectures[name] for known in ENVIRONMENTS.values() if name in known.architectures)


def _environment(architecture: str) -> tuple[Environment, str | None]:
    """Where an architecture is trained, and its authors' code; WardposeError where that was not set up."""
    environment = next(known for known in ENVIRONMENTS.values() if architecture in known.architectures)
    if not environment.python.is_file():
        needs = " --checkout DIR" if environment.code else ""
        raise WardposeError(
            f"{architecture} wants {environment.name}'s own environment, which is not there",
            where=str(environment.folder), mend=f"wardpose setup --external {environment.name}{needs}",
        )  # fmt: skip
    checkout = environment.checkout
    return environment, str(checkout) if checkout else None


def _card(architecture: str, wish: ImportWish) -> ModelCard:
    known = known_architecture(architecture)
    return ModelCard(
        name=wish.name, task="detect", architecture=architecture, layout="detr", width=wish.width or _SIZE,
        height=wish.height or _SIZE, classes=known.classes, built_classes=known.classes,
        person_class=known.person_class, sha256="0" * 64,
    )  # fmt: skip


def _export(card: ModelCard, weights: Path | None, place: Path, width: int, height: int) -> None:
    known_architecture(card.architecture).check_size(card.name, width, height)
    environment, checkout = _environment(card.architecture)
    task = ExternalTask(
        action="export", architecture=card.architecture, weights=str(weights.absolute()) if weights else None,
        out=str(place), width=width, height=height, classes=card.classes, person_class=card.person_class,
        device="cpu", checkout=checkout,
    )  # fmt: skip
    run_external(environment.python, environment.trainer, task)
