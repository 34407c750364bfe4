"""What an `.npz` file holds, told from its headers alone: nothing is unpacked, nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from calibration.errors import WardposeError


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every plain numeric or text array in an `.npz`; pickled ones are left out, since we never load them.

    Raises WardposeError naming the file where it is missing, unreadable or no `.npz`.
    """
    found: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if not name.endswith(".npy"):
                    continue
                with archive.open(name) as member:
                    version = np.lib.format.read_magic(member)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(member)
                    if not dtype.hasobject:
                        found[name.removesuffix(".npy")] = shape
    except FileNotFoundError:
        raise WardposeError("there is no such file", where=str(path), mend="check its name and folder") from None
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path)) from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError):
        raise WardposeError("is no .npz file, or a damaged one", where=str(path), mend="copy it here anew") from None
    return found
