"""Building pose models with heat maps by mmpose, and training them on our own loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from calibration.errors import WardposeError
from calibration.progress import Progress
from tuning.coco_folder import Picture
from tuning.families.heatmap_architectures import HRNETS, LAYOUTS, VITS
from tuning.families.heatmap_samples import HeatmapSamples
from tuning.families.mmpose_adapter import mmpose_models
from tuning.families.person_crops import PoseAugmentation
from tuning.families.top_down import POSE_MEAN, POSE_STD
from tuning.store.card import ModelCard
from tuning.store.outcome import Outcome
from tuning.store.weights import State
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit
from tuning.train.torch_state import begun, predict

_JOINTS = 17
_MODULES = ((2, 1), (3, 4), (4, 3))  # HRNet's: branches of a stage, and how often they exchange in it


def build_heatmap_pose(card: ModelCard, state: State | None, *, where: str = "") -> Any:
    """The card's pose model as a torch module, (B, 3, H, W) to heat maps (B, 17, H / 4, W / 4), with weights `state` or
    random ones. The names of its weights are mmpose's own."""
    if card.architecture not in LAYOUTS:
        raise WardposeError(
            f"no pose model is called {card.architecture!r}", where=where, mend=f"choose one of: {', '.join(LAYOUTS)}"
        )
    if card.width % 32 or card.height % 32:
        raise WardposeError(
            f"{card.width}×{card.height} is no input of {card.architecture}", mend="use multiples of 32"
        )
    if card.architecture in VITS:
        from tuning.families.vision_transformer import VisionTransformer

        vit = VITS[card.architecture]
        backbone: Any = VisionTransformer(**vit._asdict(), width=card.width, height=card.height)
        channels = vit.channels
        upsampling: dict[str, Any] = {"deconv_out_channels": (256, 256), "deconv_kernel_sizes": (4, 4)}
    else:
        channels = HRNETS[card.architecture.rpartition("-")[0]]
        backbone, upsampling = mmpose_models().build(_hrnet(channels)), {"deconv_out_channels": None}
    head = mmpose_models().build(
        {
            "type": "mmpose.HeatmapHead", "in_channels": channels, "out_channels": _JOINTS,
            "loss": {"type": "KeypointMSELoss", "use_target_weight": True}, **upsampling,
        }
    )  # fmt: skip
    return begun(state, where, backbone=backbone, head=head)


def _hrnet(channels: int) -> dict[str, Any]:
    """mmpose's description of HRNet; each stage has one branch more, of half the cells and twice the channels."""
    stages = {
        f"stage{branches}": {
            "num_modules": modules, "num_branches": branches, "block": "BASIC", "num_blocks": (4,) * branches,
            "num_channels": tuple(channels * 2**branch for branch in range(branches)),
        }
        for branches, modules in _MODULES
    }  # fmt: skip
    first = {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": (4,), "num_channels": (64,)}
    return {"type": "mmpose.HRNet", "in_channels": 3, "extra": {"stage1": first, **stages}}


def heatmap_loss(maps: Tensor, truth: Tensor, weight: Tensor) -> dict[str, Any]:
    """mmpose's: the mean of squared differences between maps (B, 17, h, w), of joints whose weight (B, 17) is 1."""
    return {"heatmap": ((maps - truth).square() * weight[:, :, None, None]).mean()}


def train_heatmap_pose(
    module: Any,
    pictures: list[Picture],
    loop: LoopSettings,
    *,
    card: ModelCard,
    augmentation: PoseAugmentation | None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train in place on every person with keypoints."""
    samples = HeatmapSamples(
        pictures, width=card.width, height=card.height, udp=card.layout == "heatmap-udp", mean=POSE_MEAN, std=POSE_STD,
        seed=loop.seed, augmentation=augmentation,
    )  # fmt: skip
    if not len(samples):
        raise WardposeError("no person has keypoints to learn from", mend="make a data set with keypoints")

    def loss(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        maps = predict(model, batch["img"], bfloat16=loop.bfloat16)
        return heatmap_loss(maps, batch["maps"], batch["weight"])

    outcome = fit(module, samples, loss, loop, checkpoint=checkpoint, resume=resume, progress=progress)
    module.to("cpu")
    return outcome
