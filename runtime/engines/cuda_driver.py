"""Device memory and one stream through NVIDIA's driver library, which every box with a GPU already has."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError

_DRIVER_FILE = Path("/proc/driver/nvidia/version")


class CudaDevice:
    """GPU 0 through its primary context, the one that CUDA libraries in this process share.

    name: the GPU's own name. driver_version: the kernel driver's version. stream: a CUstream handle.
    Raises WardposeError where there is no NVIDIA driver or no GPU answers.
    """

    def __init__(self) -> None:
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise WardposeError("this box has no NVIDIA driver", mend="install the driver, or use the CPU") from error
        self._check("cuInit", 0)
        device = ctypes.c_int()
        self._check("cuDeviceGet", ctypes.byref(device), 0)
        label = ctypes.create_string_buffer(256)
        self._check("cuDeviceGetName", label, ctypes.c_int(256), device)
        self._context = ctypes.c_void_p()
        self._check("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.make_current()
        handle = ctypes.c_void_p()
        self._check("cuStreamCreate", ctypes.byref(handle), ctypes.c_uint(0))
        self._stream = handle
        self.name = label.value.decode()
        self.driver_version = _driver_version()

    @property
    def stream(self) -> int:
        return self._stream.value or 0

    def make_current(self) -> None:
        """Let the calling thread use this GPU; CUDA keeps that for each thread."""
        self._check("cuCtxSetCurrent", self._context)

    def allocate(self, nbytes: int) -> int:
        """The device address of `nbytes` fresh bytes."""
        address = ctypes.c_uint64()
        self._check("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(nbytes, 1)))
        return int(address.value)

    def free(self, address: int) -> None:
        self._check("cuMemFree_v2", ctypes.c_uint64(address))

    def copy_in(self, address: int, array: NDArray[np.generic]) -> None:
        """Queue host to device; `array` is contiguous and must live until `synchronize`."""
        self._check(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def copy_out(self, array: NDArray[np.generic], address: int) -> None:
        """Queue device to host; `array` is valid after `synchronize`."""
        self._check(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def synchronize(self) -> None:
        """Wait for everything queued on the stream."""
        self._check("cuStreamSynchronize", self._stream)

    def _check(self, function: str, *arguments: object) -> None:
        code = getattr(self._cuda, function)(*arguments)
        if code:
            raise WardposeError(f"{function} failed with CUDA error {code}", mend="see `nvidia-smi` and the system log")


def _driver_version() -> str:
    if not _DRIVER_FILE.is_file():
        return "unknown"
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", _DRIVER_FILE.read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"
