"""The RTMPose family: built by mmpose (Jiang et al. 2023), trained on our own loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture, read_people
from tuning.families.family import ImportWish, Progress, Reference, TuneSettings
from tuning.families.mmpose_adapter import mmpose_models
from tuning.families.top_down_samples import PoseAugmentation, PoseSamples
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.foreign import ForeignModel
from tuning.store.save import made_by_tuning, save_model
from tuning.store.weights import State, read_weights, write_safetensors
from tuning.train.torch_loop import LoopSettings, Outcome, fit
from tuning.train.torch_state import chain, forward, interpolate, load_into, predict, state_of, write_onnx

# Mean and standard deviation of ImageNet, of 0…255: what RTMPose was made for.
POSE_MEAN = (123.675, 116.28, 103.53)
POSE_STD = (58.395, 57.12, 57.375)
_WIDTH, _HEIGHT = 192, 256
_OPSET = 17
_LEARNING_RATE = 2e-4
# Depth and width of the CSPNeXt backbone, and its output channels (Jiang et al. 2023, RTMPose).
ARCHITECTURES = {
    "rtmpose-t": (0.167, 0.375, 384),
    "rtmpose-s": (0.33, 0.5, 512),
    "rtmpose-m": (0.67, 0.75, 768),
}


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
    module = chain(backbone=backbone, head=head)
    if state is None:
        backbone.init_weights()
        head.init_weights()
    else:
        load_into(module, state, where)
    return module


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
        module, samples, partial(_loss, bfloat16=loop.bfloat16), loop, checkpoint=checkpoint, resume=resume,
        progress=progress,
    )  # fmt: skip
    module.to("cpu")
    return outcome


class RtmPose:
    """RTMPose models, built by mmpose: SimCC heads on a CSPNeXt trunk."""

    name = "rtmpose"

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        architecture = wish.architecture or foreign.metadata.get("architecture")
        if foreign.state is None or architecture not in ARCHITECTURES:
            return None
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
            confidence=card.confidence,
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        model = build_pose(card, read_weights(folder, card), where=str(folder))
        write_onnx(
            model, draft, width=width, height=height, opset=_OPSET, outputs=["simcc_x", "simcc_y"], dynamic_batch=True
        )
        return partial(forward, model)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        card = read_card(folder)
        before = read_weights(folder, card)
        module = build_pose(card, before, where=str(folder))
        loop = LoopSettings(
            epochs=settings.epochs or 1,
            minutes=settings.minutes,
            batch=settings.batch,
            nominal_batch=settings.batch,
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
        pictures = read_people(data_dir / "annotations.json")
        outcome = train_pose(
            module, pictures, loop, width=card.width, height=card.height, augmentation=PoseAugmentation(),
            progress=progress,
        )  # fmt: skip
        state = interpolate(before, {k: v for k, v in state_of(module).items() if k in before}, settings.alpha)
        made = made_by_tuning(self.name, data_dir, settings, outcome)
        return save_model(out_dir, state, card.model_copy(update={"parent": card.name, "made": made, "scores": {}}))
