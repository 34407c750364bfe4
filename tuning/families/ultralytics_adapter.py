"""The one module that imports ultralytics, with everything that reaches outside the box turned off.

Its layers, augmentations and losses are used; its trainer is not, nor its checkpoints (pickles), callbacks, plots,
analytics and downloads.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from calibration.errors import WardposeError
from runtime.skeleton import KEYPOINTS, MIRRORED
from tuning.coco_folder import Picture


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


@contextlib.contextmanager
def pillow_as_it_was() -> Iterator[None]:
    """ultralytics puts an `open` of its own into Pillow, which asks for another package where a picture is broken."""
    from PIL import Image

    original = Image.open
    try:
        yield
    finally:
        Image.open = original


@cache
def ultralytics() -> SimpleNamespace:
    """What is used of the package."""
    folder = os.environ.get("YOLO_CONFIG_DIR")
    if folder is None:
        folder = tempfile.mkdtemp(prefix="wardpose-ultralytics-")
        os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ.update(
        YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS="1", YOLO_VERBOSE="false"
    )
    # It resets torch's thread count on import of its parts; the loop sets the one asked for afterwards.
    with _torchvision_version(), pillow_as_it_was():
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


def arguments(changes: dict[str, Any]) -> Any:
    """Its configuration: the defaults with these changes."""
    parts = ultralytics()
    return parts.Namespace(**{**parts.defaults, "deterministic": True, **changes})
