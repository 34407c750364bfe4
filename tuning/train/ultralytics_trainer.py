"""The one module that imports ultralytics: building its detectors and pose models, training them on our own loop.

Its layers, augmentations and losses are used; its trainer is not, nor its checkpoints (pickles), callbacks, plots,
analytics and downloads.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from calibration.errors import WardposeError
from runtime.skeleton import KEYPOINTS, MIRRORED
from tuning.card import ModelCard, read_card
from tuning.coco_folder import Picture, read_people
from tuning.train.save import save_model
from tuning.train.torch_loop import LoopSettings, Outcome, fit, interpolate, load_into, predict, state_of
from tuning.train.trainer import Progress, TuneSettings
from tuning.weights import State, read_weights

KNOWN = (
    "yolo11n", "yolov8n", "yolo26n", "yolov5n", "yolo11s", "yolov8s", "yolo26s", "yolov5s", "yolo11m", "yolov8m",
)  # fmt: skip
# What a foreign description may name: ultralytics looks names up among everything it has imported, loaders of pickles
# included, and evaluates `activation`.
LAYERS = frozenset((
    "Conv", "DWConv", "Focus", "C1", "C2", "C2f", "C3", "C3k", "C3k2", "C3x", "C2fCIB", "C2PSA", "PSA", "SCDown",
    "SPP", "SPPF", "SPPELAN", "ELAN1", "ADown", "AConv", "A2C2f", "RepC3", "RepConv", "RepNCSPELAN4", "CBLinear",
    "CBFuse", "GhostConv", "C3Ghost", "GhostBottleneck", "Bottleneck", "BottleneckCSP", "HGStem", "HGBlock",
    "Concat", "Detect", "v10Detect", "Pose", "nn.Upsample", "nn.MaxPool2d", "nn.ZeroPad2d", "nn.ConvTranspose2d",
    "nn.Identity",
))  # fmt: skip
ACTIVATIONS = frozenset(("nn.SiLU()", "nn.ReLU()", "nn.LeakyReLU(0.1)", "nn.Hardswish()", "nn.GELU()", "nn.Mish()"))
_FEWEST_STEPS = 20
_NAME = re.compile(r"^yolo(v3|v5|v6|v8|v9|v10|11|12|26)[a-z]?(-pose)?$")
POSE_ARCHITECTURES = ("yolo11n-pose", "yolov8n-pose")


@contextlib.contextmanager
def _torchvision_version() -> Iterator[None]:
    """ultralytics asks for torchvision's version when imported, and for nothing else of it where we use it."""
    original = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return original(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name == "torchvision":
                return "0.28.0"
            raise

    importlib.metadata.version = version
    try:
        yield
    finally:
        importlib.metadata.version = original


@cache
def _ultralytics() -> SimpleNamespace:
    """Import ultralytics with everything that reaches outside the box turned off."""
    folder = os.environ.get("YOLO_CONFIG_DIR")
    if folder is None:
        folder = tempfile.mkdtemp(prefix="wardpose-ultralytics-")
        os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ.update(
        YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS="1", YOLO_VERBOSE="false"
    )
    # It resets torch's thread count on import of its parts; the loop sets the one asked for afterwards.
    with _torchvision_version():
        try:
            from ultralytics.cfg import DEFAULT_CFG_DICT
            from ultralytics.data.dataset import YOLODataset
            from ultralytics.nn.tasks import DetectionModel, PoseModel, yaml_model_load
            from ultralytics.utils import SETTINGS, IterableSimpleNamespace, torch_utils
        except ImportError as error:
            raise WardposeError(f"ultralytics cannot be imported ({error})", mend="run ./wardpose setup") from error
    if SETTINGS.get("sync", True):
        SETTINGS.update({"sync": False})
    torch_utils.NUM_THREADS = os.cpu_count() or 1
    _provide_font(Path(os.environ["YOLO_CONFIG_DIR"]) / "Ultralytics")

    class People(YOLODataset):  # type: ignore[misc]
        """Our COCO folder in the shape its augmentations expect; no label files, no cache beside the data."""

        def __init__(self, pictures: list[Picture], *, keypoints: bool, **options: Any) -> None:
            self._pictures, self._keypoints = pictures, keypoints
            data: dict[str, Any] = {"names": {0: "person"}, "channels": 3}
            if keypoints:
                data |= {"kpt_shape": [len(KEYPOINTS), 3], "flip_idx": list(MIRRORED)}
            super().__init__(img_path="", data=data, task="pose" if keypoints else "detect", **options)

        def get_img_files(self, img_path: Any) -> list[str]:
            return [str(picture.path) for picture in self._pictures]

        def get_labels(self) -> list[dict[str, Any]]:
            return [_label(picture, keypoints=self._keypoints) for picture in self._pictures]

    return SimpleNamespace(
        DetectionModel=DetectionModel,
        PoseModel=PoseModel,
        yaml_model_load=yaml_model_load,
        defaults=DEFAULT_CFG_DICT,
        Namespace=IterableSimpleNamespace,
        People=People,
        collate=YOLODataset.collate_fn,
    )


def _provide_font(folder: Path) -> None:
    """It would fetch Arial from the internet; any TrueType font of an installed package serves."""
    target = folder / "Arial.ttf"
    if target.is_file():
        return
    for package, pattern in (("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"), ("PIL", "**/*.ttf")):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            distribution = importlib.metadata.distribution("pillow" if package == "PIL" else package)
            found = sorted(Path(str(distribution.locate_file(package))).glob(pattern))
            if found:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found[0], target)
                return


