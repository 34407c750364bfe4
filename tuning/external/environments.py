"""The external trainers that come with the product, and the environment each needs: `wardpose setup --external`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_REPOSITORY = _HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Environment:
    """packages: installed with what they need; bare: without. trainer: the file that is run in it; architectures: the
    classes that each of its models scores as published, and which is the person."""

    name: str
    packages: tuple[str, ...]
    bare: tuple[str, ...]
    trainer: Path
    architectures: Mapping[str, tuple[int, int]]

    @property
    def folder(self) -> Path:
        return _REPOSITORY / f".venv-{self.name}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


ENVIRONMENTS: Mapping[str, Environment] = {
    "mmdetection": Environment(
        "mmdetection",
        packages=(
            "torch==2.13.0", "numpy", "onnx", "safetensors", "pillow", "scipy", "opencv-python-headless", "pycocotools",
            "matplotlib", "addict", "pyyaml", "yapf", "termcolor", "rich", "six", "terminaltables==3.1.10",
            "shapely==2.2.0", "tqdm", "packaging", "setuptools<82",
        ),
        bare=("mmengine==0.10.7", "mmcv-lite==2.1.0", "mmdet==3.3.0"),
        trainer=_HERE / "mmdetection_trainer.py",
        architectures={"dino-r50": (80, 0)},
    ),
}  # fmt: skip
