"""Pose models that answer with heat maps: HRNet (Sun et al. 2019) read by UDP or DARK, and ViTPose (Xu et al. 2022).

They are mmpose's: its names of weights, its targets, its way back from maps to joints.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from calibration.progress import Progress
from runtime.model_info import PoseLayout
from tuning.coco_folder import Picture
from tuning.families.heatmap_architectures import HALVES, LAYOUTS
from tuning.families.person_crops import PoseAugmentation
from tuning.families.top_down import TopDownFamily
from tuning.store.card import ModelCard
from tuning.store.outcome import Outcome
from tuning.store.weights import State
from tuning.train.loop_settings import LoopSettings


class HeatmapPose(TopDownFamily):
    """HRNet-W32 and -W48 with UDP or DARK, ViTPose-S, -B, -L and -H."""

    name: ClassVar[str] = "mmpose"
    outputs: ClassVar[tuple[str, ...]] = ("heatmaps",)
    halves: ClassVar[Collection[str]] = HALVES

    def architectures(self) -> Mapping[str, PoseLayout]:
        return LAYOUTS

    def module(self, card: ModelCard, state: State | None, *, where: str = "") -> Any:
        from tuning.families.heatmap_training import build_heatmap_pose

        return build_heatmap_pose(card, state, where=where)

    def fit(
        self, module: Any, card: ModelCard, pictures: list[Picture], loop: LoopSettings,
        augmentation: PoseAugmentation, *, checkpoint: Path | None = None, resume: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:  # fmt: skip
        from tuning.families.heatmap_training import train_heatmap_pose

        return train_heatmap_pose(
            module, pictures, loop, card=card, augmentation=augmentation, checkpoint=checkpoint, resume=resume,
            progress=progress,
        )  # fmt: skip
