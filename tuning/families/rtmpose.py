"""The RTMPose family (Jiang et al. 2023): SimCC heads on a CSPNeXt trunk, built by mmpose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from calibration.progress import Progress
from runtime.model_info import PoseLayout
from tuning.coco_folder import Picture
from tuning.families.base_family import BaseSettings, BaseTraining
from tuning.families.person_crops import PoseAugmentation
from tuning.families.rtmpose_architectures import ARCHITECTURES
from tuning.families.top_down import TopDownFamily
from tuning.store.card import ModelCard
from tuning.store.outcome import Outcome
from tuning.store.weights import State
from tuning.train.loop_settings import LoopSettings

_BASE_BATCH, _BASE_WARMUP_STEPS = 32, 200


class RtmPose(TopDownFamily):
    """RTMPose models, built by mmpose: SimCC heads on a CSPNeXt trunk."""

    name: ClassVar[str] = "rtmpose"
    outputs: ClassVar[tuple[str, ...]] = ("simcc_x", "simcc_y")

    def architectures(self) -> Mapping[str, PoseLayout]:
        return dict.fromkeys(ARCHITECTURES, "simcc")

    def module(self, card: ModelCard, state: State | None, *, where: str = "") -> Any:
        from tuning.families.rtmpose_training import build_pose

        return build_pose(card, state, where=where)

    def fit(
        self, module: Any, card: ModelCard, pictures: list[Picture], loop: LoopSettings,
        augmentation: PoseAugmentation, *, checkpoint: Path | None = None, resume: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:  # fmt: skip
        from tuning.families.rtmpose_training import train_pose

        return train_pose(
            module, pictures, loop, width=card.width, height=card.height, augmentation=augmentation,
            checkpoint=checkpoint, resume=resume, progress=progress,
        )  # fmt: skip

    def train_base(
        self, card: ModelCard, start: State | None, pictures: list[Picture], settings: BaseSettings, *,
        checkpoint: Path, resume: bool, progress: Progress | None,
    ) -> BaseTraining:  # fmt: skip
        from tuning.train.torch_state import seed_everything, state_of

        seed_everything(settings.seed)
        module, augmentation = self.module(card, start, where=card.name), PoseAugmentation()
        loop = settings.loop(batch=_BASE_BATCH, warmup_steps=_BASE_WARMUP_STEPS, weight_decay=0.05, clip_norm=35.0)
        outcome = self.fit(
            module, card, pictures, loop, augmentation, checkpoint=checkpoint, resume=resume, progress=progress
        )
        return BaseTraining(state_of(module), loop, outcome, augmentation.model_dump())
