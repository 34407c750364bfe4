"""Salience-DETR (Hou et al. 2024) by its authors' checkout, as a trainer by the contract of `contract.py`.

    python salience_detr_trainer.py TASK.json

The checkout is a folder that the site names. Its models and their descriptions are used and nothing else of it: what is
read, how it is trained and what is written are ours. It needs torch and torchvision, and nothing compiled: deformable
attention goes by torch's operators, which the authors have for a CPU, and where torchvision's own library does not load
beside this torch, its one operator that is used, non-maximum suppression, is stood in for.
"""

from __future__ import annotations

import importlib
import logging
import runpy
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

_CONFIGS = {
    "salience-detr-r50": "configs/salience_detr/salience_detr_resnet50_800_1333.py",
    "salience-detr-focalnet-l": "configs/salience_detr/salience_detr_focalnet_large_lrf_800_1333.py",
}
# Of the checkout, imported by what is used: they fetch files and look at the machine, and want packages for it.
_UNUSED = {"util.file_io": "PathManager", "util.collect_env": "collect_env_info"}
_NAMES = "_classes_"  # a published checkpoint carries its classes' names as a tensor, which no model needs


def _suppressed(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Which boxes (N, 4) xyxy stay, best first: torchvision's non-maximum suppression, by torch's operators."""
    order = scores.argsort(descending=True, stable=True)
    sorted_boxes = boxes[order]
    area = (sorted_boxes[:, 2] - sorted_boxes[:, 0]) * (sorted_boxes[:, 3] - sorted_boxes[:, 1])
    gone, kept = torch.zeros(len(boxes), dtype=torch.bool), []
    for place in range(len(boxes)):
        if gone[place]:
            continue
        kept.append(place)
        least = torch.maximum(sorted_boxes[place, :2], sorted_boxes[place + 1 :, :2])
        most = torch.minimum(sorted_boxes[place, 2:], sorted_boxes[place + 1 :, 2:])
        shared = (most - least).clamp(min=0).prod(1)
        gone[place + 1 :] |= shared > iou_threshold * (area[place] + area[place + 1 :] - shared)
    return order[torch.tensor(kept, dtype=torch.long)]


def _loaded() -> bool:
    """In place of torchvision's question whether its library is there; a function, since torch compiles it."""
    return True


def _torchvision() -> Any:
    """torchvision, with its operator stood in for where its library does not load: before it is imported."""
    warnings.filterwarnings("ignore")
    stand_in = torch.library.Library("torchvision", "FRAGMENT")
    try:
        import torchvision
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):  # both are registered when it is imported, and the first is used
            stand_in.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        stand_in.impl("nms", _suppressed, "CPU")
        import torchvision

        torchvision.extension._has_ops = _loaded
    torchvision._wardpose = stand_in  # an operator lives as long as its library
    return torchvision


def build(task: dict[str, Any]) -> Any:
    """The model as its authors describe it, on the task's weights or on random ones; nothing is fetched."""
    checkout = Path(task["checkout"])
    config = checkout / _CONFIGS[task["architecture"]]
    if not config.is_file():
        sys.exit(f"{config} is not there: give a whole checkout of the authors' repository")
    _torchvision()
    logging.disable(logging.ERROR)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(checkout))
    for name, of_it in _UNUSED.items():
        module = types.ModuleType(name)
        setattr(module, of_it, None)
        sys.modules[name] = module
    # A trunk's weights, which it would fetch.
    importlib.import_module("util.utils").__dict__["load_checkpoint"] = lambda *_named, **_options: None
    torch.manual_seed(task["seed"])
    model = runpy.run_path(str(config))["model"]
    sys.excepthook = sys.__excepthook__  # the checkout's would log what is wrong, where nobody looks
    if model.num_classes != task["classes"]:
        sys.exit(f"{config} describes {model.num_classes} classes, and {task['classes']} were asked for")
    if task["weights"]:
        state = load_file(task["weights"])
        state.pop(_NAMES, None)
        model.load_state_dict(state)
    return model


def _losses(model: Any, pictures: torch.Tensor, boxes: list[torch.Tensor], task: dict[str, Any]) -> list[torch.Tensor]:
    people = [
        {"boxes": rows, "labels": torch.full((len(rows),), task["person_class"], device=rows.device)} for rows in boxes
    ]
    return list(model(list(pictures), people).values())


class _AsFound(torch.nn.Module):  # type: ignore[misc]
    """In place of what makes detections of an answer."""

    def forward(self, found: Any, _sizes: Any) -> Any:
        return found


class _Plain(torch.nn.Module):  # type: ignore[misc]
    """Pictures (1, 3, H, W) to (1, M, 4 + classes): boxes in parts of the picture, and scores."""

    def __init__(self, model: Any, _task: dict[str, Any]) -> None:
        super().__init__()
        model.eval_transform = torch.nn.Sequential()  # pictures come in the input's size and colours
        model.postprocessor = _AsFound()
        self.model = model

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = self.model(pictures)
        return torch.cat([found["pred_boxes"], found["pred_logits"].sigmoid()], -1)


def main() -> int:
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from tuning.external.torch_trainer import carry_out

    return carry_out(build, _losses, _Plain)


if __name__ == "__main__":
    sys.exit(main())
