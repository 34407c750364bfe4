"""Reading a PyTorch `.pt` checkpoint without executing anything it carries.

A `.pt` file is a zip of one pickle and raw tensor storages. A pickle is a program; this reader lets it name only
tensors, a few plain containers, and classes of `torch.nn` and `ultralytics`, which become inert records: nothing of
theirs is imported, constructed or called. Any other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from tuning.store.foreign_names import listed_names

MAX_PICKLE_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 4 * 2**30
_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "BFloat16Storage": np.dtype("<u2"),
}


# Notes beside the weights, such as the best figure and the folder of the training: kept by nobody, and harmless as
# records that do nothing.
_INERT = frozenset({
    *(f"pathlib.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    *(f"pathlib._local.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "datetime.datetime",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`state` as PyTorch would name it, the layers' description where the file has one, and the class names."""

    state: dict[str, NDArray[Any]]
    architecture_yaml: dict[str, Any] | None
    classes: int | None
    names: dict[int, str]


class _Record:
    """Stands in for an object of a foreign class: keeps its attributes, does nothing."""

    def __init__(self, *_args: object, **_options: object) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # (dict, slots)
            state = state[0]
        self.attributes = dict(state) if isinstance(state, dict) else {}


@dataclass(frozen=True, slots=True)
class _Storage:
    name: str


class _RefusedError(Exception):
    pass


class _TensorReader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[str, NDArray[Any]] = {}
        self._tensor_bytes = 0

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if module == "torch" and name in _DTYPES:
            return _Storage(name)
        known: dict[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "builtins.set": set,
            "_codecs.encode": _inert,  # the bytes of a numpy number
            "__builtin__.set": set,
            "torch.Size": tuple,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _parameter,
        }
        if full in known:
            return known[full]
        if module.split(".")[0] == "ultralytics" or module.startswith("torch.nn.modules.") or full in _INERT:
            return type(name, (_Record,), {})
        raise _RefusedError(full)

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        kind, storage, key, _location, count = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise _RefusedError(f"persistent object {kind!r}")
        if key not in self._storages:
            dtype = _DTYPES[storage.name]
            member = self._archive.getinfo(f"{self._root}data/{key}")
            self._tensor_bytes += member.file_size
            if self._tensor_bytes > MAX_TENSOR_BYTES:
                raise _RefusedError("more than 4 GiB of tensors")
            values = np.frombuffer(self._archive.read(member), dtype)
            if len(values) < int(count):
                raise ValueError(f"storage {key} is truncated")
            if storage.name == "BFloat16Storage":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            self._storages[key] = values
        return self._storages[key]

    @staticmethod
    def _tensor(
        storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
    ) -> NDArray[Any]:
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if min(size, default=1) == 0:
            return np.empty(size, storage.dtype)
        if offset < 0 or min(stride, default=0) < 0 or min(size, default=0) < 0 or last >= len(storage):
            raise ValueError("a tensor reaches outside its storage")
        view = np.lib.stride_tricks.as_strided(
            storage[offset:], tuple(size), tuple(step * storage.itemsize for step in stride), writeable=False
        )
        if view.nbytes > MAX_TENSOR_BYTES:
            raise ValueError("a tensor of more than 4 GiB")
        return np.ascontiguousarray(view).reshape(tuple(size))


def _inert(*_args: object) -> _Record:
    return _Record()


def _parameter(data: NDArray[Any], *_rest: object) -> NDArray[Any]:
    return data


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors and architecture of a `.pt` file, read by allow-list; WardposeError names whatever is refused."""
    where = str(path)
    mend = "ask for the weights as .safetensors or .onnx"
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise WardposeError("not a PyTorch checkpoint (no data.pkl inside)", where=where, mend=mend)
            root = pickles[0].removesuffix("data.pkl")
            if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
                raise WardposeError("its pickle is larger than any checkpoint's", where=where, mend=mend)
            if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
                raise WardposeError("its tensors are big-endian", where=where, mend=mend)
            content = _TensorReader(archive, root).load()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise WardposeError(f"cannot be read ({error.strerror})", where=where, mend="check the path") from None
    except zipfile.BadZipFile:
        raise WardposeError("not a PyTorch checkpoint (no zip archive)", where=where, mend=mend) from None
    except _RefusedError as refused:
        raise WardposeError(
            f"refused: the file names {refused}, which is no part of a model; nothing of it was executed",
            where=where,
            mend=mend,
        ) from None
    except WardposeError:
        raise
    except Exception as error:  # a damaged or hostile pickle may fail in any way; none of them may pass for a model
        raise WardposeError(f"damaged checkpoint ({type(error).__name__}: {error})", where=where, mend=mend) from None
    return _interpret(content, where)


def _interpret(content: Any, where: str) -> Checkpoint:
    if isinstance(content, dict) and any(key in content for key in ("ema", "model")):
        content = content.get("ema") or content.get("model")
    if isinstance(content, _Record):
        state: dict[str, NDArray[Any]] = {}
        _collect(content, "", state, depth=0)
        layers = content.attributes.get("yaml")
        names = content.attributes.get("names")
        names = listed_names(names)
        layers = layers if isinstance(layers, dict) and _plain(layers) else None
        classes = layers.get("nc") if layers else None
        if not state:
            raise WardposeError("the checkpoint holds no tensors", where=where, mend="check which file this is")
        return Checkpoint(state, layers, classes if isinstance(classes, int) else len(names) or None, names)
    if isinstance(content, dict) and content and all(isinstance(value, np.ndarray) for value in content.values()):
        return Checkpoint({str(key): value for key, value in content.items()}, None, None, {})
    raise WardposeError("the checkpoint holds no model", where=where, mend="check which file this is")


def _collect(module: _Record, prefix: str, state: dict[str, NDArray[Any]], depth: int) -> None:
    """Gather parameters and persistent buffers under the names `state_dict()` would give them."""
    if depth > 32:
        raise WardposeError("its modules are nested too deeply", mend="ask for the weights as .safetensors or .onnx")
    transient = module.attributes.get("_non_persistent_buffers_set") or set()
    for group in ("_parameters", "_buffers"):
        for name, value in (module.attributes.get(group) or {}).items():
            if isinstance(value, np.ndarray) and name not in transient:
                state[f"{prefix}{name}"] = value
    for name, child in (module.attributes.get("_modules") or {}).items():
        if isinstance(child, _Record):
            _collect(child, f"{prefix}{name}.", state, depth + 1)


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and _plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)
