"""Reading `.npz` files of others: what they hold is told from their headers, nothing is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError

_NUMBERS, _TEXTS = "fiu", "U"  # numpy's kinds
_MOST_BYTES = 16 * 2**30


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every array of numbers or texts in an `.npz`; pickled ones are left out, since nobody loads them.

    Only headers are read. Raises WardposeError naming the file where it is missing, unreadable or no `.npz`.
    """
    found: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as member:
                        shape, dtype = _header(member)
                    if not dtype.hasobject:
                        found[name.removesuffix(".npy")] = shape
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # zipfile, zlib and numpy raise whatever a damaged file leads them to
        raise _damaged(path, error) from None
    return found


def read_npz(path: Path, names: Iterable[str], texts: Iterable[str] = ()) -> dict[str, NDArray[Any]]:
    """These arrays of numbers of an `.npz`, and those of texts, read whole.

    Raises WardposeError that names the file and the array where one is missing, damaged, of another kind, holds other
    than it says, or a number that is not finite.
    """
    found: dict[str, NDArray[Any]] = {}
    shapes = npz_shapes(path)
    kinds = dict.fromkeys(names, _NUMBERS) | dict.fromkeys(texts, _TEXTS)
    for name, kind in kinds.items():
        if name not in shapes:
            raise WardposeError(
                f"has no array {name!r}, or a pickled one", where=str(path), mend="check which file this is"
            )
        try:
            with zipfile.ZipFile(path) as archive:
                member = archive.getinfo(f"{name}.npy")
                with archive.open(member) as opened:
                    shape, dtype = _header(opened)
                    if dtype.hasobject:
                        raise ValueError("it is pickled")
                    size = dtype.itemsize * math.prod(shape)
                    if size != member.file_size - opened.tell() or size > _MOST_BYTES:
                        raise ValueError(f"says {list(shape)}, holds {member.file_size} bytes")
                with archive.open(member) as opened:
                    found[name] = np.lib.format.read_array(opened, allow_pickle=False)
                    opened.read()  # to its end, where its checksum is held against it
        except OSError as error:
            raise _unreadable(path, error) from None
        except Exception as error:
            raise _damaged(path, error, name) from None
        if found[name].dtype.kind not in kind:
            raise WardposeError(
                f"array {name!r} is of the kind {found[name].dtype}", where=str(path), mend="check which file this is"
            )
        if kind == _NUMBERS and not np.isfinite(found[name]).all():
            raise WardposeError(
                f"array {name!r} holds a number that is not finite", where=str(path), mend="take the file out"
            )
    return found


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype


def _unreadable(path: Path, error: OSError) -> WardposeError:
    if isinstance(error, FileNotFoundError):
        return WardposeError("there is no such file", where=str(path), mend="check its name and folder")
    return WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path))


def _damaged(path: Path, error: Exception, name: str = "") -> WardposeError:
    """What the file is instead, told by its first bytes, or that it is broken."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as unreadable:
        return _unreadable(path, unreadable)
    if head[:1] == b"\x80" or path.suffix.lower() in (".pkl", ".pickle"):
        return WardposeError(
            "is a pickle, which can carry a program and is not opened here", where=str(path),
            mend="give the .npz of the same model or recording",
        )  # fmt: skip
    if head.startswith(b"\x93NUMPY"):
        return WardposeError("is one array (.npy), no .npz", where=str(path), mend="give the .npz")
    what = f"array {name!r} is damaged ({error})" if name else "is no .npz file, or a damaged one"
    return WardposeError(what, where=str(path), mend="copy it here anew")
