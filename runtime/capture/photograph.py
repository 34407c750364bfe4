"""Reading one photograph."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError

PHOTOGRAPH_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, turned the way the camera was held (EXIF orientation).

    Raises `WardposeError` where the file is absent, empty, cut off or no picture: Pillow is strict about cut-off files,
    where OpenCV would fill the rest with grey.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                return np.array(upright, dtype=np.uint8)
    except FileNotFoundError:
        raise WardposeError("there is no such photograph", where=str(path), mend="check the path") from None
    except UnidentifiedImageError:
        raise WardposeError("it is no picture", where=str(path), mend="remove it or save it as JPEG or PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise WardposeError(
            f"the picture is damaged or too large ({error})", where=str(path), mend="copy it again from its source"
        ) from None


def photographs_in(folder: Path) -> list[Path]:
    """The folder's photographs by name (not those in folders below it, nor hidden ones).

    Raises `WardposeError` where there is none.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PHOTOGRAPH_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise WardposeError("the folder holds no photograph", where=str(folder), mend="put .jpg or .png files into it")
    return found
