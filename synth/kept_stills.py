"""What a simulated ward has shown, kept so that its camera, started again after a crash, shows it at once.

A real camera opens within a second. A simulated one furnishes its ward first, which takes seconds: most of them go into
loading what makes bodies. But a picture depends on nothing but its ward's settings, its number, and what draws it; a
file is named by all of these, so that none is ever shown that would be drawn otherwise today. The files lie with the
compiled kernels (see `synth.render.kernel_cache`), where they are deleted with old ones. They show drawn people only.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from synth.npz import read_npz
from synth.render.kernel_cache import cache_folder

MOST = 60  # files of all wards together, about a megabyte each; those used last stay
_CUT_OFF_S = 600.0  # a file that has been being written for so long never will be
_REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = ("anny", "mujoco", "numba", "numpy", "opencv-python-headless", "scipy", "torch")


@dataclass(frozen=True)
class Still:
    """One rendered moment, as the sensor gives it but for its noise: (H, W, 3) uint8 RGB; depth in millimetres."""

    color: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None


class KeptStills:
    """The kept pictures of one ward. Where nothing can be read or written, nothing is kept: that is no error."""

    def __init__(self, ward: str, size: tuple[int, int], depth_size: tuple[int, int] | None) -> None:
        """ward: everything that its pictures depend on; the sizes (height, width) that they must have."""
        self._folder = cache_folder()
        self._name = f"ward-{hashlib.sha256(f'{_drawn_by()} {ward}'.encode()).hexdigest()[:24]}"
        self._shapes = {"color": (*size, 3)} | ({} if depth_size is None else {"depth": depth_size})

    def get(self, index: int) -> Still | None:
        """Picture number `index`; None where it is not there, or damaged."""
        if self._folder is None:
            return None
        path = self._path(self._folder, index)
        try:
            found = read_npz(path, self._shapes)
        except WardposeError:
            return None
        with contextlib.suppress(OSError):
            path.touch()
        kinds = {"color": np.uint8, "depth": np.uint16}
        if any(found[name].shape != shape or found[name].dtype != kinds[name] for name, shape in self._shapes.items()):
            return None
        return Still(found["color"], found.get("depth"))

    def keep(self, index: int, still: Still) -> None:
        if self._folder is None:
            return
        packed = io.BytesIO()
        if still.depth is None:
            np.savez_compressed(packed, color=still.color)
        else:
            np.savez_compressed(packed, color=still.color, depth=still.depth)
        with contextlib.suppress(WardposeError, OSError):
            write_bytes(self._path(self._folder, index), packed.getvalue())
            _tidy(self._folder)

    def _path(self, folder: Path, index: int) -> Path:
        return folder / f"{self._name}-{index}.npz"


def _tidy(folder: Path) -> None:
    """Delete what was used longest ago, and what a killed camera was writing."""
    kept = sorted(folder.glob("ward-*.npz"), key=lambda path: path.stat().st_mtime)
    cut_off = [path for path in folder.glob(".ward-*.part") if time.time() - path.stat().st_mtime > _CUT_OFF_S]
    for path in kept[:-MOST] + cut_off:
        path.unlink(missing_ok=True)


@cache
def _drawn_by() -> str:
    """Names the code, the data and the packages that draw a picture."""
    digest = hashlib.sha256()
    for floor in ("synth", "calibration"):
        for path in sorted((_REPOSITORY / floor).rglob("*")):
            if path.suffix in (".py", ".npz"):
                digest.update(str(path.relative_to(_REPOSITORY)).encode() + b"\0" + path.read_bytes() + b"\0")
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            digest.update(f"{package} {version(package)}\0".encode())
    return digest.hexdigest()
