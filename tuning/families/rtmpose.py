"""The RTMPose family (Jiang et al. 2023): SimCC heads on a CSPNeXt trunk, built by mmpose."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture, read_people
from tuning.families.base_family import BaseSettings, BaseTraining
from tuning.families.family import ImportWish, Reference, TuneSettings
from tuning.families.rtmpose_architectures import ARCHITECTURES, POSE_MEAN, POSE_STD
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.foreign import ForeignModel
from tuning.store.save import made_by_tuning, save_model
from tuning.store.unfinished import unfinished
from tuning.store.weights import State, read_weights, write_safetensors

_WIDTH, _HEIGHT = 192, 256
_OPSET = 17
_BATCH = 16
_LEARNING_RATE = 2e-4
_BASE_BATCH, _BASE_WARMUP_STEPS = 32, 200


class RtmPose:
    """RTMPose models, built by mmpose: SimCC heads on a CSPNeXt trunk."""

    name = "rtmpose"

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        architecture = wish.architecture or foreign.metadata.get("architecture")
        if foreign.state is None or architecture not in ARCHITECTURES:
            return None
        from tuning.families.rtmpose_training import build_pose
        from tuning.train.torch_state import state_of

        card = ModelCard(
            name=wish.name, task="pose", architecture=architecture, layout="simcc", width=wish.width or _WIDTH,
            height=wish.height or _HEIGHT, sha256="0" * 64,
        )  # fmt: skip
        module = build_pose(card, foreign.state, where=str(foreign.path))
        write_safetensors(folder / WEIGHTS_FILE, state_of(module), metadata={"architecture": architecture})
        return card

    def knows(self, card: ModelCard) -> bool:
        return card.task == "pose" and card.format == "safetensors" and card.architecture in ARCHITECTURES

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        if (width, height) != (card.width, card.height):
            raise WardposeError(f"{card.name} is built for {card.width}×{card.height}", mend="leave the size out")
        return ModelInfo(
            name=card.name, task="pose", layout="simcc", width=width, height=height, mean=POSE_MEAN, std=POSE_STD,
            confidence=card.confidence, aim=card.aim,
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        from tuning.families.rtmpose_training import build_pose
        from tuning.train.torch_state import forward, write_onnx

        model = build_pose(card, read_weights(folder, card), where=str(folder))
        write_onnx(
            model, draft, width=width, height=height, opset=_OPSET, outputs=["simcc_x", "simcc_y"], dynamic_batch=True
        )
        return partial(forward, model)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        from tuning.families.person_crops import PoseAugmentation
        from tuning.families.rtmpose_training import build_pose, train_pose
        from tuning.train.torch_loop import LoopSettings
        from tuning.train.torch_state import interpolate, state_of

        card = read_card(folder)
        before = read_weights(folder, card)
        module = build_pose(card, before, where=str(folder))
        loop = LoopSettings(
            epochs=settings.epochs or 1,
            minutes=settings.minutes,
            batch=settings.batch or _BATCH,
            nominal_batch=settings.batch or _BATCH,
            optimizer="adamw",
            learning_rate=settings.learning_rate or _LEARNING_RATE,
            weight_decay=0.05,
            final_factor=0.05,
            clip_norm=35.0,
            freeze_statistics=True,
            seed=settings.seed,
            threads=settings.threads,
            device=settings.device,
        )
        pictures = read_people(data_dir / "annotations.json", keypoints=True)
        asked = settings.model_dump(mode="json", exclude={"threads", "alpha"})
        with unfinished(out_dir, card, data_dir, asked) as checkpoint:
            # Tuned on crops turned to the body, it is to be run on such crops.
            outcome = train_pose(
                module, pictures, loop, width=card.width, height=card.height, augmentation=PoseAugmentation(body=1.0),
                checkpoint=checkpoint, resume=True, progress=progress,
            )  # fmt: skip
            alpha = 1.0 if settings.alpha is None else settings.alpha
            state = interpolate(before, {k: v for k, v in state_of(module).items() if k in before}, alpha)
            made = made_by_tuning(self.name, data_dir, settings, outcome)
            changed = {"parent": card.name, "made": made, "scores": {}, "aim": "body", "confidence": ()}
            return save_model(out_dir, state, card.model_copy(update=changed))

    def train_base(
        self, card: ModelCard, start: State | None, pictures: list[Picture], settings: BaseSettings, *,
        checkpoint: Path, resume: bool, progress: Progress | None,
    ) -> BaseTraining:  # fmt: skip
        from tuning.families.person_crops import PoseAugmentation
        from tuning.families.rtmpose_training import build_pose, train_pose
        from tuning.train.torch_state import seed_everything, state_of

        seed_everything(settings.seed)
        module, augmentation = build_pose(card, start, where=card.name), PoseAugmentation()
        loop = settings.loop(batch=_BASE_BATCH, warmup_steps=_BASE_WARMUP_STEPS, weight_decay=0.05, clip_norm=35.0)
        outcome = train_pose(
            module, pictures, loop, width=card.width, height=card.height, augmentation=augmentation,
            checkpoint=checkpoint, resume=resume, progress=progress,
        )  # fmt: skip
        return BaseTraining(state_of(module), loop, outcome, augmentation.model_dump())
