"""DINO (Zhang et al. 2023) on ResNet-50 by mmdetection, as a trainer by the contract of `contract.py`.

    python mmdetection_trainer.py TASK.json

It needs torch, mmcv-lite, mmengine and mmdet, and nothing compiled: what mmdet imports of mmcv's compiled operators is
stood in for, and deformable attention goes by torch's own operators, which mmcv has for a CPU.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


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


def _losses(model: Any, pictures: torch.Tensor, boxes: list[torch.Tensor], task: dict[str, Any]) -> list[torch.Tensor]:
    terms = model.loss(pictures, _described(boxes, task)).values()
    return [one for term in terms for one in (term if isinstance(term, list) else [term])]


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
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from tuning.external.torch_trainer import carry_out

    return carry_out(build, _losses, _Plain)


if __name__ == "__main__":
    sys.exit(main())
