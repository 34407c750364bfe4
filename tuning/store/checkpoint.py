"""Reading a PyTorch `.pt` checkpoint without executing anything it carries.

A `.pt` file is a zip of one pickle and raw tensor storages. A pickle is a program; this reader lets it name only
tensors, a few plain containers, and classes of `torch.nn` and `ultralytics`, which become inert records: nothing of
theirs is imported, constructed or called. Any other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.confinement import hurried
from calibration.errors import WardposeError
from tuning.store.foreign_names import listed_names

MAX_PICKLE_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 4 * 2**30
UNPACKED = 4  # storages, as often as large as the file, at most: weights hardly shrink when they are packed
LEAST_BYTES = 16 * 2**20  # that a small file may unpack to
MOST_REPEATED = 1 << 16  # numbers of a tensor that is longer than its storage
MAX_NODES = 1_000_000  # modules, parameters and pieces of a description, counted as often as they are met
MAX_DEPTH = 32
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
    def __init__(self, path: Path, archive: zipfile.ZipFile, root: str) -> None:
        content = archive.read(f"{root}data.pkl")
        _require_modest(content)
        super().__init__(io.BytesIO(content))
        self._archive, self._root = archive, root
        self._storages: dict[str, NDArray[Any]] = {}
        self._most_bytes = min(MAX_TENSOR_BYTES, LEAST_BYTES + UNPACKED * os.stat(path).st_size)
        self._storage_bytes, self._tensor_bytes = 0, 0

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
            self._storage_bytes += member.file_size
            self._require_room(self._storage_bytes)
            values = np.frombuffer(self._archive.read(member), dtype)
            if len(values) < int(count):
                raise ValueError(f"storage {key} is truncated")
            if storage.name == "BFloat16Storage":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            self._storages[key] = values
        return self._storages[key]

    def _tensor(
        self, storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
    ) -> NDArray[Any]:
        if len(size) > MAX_DEPTH:
            raise ValueError("a tensor of too many axes")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if offset < 0 or min(stride, default=0) < 0 or min(size, default=0) < 0:
            raise ValueError("a tensor reaches outside its storage")
        if min(size, default=1) == 0:
            return np.empty(size, storage.dtype)
        if last >= len(storage):
            raise ValueError("a tensor reaches outside its storage")
        if math.prod(size) > max(len(storage), MOST_REPEATED):  # the same numbers again and again, by a step of nought
            raise ValueError("a tensor larger than its storage")
        self._tensor_bytes += math.prod(size) * storage.itemsize
        self._require_room(self._tensor_bytes)
        view = np.lib.stride_tricks.as_strided(
            storage[offset:], tuple(size), tuple(step * storage.itemsize for step in stride), writeable=False
        )
        return np.ascontiguousarray(view).reshape(tuple(size))

    def _require_room(self, asked: int) -> None:
        if asked > self._most_bytes:
            raise ValueError("more tensors than a file of its size holds")


def _require_modest(content: bytes) -> None:
    """Refuse a pickle that asks for room out of all proportion before it is read: pickle makes its table of what is
    kept as long as the largest number in it, and byte arrays as large as they say.

    Raises ValueError.
    """
    kept = 0
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            kept += 1
            if int(argument or 0) > 2 * kept + 1024:
                raise ValueError("a table with next to nothing in it")
        elif operation.name in ("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"{operation.name}, which no checkpoint holds")


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
            if f"{root}byteorder" in archive.namelist():
                with archive.open(f"{root}byteorder") as member:
                    if member.read(16) != b"little":
                        raise WardposeError("its tensors are big-endian", where=where, mend=mend)
            with hurried("reading it", path.stat().st_size):
                content = _TensorReader(path, archive, root).load()
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
    except (WardposeError, MemoryError):
        raise
    except Exception as error:  # a damaged or hostile pickle may fail in any way; none of them may pass for a model
        raise WardposeError(f"damaged checkpoint ({type(error).__name__}: {error})", where=where, mend=mend) from None
    return _interpret(content, where)


def _interpret(content: Any, where: str) -> Checkpoint:
    if isinstance(content, dict) and any(key in content for key in ("ema", "model")):
        content = content.get("ema") or content.get("model")
    if isinstance(content, _Record):
        state: dict[str, NDArray[Any]] = {}
        _collect(content, where, state)
        layers = content.attributes.get("yaml")
        names = content.attributes.get("names")
        names = listed_names(names)
        layers = layers if isinstance(layers, dict) and _is_plain(layers) else None
        classes = layers.get("nc") if layers else None
        if not state:
            raise WardposeError("the checkpoint holds no tensors", where=where, mend="check which file this is")
        return Checkpoint(state, layers, classes if isinstance(classes, int) else len(names) or None, names)
    if isinstance(content, dict) and content and all(isinstance(value, np.ndarray) for value in content.values()):
        return Checkpoint({str(key): value for key, value in content.items()}, None, None, {})
    raise WardposeError("the checkpoint holds no model", where=where, mend="check which file this is")


def _collect(content: _Record, where: str, state: dict[str, NDArray[Any]]) -> None:
    """Gather parameters and persistent buffers under the names `state_dict()` would give them.

    A module that stands in several places counts in each, so a short file can describe a tree without end.
    """
    waiting, met = [(content, "", 0)], 0
    while waiting:
        module, prefix, depth = waiting.pop()
        attributes = {name: _mapping(module.attributes.get(name)) for name in ("_parameters", "_buffers", "_modules")}
        met += 1 + sum(len(group) for group in attributes.values())
        if depth > MAX_DEPTH or met > MAX_NODES:
            raise WardposeError(
                "its modules are nested too deeply, or too often", where=where,
                mend="ask for the weights as .safetensors or .onnx",
            )  # fmt: skip
        transient = module.attributes.get("_non_persistent_buffers_set")
        transient = transient if isinstance(transient, set) else set()
        for group in ("_parameters", "_buffers"):
            for name, value in attributes[group].items():
                if isinstance(value, np.ndarray) and isinstance(name, str) and name not in transient:
                    state[f"{prefix}{name}"] = value
        for name, child in reversed(attributes["_modules"].items()):
            if isinstance(child, _Record) and isinstance(name, str):
                waiting.append((child, f"{prefix}{name}.", depth + 1))


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _is_plain(value: Any) -> bool:
    """Whether a description is of plain values, and no larger than any is."""
    waiting, met = [(value, 0)], 0
    while waiting:
        piece, depth = waiting.pop()
        met += 1
        if met > MAX_NODES or depth > MAX_DEPTH:
            return False
        if isinstance(piece, dict):
            if not all(isinstance(key, str | int) for key in piece):
                return False
            waiting.extend((each, depth + 1) for each in piece.values())
        elif isinstance(piece, list | tuple):
            waiting.extend((each, depth + 1) for each in piece)
        elif not (piece is None or isinstance(piece, str | int | float | bool)):
            return False
        if len(waiting) > MAX_NODES:
            return False
    return True
