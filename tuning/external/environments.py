"""The external trainers that come with the product, and the environment each needs: `wardpose setup --external`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from calibration.errors import WardposeError

_HERE = Path(__file__).resolve().parent
_REPOSITORY = _HERE.parents[1]
_STRIDES = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model as published: the classes that it scores, which of them is the person, how many cells of its four scales
    (strides 8 to 64) its input must have, since it chooses its queries among them, and tensors that its checkpoints
    hold, of which the first has a row a class."""

    classes: int
    person_class: int
    least_cells: int
    tensors: tuple[str, ...] = ()

    def check_tensors(self, name: str, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """WardposeError for a checkpoint (its tensors' shapes by their names) that is not one of the model `name`."""
        for tensor in self.tensors:
            if tensor not in shapes:
                raise WardposeError(
                    f"is no checkpoint of {name}: it has no {tensor}", where=where,
                    mend="check which model it is of, and name its --architecture",
                )  # fmt: skip
        if self.tensors and shapes[self.tensors[0]][:1] != (self.classes,):
            raise WardposeError(
                f"scores {shapes[self.tensors[0]][0]} classes, and {name} as published {self.classes}", where=where,
                mend="give the published checkpoint",
            )  # fmt: skip

    def check_size(self, name: str, width: int, height: int) -> None:
        """WardposeError for an input in pixels that the model called `name` cannot take, with the least that it can."""
        if width % 32 or height % 32:
            raise WardposeError(f"{name} cannot take {width}×{height}", mend="give multiples of 32, such as 640×384")
        if (cells := _cells(width, height)) < self.least_cells:
            least = min(
                (wide, _at_least(wide * height / width))
                for wide in range(32, 4096, 32)
                if _cells(wide, _at_least(wide * height / width)) >= self.least_cells
            )
            raise WardposeError(
                f"{name} cannot take {width}×{height}: it chooses its answers among {self.least_cells} cells or more, "
                f"and there are {cells}", mend=f"the least of this shape is --size {least[0]}x{least[1]}",
            )  # fmt: skip


def _cells(width: int, height: int) -> int:
    return sum(-(-width // stride) * -(-height // stride) for stride in _STRIDES)


def _at_least(side: float) -> int:
    return max(32, 32 * math.ceil(side / 32 - 1e-9))


@dataclass(frozen=True, slots=True)
class Environment:
    """trainer: the file that is run in it. packages: installed with what they need; bare: without. code: a file of its
    authors' checkout by which that is known, where the trainer needs one; published: where they publish it.
    whole_torchvision: it needs more of torchvision than what loads beside a CPU's torch, and sees to that itself.
    interpreter: of an environment that the site has made itself; None: the one that `wardpose setup --external` makes.
    """

    name: str
    trainer: Path
    architectures: Mapping[str, Architecture]
    packages: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    code: str | None = None
    published: str | None = None
    whole_torchvision: bool = False
    interpreter: Path | None = None

    @property
    def folder(self) -> Path:
        return _REPOSITORY / f".venv-{self.name}"

    @property
    def python(self) -> Path:
        return self.interpreter or self.folder / "bin" / "python"

    def require(self, architecture: str) -> None:
        """WardposeError where `architecture` can't be trained here, since the environment is not there."""
        if not self.python.is_file():
            needs = " --checkout DIR" if self.code else ""
            raise WardposeError(
                f"{architecture} wants {self.name}'s own environment, which is not there", where=str(self.python),
                mend="make it" if self.interpreter else f"wardpose setup --external {self.name}{needs}",
            )  # fmt: skip

    @property
    def checkout(self) -> Path | None:
        """The authors' code, as it was named when this environment was made; None where it needs none."""
        if self.code is None:
            return None
        named = self.noted_checkout()
        if named is None:
            raise WardposeError(
                f"{self.name} needs its authors' code, and no checkout was named", where=str(self.folder),
                mend=f"wardpose setup --external {self.name} --checkout DIR ({self.published})",
            )  # fmt: skip
        return self.checked(named)

    @property
    def checkout_note(self) -> Path:
        """The file that says where the checkout is."""
        return self.folder / "checkout"

    def noted_checkout(self) -> Path | None:
        """What that file says; None where there is none."""
        try:
            return Path(self.checkout_note.read_text(encoding="utf-8"))
        except OSError:
            return None

    def checked(self, checkout: Path | None) -> Path:
        """A folder that holds its authors' code; WardposeError for any other."""
        if checkout is None:
            raise WardposeError(
                f"{self.name} needs its authors' code, of which nothing comes with wardpose", where="wardpose setup",
                mend=f"give a checkout of {self.published}: --checkout DIR",
            )  # fmt: skip
        if self.code is None or not (checkout / self.code).is_file():
            raise WardposeError(
                f"is no checkout of {self.published}" + (f": {self.code} is not there" if self.code else ""),
                where=str(checkout), mend="name the folder that git clone made",
            )  # fmt: skip
        return checkout.resolve()


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
        architectures={"dino-r50": Architecture(
            80, 0, least_cells=900, tensors=("bbox_head.cls_branches.0.weight", "backbone.conv1.weight")
        )},
    ),
    "salience-detr": Environment(
        "salience-detr",
        packages=(
            "torch==2.13.0", "numpy", "onnx", "safetensors", "pillow", "scipy", "opencv-python-headless", "pycocotools",
            "omegaconf==2.4.0", "accelerate==1.15.0", "terminaltables==3.1.10", "termcolor", "psutil", "pyyaml", "tqdm",
        ),
        bare=(),
        trainer=_HERE / "salience_detr_trainer.py",
        # Its last encoder layer looks at the 300 best of a tenth of the cells.
        architectures={
            name: Architecture(91, 1, least_cells=3000, tensors=("transformer.encoder_class_head.weight", stem))
            for name, stem in (
                ("salience-detr-r50", "backbone.conv1.weight"),
                ("salience-detr-focalnet-l", "backbone.0.patch_embed.proj.weight"),
            )
        },
        code="models/detectors/salience_detr.py",
        published="https://github.com/xiuqhou/Salience-DETR",
        whole_torchvision=True,
    ),
}  # fmt: skip
