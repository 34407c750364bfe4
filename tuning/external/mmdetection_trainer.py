"""DINO (Zhang et al. 2023) on ResNet-50 by mmdetection, as a trainer by the contract of `contract.py`.

    python mmdetection_trainer.py TASK.json

It needs torch, mmcv-lite, mmengine and mmdet, and nothing compiled: what mmdet imports of mmcv's compiled operators is
stood in for, and deformable attention goes by torch's own operators, which mmcv has for a CPU.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_PAD = 114
_CLIP_NORM = 0.1


def _stand_in() -> None:
    def absent(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*_args: object, **_options: object) -> None:
            raise NotImplementedError(f"{name} is a compiled operator of mmcv, which mmcv-lite leaves out")

        return call

    module = types.ModuleType("mmcv._ext")
    module.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
    module.__dict__["__getattr__"] = absent
    sys.modules["mmcv._ext"] = module


def build(task: dict[str, Any]) -> Any:
    """DINO with four scales and ResNet-50, as mmdetection's `dino-4scale_r50_8xb2-12e_coco.py` describes it."""
    _stand_in()
    import mmcv.ops.multi_scale_deform_attn as attention
    import mmdet.models  # noqa: F401 (registers the models)
    from mmdet.registry import MODELS
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    MMLogger.get_current_instance().setLevel("ERROR")
    attention.IS_CUDA_AVAILABLE = False  # by torch's operators on a GPU too
    norm = {"type": "BN", "requires_grad": False}
    drop = {"embed_dims": 256, "dropout": 0.0}
    ffn = {"embed_dims": 256, "feedforward_channels": 2048, "ffn_drop": 0.0}
    model = MODELS.build({
        "type": "DINO", "num_queries": task.get("queries", 900), "with_box_refine": True, "as_two_stage": True,
        "data_preprocessor": {"type": "DetDataPreprocessor", "pad_size_divisor": 1},
        "backbone": {
            "type": "ResNet", "depth": 50, "num_stages": 4, "out_indices": (1, 2, 3), "frozen_stages": 1,
            "norm_cfg": norm, "norm_eval": True, "style": "pytorch",
        },
        "neck": {
            "type": "ChannelMapper", "in_channels": [512, 1024, 2048], "kernel_size": 1, "out_channels": 256,
            "act_cfg": None, "norm_cfg": {"type": "GN", "num_groups": 32}, "num_outs": 4,
        },
        "encoder": {
            "num_layers": 6, "layer_cfg": {"self_attn_cfg": {"num_levels": 4, **drop}, "ffn_cfg": ffn},
        },
        "decoder": {
            "num_layers": 6, "return_intermediate": True, "post_norm_cfg": None,
            "layer_cfg": {
                "self_attn_cfg": {"num_heads": 8, **drop}, "cross_attn_cfg": {"num_levels": 4, **drop}, "ffn_cfg": ffn,
            },
        },
        "positional_encoding": {"num_feats": 128, "normalize": True, "offset": 0.0, "temperature": 20},
        "bbox_head": {
            "type": "DINOHead", "num_classes": task["classes"], "sync_cls_avg_factor": True,
            "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0},
            "loss_bbox": {"type": "L1Loss", "loss_weight": 5.0}, "loss_iou": {"type": "GIoULoss", "loss_weight": 2.0},
        },
        "dn_cfg": {
            "label_noise_scale": 0.5, "box_noise_scale": 1.0,
            "group_cfg": {"dynamic": True, "num_groups": None, "num_dn_queries": 100},
        },
        "train_cfg": {
            "assigner": {
                "type": "HungarianAssigner",
                "match_costs": [
                    {"type": "FocalLossCost", "weight": 2.0},
                    {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
                    {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
                ],
            },
        },
        "test_cfg": {"max_per_img": 300},
    })  # fmt: skip
    torch.manual_seed(task["seed"])
    model.init_weights()
    if task["weights"]:
        model.load_state_dict(load_file(task["weights"]))
    return model


class Samples:
    """Pictures as the runtime letterboxes them, and their people's boxes xyxy in the input's pixels."""

    def __init__(self, task: dict[str, Any]) -> None:
        folder = Path(task["data"])
        content = json.loads((folder / "annotations.json").read_text())
        self._size = (task["width"], task["height"])
        self._pictures = [folder / "images" / image["file_name"] for image in content["images"]]
        boxes: dict[int, list[list[float]]] = {image["id"]: [] for image in content["images"]}
        for row in content["annotations"]:
            if not row.get("iscrowd"):
                x, y, w, h = row["bbox"]
                boxes[row["image_id"]].append([x, y, x + w, y + h])
        self._boxes = [torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) for rows in boxes.values()]

    def __len__(self) -> int:
        return len(self._pictures)

    def sample(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        width, height = self._size
        picture = Image.open(self._pictures[index]).convert("RGB")
        scale = min(width / picture.width, height / picture.height)
        wide, high = round(picture.width * scale), round(picture.height * scale)
        left, top = (width - wide) // 2, (height - high) // 2
        canvas = Image.new("RGB", self._size, (_PAD,) * 3)
        canvas.paste(picture.resize((wide, high), Image.Resampling.BILINEAR), (left, top))
        color = (torch.from_numpy(np.asarray(canvas, np.float32)) - torch.tensor(_MEAN)) / torch.tensor(_STD)
        return color.permute(2, 0, 1), self._boxes[index] * scale + torch.tensor([left, top] * 2)


def _described(boxes: list[torch.Tensor], task: dict[str, Any]) -> list[Any]:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    shape = (task["height"], task["width"])
    samples = []
    for rows in boxes:
        labels = torch.full((len(rows),), task["person_class"], dtype=torch.long)
        sample = DetDataSample(gt_instances=InstanceData(bboxes=rows, labels=labels))
        sample.set_metainfo(
            {"img_shape": shape, "batch_input_shape": shape, "pad_shape": shape, "scale_factor": (1, 1)}
        )
        samples.append(sample)
    return samples


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Whole or not at all: a file that is cut off would be gone on from."""
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, f"{path}.part")
    os.replace(f"{path}.part", path)


def _kept(model: Any, optimizer: Any, step: int) -> dict[str, torch.Tensor]:
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    return state | {"step": torch.tensor(step)}


def _restore(path: Path, model: Any, optimizer: Any) -> int:
    kept = load_file(path)
    model.load_state_dict({k.removeprefix("model."): v for k, v in kept.items() if k.startswith("model.")})
    own = optimizer.state_dict()
    own["state"] = {}
    for key, value in kept.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            own["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(own)
    return int(kept["step"])


def tune(task: dict[str, Any], model: Any, out: Path) -> bool:
    """Train in place; False where it was asked to stop, and has saved what it goes on from."""
    device = "cuda" if task["device"] != "cpu" and torch.cuda.is_available() else "cpu"
    data, resume = Samples(task), out / "resume.safetensors"
    model.to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=task["learning_rate"], weight_decay=1e-4)
    batches = -(-len(data) // task["batch"])
    step, stopping = (_restore(resume, model, optimizer) if resume.exists() else 0), list[bool]()
    signal.signal(signal.SIGINT, lambda *_: stopping.append(True))
    with (out / "metrics.jsonl").open("a") as metrics:
        while step < task["epochs"] * batches and not stopping:
            epoch, place = divmod(step, batches)
            order = np.random.default_rng((task["seed"], epoch)).permutation(len(data))
            chosen = [data.sample(i) for i in order[place * task["batch"] : (place + 1) * task["batch"]]]
            torch.manual_seed(hash((task["seed"], step)) % 2**63)
            pictures = torch.stack([color for color, _ in chosen]).to(device)
            samples = _described([boxes.to(device) for _, boxes in chosen], task)
            terms = model.loss(pictures, samples)
            loss: Any = sum(sum(term) if isinstance(term, list) else term for term in terms.values())
            if not bool(torch.isfinite(loss)):
                sys.exit(f"the loss is not finite at step {step + 1}; the weights after step {step} are in {resume}")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _CLIP_NORM)
            optimizer.step()
            step += 1
            _write(resume, _kept(model, optimizer, step))
            row = {"step": step, "steps": task["epochs"] * batches, "epoch": step / batches, "loss": float(loss)}
            metrics.write(json.dumps(row | {"learning_rate": task["learning_rate"]}) + "\n")
            metrics.flush()
    model.to("cpu")
    return not stopping


class _Plain(torch.nn.Module):  # type: ignore[misc]
    """Pictures (1, 3, H, W) to (1, M, 4 + classes): boxes in parts of the picture, and scores."""

    def __init__(self, model: Any, task: dict[str, Any]) -> None:
        super().__init__()
        self.model, self._samples = model, _described([torch.zeros(0, 4)], task)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = self.model.forward_transformer(self.model.extract_feat(pictures), self._samples)
        classes, boxes = self.model.bbox_head(found["hidden_states"], found["references"])
        return torch.cat([boxes[-1], classes[-1].sigmoid()], -1)


def main() -> int:
    task = json.loads(Path(sys.argv[1]).read_text())
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    out, model = Path(task["out"]), build(task)
    if task["action"] == "tune" and not tune(task, model, out):
        return 130
    _write(out / "checkpoint.safetensors", model.state_dict())
    draft = str(out / "model.onnx.part")
    with torch.no_grad():
        torch.onnx.export(
            _Plain(model.eval(), task), (torch.zeros(1, 3, task["height"], task["width"]),), draft, opset_version=18,
            input_names=["images"], output_names=["output"], dynamo=False,
        )  # fmt: skip
    os.replace(draft, out / "model.onnx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
