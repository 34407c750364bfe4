"""Ultralytics' detectors and pose models: told by their weights' shapes, built, cut down to people, made exportable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from runtime.skeleton import KEYPOINTS
from tuning.families.ultralytics_adapter import arguments, ultralytics
from tuning.families.yolo_names import KNOWN, is_yolo
from tuning.store.card import ModelCard
from tuning.store.weights import State
from tuning.train.torch_state import load_into, state_of

# What a foreign description may name: ultralytics looks names up among everything it has imported, loaders of pickles
# included, and evaluates `activation`.
LAYERS = frozenset((
    "Conv", "DWConv", "Focus", "C1", "C2", "C2f", "C3", "C3k", "C3k2", "C3x", "C2fCIB", "C2PSA", "PSA", "SCDown",
    "SPP", "SPPF", "SPPELAN", "ELAN1", "ADown", "AConv", "A2C2f", "RepC3", "RepConv", "RepNCSPELAN4", "CBLinear",
    "CBFuse", "GhostConv", "C3Ghost", "GhostBottleneck", "Bottleneck", "BottleneckCSP", "HGStem", "HGBlock",
    "Concat", "Detect", "v10Detect", "Pose", "nn.Upsample", "nn.MaxPool2d", "nn.ZeroPad2d", "nn.ConvTranspose2d",
    "nn.Identity",
))  # fmt: skip
ACTIVATIONS = frozenset(
    ("nn.SiLU()", "nn.ReLU()", "torch.nn.ReLU()", "nn.LeakyReLU(0.1)", "nn.Hardswish()", "nn.GELU()", "nn.Mish()")
)


@dataclass(slots=True)
class BuiltDetector:
    """A detector in memory. `module` is a torch module; `state` are its weights as arrays."""

    module: Any
    head: Any

    def state(self) -> State:
        return state_of(self.module)


@dataclass(frozen=True, slots=True)
class Recognised:
    architecture: str
    layers: dict[str, Any] | None
    classes: int


def recognise(state: State, *, architecture: str | None, layers: dict[str, Any] | None, where: str) -> Recognised:
    """Which detector a state dict belongs to: as told, or else the first known one whose every shape fits."""
    classes = _classes_of(state)
    if layers is not None:
        try:
            classes = int(layers["nc"])
            name = Path(str(layers.get("yaml_file") or "custom")).stem
            if is_yolo(name) and _fits(_build(name, None, classes), state):
                return Recognised(name, None, classes)
            fits = _fits(_build(name, layers, classes), state)
        except WardposeError:
            raise
        except Exception as error:  # foreign layers may be anything; ultralytics answers with whatever comes
            raise WardposeError(
                f"its layers cannot be built ({error})", where=where, mend="give a YOLO detector"
            ) from None
        if fits:
            return Recognised(name, layers, classes)
    for name in (architecture,) if architecture else KNOWN:
        name = Path(name).stem
        if not is_yolo(name):
            raise WardposeError(
                f"no detector is called {name!r}", where=where, mend=f"choose one of: {', '.join(KNOWN)}"
            )
        if _fits(_build(name, None, classes), state):
            return Recognised(name, None, classes)
    known = architecture or ", ".join(KNOWN)
    raise WardposeError(f"the weights fit no detector among {known}", where=where, mend="name its architecture")


def _fits(module: Any, state: State) -> bool:
    own = {k: tuple(v.shape) for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    return own == {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _require_known_layers(layers: dict[str, Any]) -> None:
    rows = [*layers.get("backbone", []), *layers.get("head", [])]
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) != 4 or row[2] not in LAYERS:
            raise WardposeError(f"refused: the architecture names the layer {row!r}", mend="give a YOLO detector")
    activation = layers.get("activation", "nn.SiLU()")
    if activation not in ACTIVATIONS:
        raise WardposeError(
            f"refused: the architecture names the activation {activation!r}", mend="give a YOLO detector"
        )


def _classes_of(state: State) -> int:
    heads = [key for key in state if re.fullmatch(r"model\.\d+\.cv3\.0\.2\.weight", key)]
    return int(state[heads[0]].shape[0]) if heads else 1


def _build(architecture: str, layers: dict[str, Any] | None, classes: int) -> Any:
    parts = ultralytics()
    if layers is None:
        if not is_yolo(architecture):
            raise WardposeError(f"no detector is called {architecture!r}", mend=f"choose one of: {', '.join(KNOWN)}")
        layers = parts.yaml_model_load(f"{architecture}.yaml")
    _require_known_layers(layers)
    if architecture.endswith("-pose"):
        return parts.PoseModel(dict(layers), ch=3, nc=classes, data_kpt_shape=(len(KEYPOINTS), 3), verbose=False)
    return parts.DetectionModel(dict(layers), ch=3, nc=classes, verbose=False)


def build_pose(card: ModelCard, state: State | None, *, where: str = "") -> BuiltDetector:
    """The card's whole-picture pose model with the weights `state`, or random ones."""
    if not card.architecture.endswith("-pose"):
        raise WardposeError(
            f"no pose model is called {card.architecture!r}", where=where, mend="name it such as yolo11n-pose"
        )
    module = _build(card.architecture, card.architecture_yaml, card.built_classes)
    if state is not None:
        load_into(module, state, where)
    module.args = arguments({})
    return BuiltDetector(module, module.model[-1])


def build_detector(card: ModelCard, state: State | None, *, person_class: int = 0, where: str = "") -> BuiltDetector:
    """The card's detector with the weights `state`, or random ones.

    A head of several classes is cut down to its person channel: what it learnt about people from photographs stays.
    """
    module = _build(card.architecture, card.architecture_yaml, card.built_classes)
    head = module.model[-1]
    if state is None:
        _slice_head(module, head, 0)
    elif _classes_of(state) == 1:  # cut before, or built for one class
        _slice_head(module, head, 0)
        load_into(module, state, where)
    else:
        load_into(module, state, where)
        _slice_head(module, head, person_class)
    module.args = arguments({})
    return BuiltDetector(module, head)


def _slice_head(module: Any, head: Any, person: int) -> None:
    if head.nc == 1:
        return
    branches = [head.cv3, *([head.one2one_cv3] if getattr(head, "one2one_cv3", None) is not None else [])]
    for branch in branches:
        for level in branch:
            last = level[-1]
            replacement = type(last)(last.in_channels, 1, last.kernel_size, last.stride, last.padding)
            replacement.weight.data = last.weight.data[person : person + 1].clone()
            replacement.bias.data = last.bias.data[person : person + 1].clone()
            level[-1] = replacement
    head.nc, head.no = 1, 1 + 4 * head.reg_max
    module.names = {0: "person"}


def inference_module(built: BuiltDetector) -> Any:
    """The model as a torch module that answers [1, 4 + classes (+ 51 keypoint numbers), N], batch norms folded in."""
    module, head = built.module, built.head
    module.to("cpu").eval()
    if getattr(head, "one2one_cv3", None) is not None:
        head.end2end = False  # the raw answer: our own suppression follows, and confidence keeps its meaning
    else:
        module.fuse(verbose=False)
    head.export, head.format, head.dynamic, head.shape = True, "onnx", False, None
    for parameter in module.parameters():
        parameter.requires_grad = False
    return module