def _label(picture: Picture, *, keypoints: bool) -> dict[str, Any]:
    boxes, points = picture.boxes[~picture.ignored], picture.keypoints[~picture.ignored].copy()
    size = np.array([picture.width, picture.height, picture.width, picture.height], np.float64)
    boxes = np.clip(boxes, 0, size)
    if len(boxes):
        kept = (boxes[:, 2:] - boxes[:, :2]).min(-1) > 1
        boxes, points = boxes[kept], points[kept]
    points[..., :2] /= size[:2]
    centred = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1) / size
    return {
        "im_file": str(picture.path),
        "shape": (picture.height, picture.width),
        "cls": np.zeros((len(boxes), 1), np.float32),
        "bboxes": centred.astype(np.float32),
        "segments": [],
        "keypoints": points.astype(np.float32) if keypoints else None,
        "normalized": True,
        "bbox_format": "xywh",
    }


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
            if _NAME.match(name) and _fits(_build(name, None, classes), state):
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
        if not _NAME.match(name):
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
    parts = _ultralytics()
    if layers is None:
        if not _NAME.match(architecture):
            raise WardposeError(f"no detector is called {architecture!r}", mend=f"choose one of: {', '.join(KNOWN)}")
        layers = parts.yaml_model_load(f"{architecture}.yaml")
    _require_known_layers(layers)
    if architecture.endswith("-pose"):
        return parts.PoseModel(dict(layers), ch=3, nc=classes, data_kpt_shape=(len(KEYPOINTS), 3), verbose=False)
    return parts.DetectionModel(dict(layers), ch=3, nc=classes, verbose=False)


def build_pose(card: ModelCard, state: State | None, *, start: State | None = None, where: str = "") -> BuiltDetector:
    """The card's whole-picture pose model with the weights `state`, or random ones.

    start: weights of a detector of the same family; every tensor that fits by name and shape is taken over.
    """
    if card.architecture not in POSE_ARCHITECTURES:
        raise WardposeError(
            f"no pose model is called {card.architecture!r}", where=where,
            mend=f"choose one of: {', '.join(POSE_ARCHITECTURES)}",
        )  # fmt: skip
    module = _build(card.architecture, None, 1)
    if state is not None:
        load_into(module, state, where)
    elif start is not None:
        own = state_of(module)
        fitting = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise WardposeError("no tensor of the model to start from fits", where=where, mend="give a YOLO detector")
        load_into(module, own | fitting, where)
    module.args = _arguments({})
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
    module.args = _arguments({})
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


def _arguments(changes: dict[str, Any]) -> Any:
    parts = _ultralytics()
    return parts.Namespace(**{**parts.defaults, "deterministic": True, **changes})


class _Samples:
    """Augmented samples; what is random depends on (seed, epoch, index) and the pictures drawn shortly before."""

    def __init__(
        self, pictures: list[Picture], size: int, batch: int, seed: int, augmentation: dict[str, Any], keypoints: bool
    ) -> None:
        parts = _ultralytics()
        self._seed, self._collate = seed, parts.collate
        options = {"imgsz": size, "augment": True, "batch_size": batch, "hyp": _arguments(augmentation)}
        self._data = parts.People(pictures, keypoints=keypoints, **options)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        samples = []
        for index in indices:
            drawn = int(np.random.default_rng((self._seed, epoch, index)).integers(2**32))
            # Its augmentations draw from the global generators: there is no other way to seed them.
            random.seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002
            try:
                samples.append(self._data[index])
            except FileNotFoundError as error:
                raise WardposeError(
                    "a picture cannot be read", where=str(error), mend="make the data set again"
                ) from None
        batch = self._collate(samples)
        return {key: batch[key] for key in ("img", "batch_idx", "cls", "bboxes", "keypoints") if key in batch}


