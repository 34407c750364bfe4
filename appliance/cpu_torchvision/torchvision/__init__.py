"""Stands in for torchvision beside a CPU-only torch.

The registries offer torchvision as a CUDA build only, which fails to load there, while ultralytics refuses to be
imported without it. What ultralytics calls on the paths wardpose uses is `__version__` and `ops.nms`.
"""

from . import ops

__all__ = ["ops"]
__version__ = "0.28.0+wardpose.cpu"
