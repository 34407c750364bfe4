"""What every command takes for a number, a place and a word: what cannot be meant is refused before any work begins.

The bounds of one quantity stand where it is used; here stands what no quantity is.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from calibration.bounds import LARGEST

MOST_SQUARES = 100


def whole_number(text: str) -> int:
    """A whole number of 64 bits."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if abs(number) > LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is too large")
    return number


def finite_number(text: str) -> float:
    """A number; neither NaN nor infinity is one."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return number


def pixel(text: str) -> tuple[float, float]:
    """A place in a picture, X,Y; it may lie outside."""
    x, y = _numbers(text, ",", ("120,45.5", "X,Y"))
    return x, y


def point(text: str) -> tuple[float, float, float]:
    """X,Y,Z."""
    x, y, z = _numbers(text, ",", ("0,0,-0.1", "X,Y,Z"))
    return x, y, z


def squares(text: str) -> tuple[int, int]:
    """How many squares a board has across and down, such as 7x5."""
    across, down = _numbers(text.lower().replace("×", "x"), "x", ("7x5", "ACROSSxDOWN"))
    if not (across.is_integer() and down.is_integer() and min(across, down) >= 2 and max(across, down) <= MOST_SQUARES):
        raise argparse.ArgumentTypeError(f"{text!r} is no board; a side has 2 to {MOST_SQUARES} squares")
    return int(across), int(down)


def _numbers(text: str, between: str, meant: tuple[str, str]) -> list[float]:
    """As many numbers as the form has; `meant`: an example and the form."""
    example, form = meant
    parts = text.split(between)
    try:
        if len(parts) != len(example.split(between)):
            raise argparse.ArgumentTypeError("")
        return [finite_number(part) for part in parts]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}; write {example}, for example") from None


def place(text: str) -> Path:
    """A file or a folder; an empty one, such as an unset variable leaves, is not taken for the folder one is in. `~` is
    a home also where a shell leaves it alone, as in --out=~/a."""
    try:
        return Path(word(text)).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r}: no home is called so; write the folder out") from None


def word(text: str) -> str:
    """A name, a source or another text, which a database and a page can hold."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; leave it out, or say what you mean")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8") from None
    return text


def any_words(text: str) -> str:
    """What somebody says of a deed that no word of theirs may hinder: bytes that are no letters become a sign."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
