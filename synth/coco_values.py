"""What one value of a COCO file says, in any of the ways people write it.

Each reader raises ValueError for what can't be told: with the reason, or with (field, reason) where it knows the field.
"""

from __future__ import annotations

import json
import math
from typing import Any

from runtime.skeleton import KEYPOINTS

Id = int | str
_LARGEST_ID = 2**63
_VALUES = 3 * len(KEYPOINTS)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "missing" if value is None else text if len(text) <= 60 else f"{text[:57]}…"


def identity(value: Any) -> Id:
    """A whole number, in whatever form it is written, or a name."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_ID
    if whole and value == int(value):
        return int(value)
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
    raise ValueError(f"is {shown(value)}, no whole number or name")


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"is {shown(value)}, no number")
    try:
        read = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"is {shown(value)}, no number") from None
    if not math.isfinite(read):
        raise ValueError(f"is {value}, not finite")
    return read


def side(value: Any, field: str) -> int:
    try:
        pixels = number(value)
    except ValueError as error:
        raise ValueError((field, str(error))) from None
    if pixels != int(pixels) or not 1 <= pixels <= 100_000:
        raise ValueError((field, f"is {shown(value)}, no whole number of pixels"))
    return int(pixels)


def box_of(value: Any) -> tuple[float, float, float, float]:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(("bbox", f"is {shown(value)}, not x, y, width, height"))
    try:
        x, y, width, height = (number(each) for each in value)
    except ValueError as error:
        raise ValueError(("bbox", f"{shown(value)}: one {error}")) from None
    if width < 0 or height < 0:
        raise ValueError(("bbox", f"{[x, y, width, height]} has a side below 0"))
    return x, y, width, height


def area_of(value: Any) -> float:
    pixels = 0.0 if value is None else number(value)
    if pixels < 0:
        raise ValueError(f"is {shown(value)}, below 0")
    return pixels


def truth(value: Any) -> bool:
    """What `iscrowd` says: 0 or 1, or a truth value; nothing is no. A text is refused: programs take "0" for true."""
    if value is None:
        return False
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"is {shown(value)}, neither 0 nor 1")


def keypoints_of(value: Any, *, wanted: bool) -> tuple[float, ...] | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) % 3:
        raise ValueError(("keypoints", f"is {shown(value)}, no list of x, y, visibility"))
    try:
        numbers = tuple(number(each) for each in value)
    except ValueError as error:
        raise ValueError(("keypoints", f"one {error}")) from None
    if len(numbers) != _VALUES:
        if wanted and any(numbers):
            raise ValueError(("keypoints", f"are {len(numbers) // 3}, not COCO's {len(KEYPOINTS)}"))
        return None
    if wanted and not set(numbers[2::3]) <= {0.0, 1.0, 2.0}:
        raise ValueError(("keypoints", "one has a visibility other than 0, 1 or 2"))
    return numbers
