"""Building, training and exporting detection transformers, by their authors' own losses as transformers has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.detection_samples import DetectionAugmentation, DetectionSamples
from tuning.families.transformers_adapter import build, load
from tuning.store.outcome import Outcome
from tuning.store.weights import State
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit
from tuning.train.torch_state import load_into, write_onnx

_STRIDE = 32


class DetrModule(nn.Module):  # type: ignore[misc]
    """Pictures (B, 3, H, W) to (B, M, 4 + classes): centre and size in parts of the picture, and class scores.

    step: pixels by which its input's sides are whole. weights: the detector's own names, behind `detector.`.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector
        self.classes = int(detector.config.num_labels)
        trunk = detector.config.backbone_config
        patch, windows = getattr(trunk, "patch_size", None), getattr(trunk, "num_windows", 1)
        self.step = math.lcm(_STRIDE, int(patch) * int(windows)) if isinstance(patch, int) else _STRIDE

    def forward(self, pictures: Tensor) -> Tensor:
        answer = self.detector(pixel_values=pictures)
        return torch.cat([answer.pred_boxes, answer.logits.sigmoid()], -1)


def import_detr(folder: Path, description: Mapping[str, Any]) -> DetrModule:
    """The detector of a folder that transformers wrote."""
    return DetrModule(load(folder, description)).eval()


def build_detr(description: Mapping[str, Any] | None, state: State | None, *, where: str = "") -> DetrModule:
    """The detector of a card's description with the weights `state`, or random ones."""
    if description is None:
        raise WardposeError("the card does not describe the detector", where=where, mend="import it again")
    module = DetrModule(build(description, where))
    if state is not None:
        load_into(module, state, where)
    return module.eval()


def train_detr(
    module: DetrModule,
    pictures: list[Picture],
    info: ModelInfo,
    loop: LoopSettings,
    augmentation: DetectionAugmentation,
    *,
    keep_trunk: bool,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Train in place, on from `checkpoint` where it is there. keep_trunk: the backbone's weights stay as they are."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not (keep_trunk and ".backbone." in name))
    samples = DetectionSamples(pictures, info, seed=loop.seed, augmentation=augmentation)
    size = (info.width, info.height)

    def loss(model: DetrModule, batch: dict[str, Any]) -> dict[str, Any]:
        labels = labels_of(batch, size, info.person_class)
        return {"detr": model.detector(pixel_values=batch["images"], labels=labels).loss}

    outcome = fit(module, samples, loss, loop, checkpoint=checkpoint, resume=True, progress=progress)
    module.to("cpu")
    return outcome


def labels_of(batch: dict[str, Any], size: tuple[int, int], person: int) -> list[dict[str, Tensor]]:
    """A batch of `DetectionSamples` as transformers wants its labels: boxes in parts of the picture, x, y of the centre
    and size. Crowds are nobody."""
    scale = torch.tensor([*size, *size], device=batch["boxes"].device, dtype=batch["boxes"].dtype)
    labels = []
    for place in range(len(batch["images"])):
        mine = (batch["picture"] == place) & ~batch["ignored"]
        xyxy = batch["boxes"][mine] / scale
        boxes = torch.cat([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
        labels.append({"class_labels": torch.full((len(boxes),), person, device=boxes.device), "boxes": boxes})
    return labels


def write_detr(module: DetrModule, path: Path, *, width: int, height: int, opset: int) -> None:
    """Trace into an ONNX file for this input."""
    for part in module.modules():
        if hasattr(part, "interpolate_pos_encoding") and hasattr(part, "position_embeddings"):
            _fix_positions(part, width, height)
    write_onnx(module, path, width=width, height=height, opset=opset, outputs=["output"], dynamic_batch=False)
    _in_single_precision(path)


def _fix_positions(embeddings: Any, width: int, height: int) -> None:
    """DINOv2 stretches its embeddings of places to the picture's size, by an operator that ONNX has not; for one size
    the outcome is a constant."""
    places = embeddings.position_embeddings
    patch = embeddings.patch_size
    cells = (height // patch) * (width // patch) + 1
    with torch.no_grad():
        stretched = embeddings.interpolate_pos_encoding(places.new_zeros(1, cells, places.shape[-1]), height, width)
    embeddings.interpolate_pos_encoding = lambda *_given: stretched


def _in_single_precision(path: Path) -> None:
    """Sampling points that the tracer computed in double precision are narrowed: no runtime samples by doubles."""
    import onnx

    model = onnx.load(str(path))
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    changed = False
    for place in reversed(range(len(model.graph.node))):
        node = model.graph.node[place]
        if node.op_type != "GridSample":
            continue
        for position, name in enumerate(node.input):
            if kinds.get(name) != onnx.TensorProto.FLOAT:
                narrow = f"{name}_narrow_{place}"
                cast = onnx.helper.make_node("Cast", [name], [narrow], to=onnx.TensorProto.FLOAT)
                node.input[position] = narrow
                model.graph.node.insert(place, cast)
                changed = True
    if changed:
        onnx.save(model, str(path))
