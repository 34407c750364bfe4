"""What the top-down pose families share: a crop of a person in, seventeen joints out, weights by mmpose's names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo, PoseLayout
from tuning.coco_folder import Picture, read_people
from tuning.families.family import ImportWish, Reference, TuneSettings
from tuning.families.paper_recipe import paper_recipe
from tuning.families.person_crops import PoseAugmentation
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.foreign import ForeignModel
from tuning.store.outcome import Outcome
from tuning.store.save import made_by_tuning, save_model
from tuning.store.unfinished import unfinished
from tuning.store.weights import OWN_ENTRY, State, read_weights, write_safetensors
from tuning.train.loop_settings import LoopSettings

# Mean and standard deviation of ImageNet, of 0…255: what mmpose's models were made for.
POSE_MEAN = (123.675, 116.28, 103.53)
POSE_STD = (58.395, 57.12, 57.375)
_WIDTH, _HEIGHT = 192, 256
_OPSET = 17
_BATCH = 16
_LEARNING_RATE = 2e-4


class TopDownFamily(ABC):
    """Top-down pose models of one kind. A subclass names its architectures, builds and trains them."""

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    # What is too large for one ONNX file in single precision is kept in half: the export then is exact.
    halves: ClassVar[Collection[str]] = ()

    @abstractmethod
    def architectures(self) -> Mapping[str, PoseLayout]:
        """What each architecture's answer is read by."""

    @abstractmethod
    def module(self, card: ModelCard, state: State | None, *, where: str = "") -> Any:
        """The card's model as a torch module with the weights `state`, or random ones."""

    @abstractmethod
    def fit(
        self, module: Any, card: ModelCard, pictures: list[Picture], loop: LoopSettings,
        augmentation: PoseAugmentation, *, checkpoint: Path | None = None, resume: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:  # fmt: skip
        """Train in place on every person with keypoints."""

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        architecture = wish.architecture or foreign.metadata.get(OWN_ENTRY) or foreign.metadata.get("architecture")
        if foreign.state is None or architecture is None or architecture not in self.architectures():
            return None
        return self._taken(architecture, foreign.state, wish, folder, str(foreign.path))

    def build(self, architecture: str, wish: ImportWish, folder: Path) -> ModelCard:
        """A model of random weights in `folder`."""
        return self._taken(architecture, None, wish, folder, architecture)

    def _taken(self, architecture: str, state: State | None, wish: ImportWish, folder: Path, where: str) -> ModelCard:
        from tuning.train.torch_state import state_of

        card = ModelCard(
            name=wish.name, task="pose", architecture=architecture, layout=self.architectures()[architecture],
            width=wish.width or _WIDTH, height=wish.height or _HEIGHT, sha256="0" * 64,
        )  # fmt: skip
        module = self.module(card, state, where=where)
        write_safetensors(
            folder / WEIGHTS_FILE, state_of(module), half=architecture in self.halves,
            metadata={OWN_ENTRY: architecture},
        )  # fmt: skip
        return card

    def knows(self, card: ModelCard) -> bool:
        return card.task == "pose" and card.format == "safetensors" and card.architecture in self.architectures()

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        if (width, height) != (card.width, card.height):
            raise WardposeError(f"{card.name} is built for {card.width}×{card.height}", mend="leave the size out")
        return ModelInfo(
            name=card.name, task="pose", layout=card.layout, width=width, height=height, mean=POSE_MEAN, std=POSE_STD,
            confidence=card.confidence, aim=card.aim,
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        from tuning.train.torch_state import forward, write_onnx

        model = self.module(card, read_weights(folder, card), where=str(folder))
        if halves := card.architecture in self.halves:
            model.backbone.halve()
        write_onnx(
            model, draft, width=width, height=height, opset=_OPSET, outputs=list(self.outputs), dynamic_batch=True,
            halves=halves,
        )  # fmt: skip
        return partial(forward, model)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        from tuning.train.torch_state import interpolate, state_of

        card = read_card(folder)
        before = read_weights(folder, card)
        module = self.module(card, before, where=str(folder))
        paper = paper_recipe(card.architecture, settings) if settings.recipe == "paper" else None
        own: dict[str, Any] = {"weight_decay": 0.05, "clip_norm": 35.0, "freeze_statistics": True}
        batch = settings.batch or _BATCH
        loop = paper.loop(settings, **own) if paper else LoopSettings(
            epochs=settings.epochs or 1, minutes=settings.minutes, batch=batch, nominal_batch=batch, optimizer="adamw",
            learning_rate=settings.learning_rate or _LEARNING_RATE, final_factor=0.05, seed=settings.seed,
            threads=settings.threads, device=settings.device, **own,
        )  # fmt: skip
        # Tuned on crops turned to the body, it is to be run on such crops; the paper's are left as they stand.
        augmentation = PoseAugmentation.only_flips(paper.flip) if paper else PoseAugmentation(body=1.0)
        pictures = read_people(data_dir / "annotations.json", keypoints=True)
        with unfinished(out_dir, card, data_dir, settings.asked()) as checkpoint:
            outcome = self.fit(
                module, card, pictures, loop, augmentation, checkpoint=checkpoint, resume=True, progress=progress
            )
            alpha = 1.0 if settings.alpha is None else settings.alpha
            state = interpolate(before, {k: v for k, v in state_of(module).items() if k in before}, alpha)
            made = made_by_tuning(self.name, data_dir, settings, outcome, paper)
            made |= {"augmentation": augmentation.model_dump(mode="json")}
            aim = card.aim if paper else "body"
            changed = {"parent": card.name, "made": made, "scores": {}, "aim": aim, "confidence": ()}
            return save_model(
                out_dir, state, card.model_copy(update=changed), half=card.architecture in self.halves,
                record=checkpoint.parent,
            )  # fmt: skip
