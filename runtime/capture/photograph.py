"""Reading one photograph: the one way from a picture's file to 8-bit RGB, for live, training and evaluation alike."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bounds import PICTURE_PIXELS
from calibration.errors import WardposeError
from calibration.foreign_file import foreign_bytes

PHOTOGRAPH_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_ORIENTATION = 0x0112  # EXIF
# Pillow's modes of 8 bits a channel, whose meaning it knows. LAB and whole or real numbers of 32 bits are none of them.
_EIGHT_BIT = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
# A picture of 16 bits whose brightest value is below this was written by a camera of 12 bits or fewer: read as 16 it
# is black, and by how much it is too dark nobody says.
_FEWEST_LEVELS = 4096


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Width and height in pixels as the picture is looked at, upright. orientation: EXIF's, 1 where none is said."""

    width: int
    height: int
    orientation: int


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, turned the way the camera was held (EXIF orientation).

    16 bits become 8 by their high byte. Raises `WardposeError` where the file is absent, empty, cut off or no picture
    (Pillow is strict about cut-off files, where OpenCV would fill the rest with grey), and where its colours cannot be
    told: of another depth or colour space, or partly transparent.
    """
    try:
        content = foreign_bytes(path)
    except FileNotFoundError:
        raise WardposeError("there is no such photograph", where=str(path), mend="check the path") from None
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path)) from None
    return decode_photograph(content, str(path))


def decode_photograph(content: bytes, where: str) -> NDArray[np.uint8]:
    """`read_photograph` of a file's content."""
    from PIL import ImageOps

    with _opened(content, where) as image:
        return _as_rgb(ImageOps.exif_transpose(image), where)


def picture_size(path: Path) -> PictureSize:
    """A picture's size, told by its head alone; WardposeError where it is no picture."""
    try:
        with path.open("rb") as file, _opened(file, str(path)) as image:
            said = image.getexif().get(_ORIENTATION, 1)
            orientation = said if isinstance(said, int) and 1 <= said <= 8 else 1
            width, height = image.size if orientation < 5 else image.size[::-1]
            return PictureSize(width, height, orientation)
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path)) from None


@contextlib.contextmanager
def _opened(content: Any, where: str) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about tags that a damaged file has
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
                if image.width * image.height > PICTURE_PIXELS:  # before it is decoded
                    raise Image.DecompressionBombError(f"{image.width}×{image.height} pixels")
                yield image
    except UnidentifiedImageError:
        raise WardposeError("is no picture", where=where, mend="remove it or save it as JPEG or PNG") from None
    except WardposeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise WardposeError(
            f"the picture is too large ({error})", where=where,
            mend=f"make it smaller: {PICTURE_PIXELS // 1_000_000} million pixels at most",
        ) from None  # fmt: skip
    # What Pillow's decoders raise for damaged files is not bounded by any list.
    except Exception as error:
        raise WardposeError(
            f"the picture is damaged ({error})", where=where, mend="copy it again from its source"
        ) from None


def _as_rgb(image: Any, where: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a Pillow image, whatever its depth; WardposeError where that cannot be told."""
    if image.mode in _SIXTEEN_BIT:
        return _grey(np.asarray(image).astype(np.uint16), where)
    if image.mode == "I" and image.format == "PNG":  # how older versions of Pillow give 16 bits of a PNG
        return _grey(np.asarray(image).astype(np.uint16), where)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise WardposeError(
                "the picture is partly transparent, and what is behind it nobody says", where=where,
                mend="save it without an alpha channel",
            )  # fmt: skip
    elif image.mode not in _EIGHT_BIT:
        raise WardposeError(
            f"its values are of the kind {image.mode!r}: what is black and what is white cannot be told", where=where,
            mend="save it with 8 bits a channel, as RGB",
        )  # fmt: skip
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _grey(values: NDArray[np.uint16], where: str) -> NDArray[np.uint8]:
    return np.repeat(eight_bits(values, where)[..., None], 3, axis=2)


def eight_bits(values: NDArray[np.uint16], where: str) -> NDArray[np.uint8]:
    """The high bytes of 16-bit values; WardposeError where the picture plainly does not use its 16 bits."""
    brightest = int(values.max(initial=0))
    if 0 < brightest < _FEWEST_LEVELS:
        raise WardposeError(
            f"its 16 bits use no value above {brightest}: how bright it is cannot be told", where=where,
            mend="save it with 8 bits a channel",
        )  # fmt: skip
    return (values >> 8).astype(np.uint8)


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