def _loss(model: Any, batch: dict[str, Any], *, bfloat16: bool, keypoint_tolerance: float) -> dict[str, Any]:
    if getattr(model, "criterion", None) is None and "keypoints" in batch:  # only now is it on its device
        model.criterion = model.init_criterion()
        model.criterion.keypoint_loss.sigmas = model.criterion.keypoint_loss.sigmas * keypoint_tolerance
    pictures = batch["img"].float() / 255  # bytes until now: less to hand from process to process
    terms, _ = model.loss(batch, predict(model, pictures, bfloat16=bfloat16))
    names = ("box", "pose", "seen", "class", "shape") if "keypoints" in batch else ("box", "class", "shape")
    return {names[i] if i < len(names) else f"term{i}": term for i, term in enumerate(terms.reshape(-1))}


def train_detector(
    built: BuiltDetector,
    pictures: list[Picture],
    loop: LoopSettings,
    *,
    size: int,
    augmentation: dict[str, Any],
    frozen_layers: int = 0,
    keypoint_tolerance: float = 1.0,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train in place. augmentation: ultralytics' own names (mosaic, degrees, scale, fliplr, hsv_h, ...).

    keypoint_tolerance: factor on COCO's per-keypoint constants in a pose model's loss. That loss is flat where a
    keypoint is far off, so a model that begins at random learns faster with more than 1.
    """
    names = [f"model.{index}." for index in range(frozen_layers)]
    for name, parameter in built.module.named_parameters():
        parameter.requires_grad = not (any(name.startswith(prefix) for prefix in names) or ".dfl" in name)
    built.module.args = _arguments(augmentation)
    built.module.criterion = None
    samples = _Samples(pictures, size, loop.batch, loop.seed, augmentation, hasattr(built.head, "kpt_shape"))
    loss = partial(_loss, bfloat16=loop.bfloat16, keypoint_tolerance=keypoint_tolerance)
    outcome = fit(built.module, samples, loss, loop, checkpoint=checkpoint, resume=resume, progress=progress)
    built.module.to("cpu").criterion = None
    return outcome


def _nominal_batch(settings: TuneSettings, pictures: int) -> int:
    """The images of one optimiser step: fewer for a small data set, which would end after a handful of steps."""
    return max(settings.batch, min(settings.nominal_batch, pictures * settings.epochs // _FEWEST_STEPS))


class UltralyticsTrainer:
    """Tunes YOLO detectors (v3 to 26) and YOLO pose models."""

    def knows(self, card: ModelCard) -> bool:
        return card.format == "safetensors" and (card.task == "detect" or card.architecture in POSE_ARCHITECTURES)

    def tune(
        self, card_dir: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        card = read_card(card_dir)
        before = read_weights(card_dir, card)
        pictures = read_people(data_dir / "annotations.json")
        build = build_detector if card.task == "detect" else build_pose
        built = build(card, before, where=str(card_dir))
        loop = LoopSettings(
            epochs=settings.epochs,
            minutes=settings.minutes,
            batch=settings.batch,
            nominal_batch=_nominal_batch(settings, len(pictures)),
            learning_rate=settings.learning_rate,
            freeze_statistics=settings.freeze_statistics,
            seed=settings.seed,
            threads=settings.threads,
            device=settings.device,
        )
        augmentation = {"mosaic": settings.mosaic, "degrees": settings.rotation_deg, "scale": 0.3, "translate": 0.1}
        outcome = train_detector(
            built, pictures, loop, size=settings.size, augmentation=augmentation, frozen_layers=settings.frozen_layers,
            progress=progress,
        )  # fmt: skip
        state = interpolate(before, {k: v for k, v in built.state().items() if k in before}, settings.alpha)
        made = {
            "command": "wardpose tune",
            "trainer": "ultralytics",
            "seed": settings.seed,
            "data": data_dir.name,
            "images": outcome.images,
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "loss": outcome.loss,
            "settings": json.loads(settings.model_dump_json()),
        }
        return save_model(out_dir, state, card.model_copy(update={"parent": card.name, "made": made, "scores": {}}))


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
