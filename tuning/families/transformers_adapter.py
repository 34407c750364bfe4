"""The one module that imports transformers, which is told that it is offline: models are built from descriptions on
this box and filled from safetensors files, and nothing is looked up anywhere.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from calibration.errors import WardposeError

# Detectors whose losses and exports are tested here, by transformers' own names.
MODEL_TYPES = ("rt_detr_v2", "d_fine", "deformable_detr", "rf_detr")
_OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}  # fmt: skip
# What a description says of where it came from, of code it would have fetched, and of numbers' precision.
_LEFT_OUT = frozenset((
    "_name_or_path", "auto_map", "architectures", "transformers_version", "torch_dtype", "dtype", "custom_pipelines",
    "trust_remote_code", "quantization_config", "eval_size", "anchor_image_size", "_commit_hash",
))  # fmt: skip


@cache
def transformers() -> SimpleNamespace:
    """The parts of transformers that are used here."""
    os.environ.update(_OFFLINE)
    original = importlib.util.find_spec

    def without_torchvision(name: str, package: str | None = None) -> Any:
        # Beside a CPU-only torch stands one that has no transforms; detectors need none of it.
        return None if name == "torchvision" else original(name, package)

    importlib.util.find_spec = without_torchvision
    try:
        from transformers import AutoConfig, AutoModelForObjectDetection
        from transformers.utils import logging
        from transformers.utils.import_utils import is_torchvision_available, is_torchvision_v2_available

        for available in (is_torchvision_available, is_torchvision_v2_available):
            available.cache_clear()  # mmengine may have asked before
            available()  # it remembers the answer
    except ImportError as error:
        raise WardposeError(f"transformers cannot be imported ({error})", mend="run ./wardpose setup") from error
    finally:
        importlib.util.find_spec = original
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return SimpleNamespace(AutoConfig=AutoConfig, Detector=AutoModelForObjectDetection)


def told(description: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What of a `config.json` is kept: plain values that say how a detector is built.

    Raises WardposeError for another kind of model, and for a trunk that would have to be fetched.
    """
    kind = description.get("model_type")
    if kind not in MODEL_TYPES:
        raise WardposeError(
            f"its config.json describes a {kind!r}", where=where, mend=f"give one of: {', '.join(MODEL_TYPES)}"
        )
    if description.get("use_timm_backbone") or not isinstance(description.get("backbone_config"), dict):
        raise WardposeError(
            "its trunk is named, not described (timm, or a name to look up)", where=where,
            mend="save it with transformers ≥ 5 and a backbone_config of ResNet, HGNetV2 or DINOv2",
        )  # fmt: skip
    return _cleaned(description)


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _cleaned(item) for key, item in value.items() if key not in _LEFT_OUT}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def default_description(kind: str) -> dict[str, Any]:
    """The published architecture of a kind: RT-DETRv2 and Deformable DETR on ResNet-50, D-FINE on HGNetV2, RF-DETR on
    DINOv2; of 80 classes, as COCO has them."""
    parts = transformers()
    given: dict[str, Any] = {"num_labels": 80}
    if kind == "deformable_detr":
        trunk = parts.AutoConfig.for_model("resnet", out_features=["stage2", "stage3", "stage4"])
        given |= {"use_timm_backbone": False, "backbone_config": trunk, "backbone": None}
    described: dict[str, Any] = parts.AutoConfig.for_model(kind, **given).to_dict()
    return told(described | {"use_timm_backbone": False}, kind)


def build(description: Mapping[str, Any], where: str) -> Any:
    """The detector of a cleaned description, of random weights; WardposeError where it cannot be built."""
    try:
        return transformers().Detector.from_config(_config(description))
    except WardposeError:
        raise
    except Exception as error:  # a foreign description may hold anything, and the package answers with whatever comes
        raise _unbuildable(error, where) from None


def load(folder: Path, description: Mapping[str, Any]) -> Any:
    """The detector in a folder with `model.safetensors`, by a cleaned description; WardposeError where the two do not
    fit, or a tensor is missing or left over."""
    where = str(folder)
    try:
        model, report = transformers().Detector.from_pretrained(
            where, config=_config(description), use_safetensors=True, local_files_only=True, trust_remote_code=False,
            output_loading_info=True,
        )  # fmt: skip
    except WardposeError:
        raise
    except Exception as error:  # as above
        raise _unbuildable(error, where) from None
    wrong = {name: sorted(map(str, report.get(name) or ())) for name in ("missing_keys", "unexpected_keys")}
    wrong["mismatched_keys"] = sorted(map(str, report.get("mismatched_keys") or ()))
    if first := [key for keys in wrong.values() for key in keys]:
        counts = ", ".join(f"{len(keys)} {name.removesuffix('_keys')}" for name, keys in wrong.items() if keys)
        raise WardposeError(
            f"the weights do not fit config.json ({counts}; first {first[0]})", where=where,
            mend="copy both files of one model",
        )  # fmt: skip
    return model.float()


def _config(description: Mapping[str, Any]) -> Any:
    given = {key: value for key, value in description.items() if key != "model_type"}
    return transformers().AutoConfig.for_model(str(description["model_type"]), **given)


def _unbuildable(error: Exception, where: str) -> WardposeError:
    text = " ".join(str(error).split())[:200]
    return WardposeError(
        f"it cannot be built ({type(error).__name__}: {text})", where=where,
        mend="give a folder that transformers' save_pretrained wrote",
    )  # fmt: skip
