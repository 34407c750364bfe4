"""Building RTMPose by mmpose, and training it on our own loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.progress import Progress
from tuning.coco_folder import Picture
from tuning.families.mmpose_adapter import mmpose_models
from tuning.families.person_crops import PoseAugmentation
from tuning.families.rtmpose_architectures import ARCHITECTURES
from tuning.families.top_down import POSE_MEAN, POSE_STD
from tuning.families.top_down_samples import PoseSamples
from tuning.store.card import ModelCard
from tuning.store.outcome import Outcome
from tuning.store.weights import State
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit
from tuning.train.torch_state import begun, predict


def build_pose(card: ModelCard, state: State | None, *, where: str = "") -> Any:
    """The card's pose model as a torch module, (B, 3, H, W) to SimCC x and y, with weights `state` or random ones.

    The names of its weights are mmpose's own.
    """
    if card.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise WardposeError(
            f"no pose model is called {card.architecture!r}", where=where, mend=f"choose one of: {known}"
        )
    if card.width % 32 or card.height % 32:
        raise WardposeError(
            f"{card.width}×{card.height} is no input of {card.architecture}", mend="use multiples of 32"
        )
    depth, width, channels = ARCHITECTURES[card.architecture]
    models = mmpose_models()
    backbone = models.build(
        {
            "type": "mmpose.CSPNeXt",
            "arch": "P5",
            "expand_ratio": 0.5,
            "deepen_factor": depth,
            "widen_factor": width,
            "out_indices": (4,),
            "channel_attention": True,
            "norm_cfg": {"type": "BN"},
            "act_cfg": {"type": "SiLU"},
        }
    )
    head = models.build(
        {
            "type": "mmpose.RTMCCHead",
            "in_channels": channels,
            "out_channels": 17,
            "input_size": (card.width, card.height),
            "in_featuremap_size": (card.width // 32, card.height // 32),
            "simcc_split_ratio": 2.0,
            "final_layer_kernel_size": 7,
            "gau_cfg": {
                "hidden_dims": 256,
                "s": 128,
                "expansion_factor": 2,
                "dropout_rate": 0.0,
                "drop_path": 0.0,
                "act_fn": "SiLU",
                "use_rel_bias": False,
                "pos_enc": False,
            },
            "loss": {"type": "KLDiscretLoss", "use_target_weight": True, "beta": 10.0, "label_softmax": True},
        }
    )
    return begun(state, where, backbone=backbone, head=head)


def _loss(model: Any, batch: dict[str, Any], *, bfloat16: bool) -> dict[str, Any]:
    predicted = predict(model, batch["img"], bfloat16=bfloat16)
    return {"simcc": model.head.loss_module(predicted, (batch["x"], batch["y"]), batch["weight"])}


def train_pose(
    module: Any,
    pictures: list[Picture],
    loop: LoopSettings,
    *,
    width: int,
    height: int,
    augmentation: PoseAugmentation,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train in place on every person with keypoints."""
    samples = PoseSamples(
        pictures,
        width=width,
        height=height,
        mean=POSE_MEAN,
        std=POSE_STD,
        seed=loop.seed,
        augmentation=augmentation,
    )
    if not len(samples):
        raise WardposeError("no person has keypoints to learn from", mend="make a data set with keypoints")
    outcome = fit(
        module, samples, partial(_loss, bfloat16=loop.bfloat16), loop, loss_grows=True, checkpoint=checkpoint,
        resume=resume, progress=progress,
    )  # fmt: skip
    module.to("cpu")
    return outcome
