"""The one module that imports mmpose: building RTMPose, and training it on our own loop.

mmpose 1.3.2 imports, at module level, packages that no top-down model uses: mmcv's compiled operators, mmdet,
torchvision and xtcocotools (which needs a compiler). Where one is absent it is stood in for while mmpose is imported,
and the stand-ins are taken away again.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import json
import sys
import types
import warnings
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from tuning.coco_folder import Picture, read_people
from tuning.export import POSE_MEAN, POSE_STD
from tuning.families.family import Progress, TuneSettings
from tuning.families.top_down_samples import PoseAugmentation, PoseSamples
from tuning.store.card import ModelCard, read_card
from tuning.store.save import save_model
from tuning.store.weights import State, read_weights
from tuning.train.torch_loop import LoopSettings, Outcome, fit
from tuning.train.torch_state import chain, interpolate, load_into, predict, state_of

# Depth and width of the CSPNeXt backbone, and its output channels (Jiang et al. 2023, RTMPose).
ARCHITECTURES = {
    "rtmpose-t": (0.167, 0.375, 384),
    "rtmpose-s": (0.33, 0.5, 512),
    "rtmpose-m": (0.67, 0.75, 768),
}


def _absent(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def call(*_args: object, **_options: object) -> None:
        raise NotImplementedError(f"{name} needs a package this installation leaves out")

    return call


def _module(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []
    module.__dict__.update(attributes)
    return module


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    from mmengine.config import ConfigDict

    added: dict[str, types.ModuleType] = {}
    if not _installed("mmcv._ext"):
        added["mmcv._ext"] = _module("mmcv._ext", __getattr__=_absent)
    if not _installed("mmdet"):
        utils = _module("mmdet.utils", ConfigType=ConfigDict, reduce_mean=_absent("reduce_mean"))
        added |= {"mmdet": _module("mmdet", utils=utils), "mmdet.utils": utils}
    if not _installed("torchvision") or not _installed("torchvision.transforms"):
        transforms = _module("torchvision.transforms", ToPILImage=_absent("ToPILImage"))
        if not _installed("torchvision"):
            added["torchvision"] = _module("torchvision", transforms=transforms)
        added["torchvision.transforms"] = transforms
    if not _installed("xtcocotools"):
        import pycocotools.coco
        import pycocotools.cocoeval
        import pycocotools.mask

        added |= {
            "xtcocotools": _module("xtcocotools"),
            "xtcocotools.coco": pycocotools.coco,
            "xtcocotools.cocoeval": pycocotools.cocoeval,
            "xtcocotools.mask": pycocotools.mask,
        }
    before = {name: sys.modules.get(name) for name in added}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@cache
def _models() -> Any:
    """mmpose's registry of models."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _stand_ins():
                import mmpose.models  # noqa: F401 (registers the models)
            from mmengine.logging import MMLogger
            from mmpose.registry import MODELS
    except ImportError as error:
        raise WardposeError(f"mmpose cannot be imported ({error})", mend="run ./wardpose setup") from error
    MMLogger.get_current_instance().setLevel("ERROR")  # it would log a line for every weight it draws
    # Its layers turn off CUDA's automatic precision by a name that torch has since renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.cuda.amp.autocast.*")
    return MODELS


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
    models = _models()
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


class MmposeTrainer:
    """Tunes RTMPose models."""

    def knows(self, card: ModelCard) -> bool:
        return card.task == "pose" and card.format == "safetensors" and card.architecture in ARCHITECTURES

    def tune(
        self, card_dir: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        card = read_card(card_dir)
        before = read_weights(card_dir, card)
        module = build_pose(card, before, where=str(card_dir))
        loop = LoopSettings(
            epochs=settings.epochs,
            minutes=settings.minutes,
            batch=settings.batch,
            nominal_batch=settings.nominal_batch,
            optimizer="adamw",
            learning_rate=settings.learning_rate,
            weight_decay=0.05,
            final_factor=0.05,
            clip_norm=35.0,
            freeze_statistics=settings.freeze_statistics,
            seed=settings.seed,
            threads=settings.threads,
            device=settings.device,
        )
        pictures = read_people(data_dir / "annotations.json")
        outcome = train_pose(
            module,
            pictures,
            loop,
            width=card.width,
            height=card.height,
            augmentation=PoseAugmentation(),
            progress=progress,
        )
        state = interpolate(before, {k: v for k, v in state_of(module).items() if k in before}, settings.alpha)
        made = {
            "command": "wardpose tune",
            "trainer": "mmpose",
            "seed": settings.seed,
            "data": data_dir.name,
            "people": outcome.images,
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "loss": outcome.loss,
            "settings": json.loads(settings.model_dump_json()),
        }
        return save_model(out_dir, state, card.model_copy(update={"parent": card.name, "made": made, "scores": {}}))
