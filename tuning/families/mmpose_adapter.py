"""The one module that imports mmpose: its registry of models, without the packages no top-down model uses.

mmpose 1.3.2 imports, at module level, packages that no top-down model uses: mmcv's compiled operators, mmdet,
torchvision and xtcocotools (which needs a compiler). Where one is absent it is stood in for while mmpose is imported,
and the stand-ins are taken away again.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from calibration.errors import WardposeError


def _absent(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def call(*_args: object, **_options: object) -> None:
        raise NotImplementedError(f"{name} needs a package this installation leaves out")

    return call


def _module(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []
    module.__dict__.update(attributes)
    return module


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    from mmengine.config import ConfigDict

    added: dict[str, types.ModuleType] = {}
    if not _installed("mmcv._ext"):
        added["mmcv._ext"] = _module("mmcv._ext", __getattr__=_absent)
    if not _installed("mmdet"):
        utils = _module("mmdet.utils", ConfigType=ConfigDict, reduce_mean=_absent("reduce_mean"))
        added |= {"mmdet": _module("mmdet", utils=utils), "mmdet.utils": utils}
    if not _installed("torchvision") or not _installed("torchvision.transforms"):
        transforms = _module("torchvision.transforms", ToPILImage=_absent("ToPILImage"))
        if not _installed("torchvision"):
            added["torchvision"] = _module("torchvision", transforms=transforms)
        added["torchvision.transforms"] = transforms
    if not _installed("xtcocotools"):
        import pycocotools.coco
        import pycocotools.cocoeval
        import pycocotools.mask

        added |= {
            "xtcocotools": _module("xtcocotools"),
            "xtcocotools.coco": pycocotools.coco,
            "xtcocotools.cocoeval": pycocotools.cocoeval,
            "xtcocotools.mask": pycocotools.mask,
        }
    before = {name: sys.modules.get(name) for name in added}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@cache
def mmpose_models() -> Any:
    """mmpose's registry of models."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _stand_ins():
                import mmpose.models  # noqa: F401 (registers the models)
            from mmengine.logging import MMLogger
            from mmpose.registry import MODELS
    except ImportError as error:
        raise WardposeError(f"mmpose cannot be imported ({error})", mend="run ./wardpose setup") from error
    MMLogger.get_current_instance().setLevel("ERROR")  # it would log a line for every weight it draws
    # Its layers turn off CUDA's automatic precision by a name that torch has since renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.cuda.amp.autocast.*")
    return MODELS


def mmpose_codec(layout: str, size: tuple[int, int], map_size: tuple[int, int]) -> Any:
    """mmpose's own reading of heat maps of layout `heatmap-udp` or `heatmap-dark`; sizes are (width, height)."""
    mmpose_models()
    from mmpose.codecs import MSRAHeatmap, UDPHeatmap

    if layout == "heatmap-udp":
        return UDPHeatmap(size, map_size, sigma=2)
    return MSRAHeatmap(size, map_size, sigma=2, unbiased=True)
