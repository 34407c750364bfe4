"""Reading a TOML file that a person wrote, in whatever editor: its text and its values, or one line that says what."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError

_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


def toml_text(path: Path) -> str:
    """The file's text, without the byte order mark that some editors begin with.

    Raises WardposeError where it cannot be read, and for text that is no UTF-8, which is TOML's own.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path)) from None
    if content.startswith(_BYTE_ORDER_MARKS):
        raise WardposeError("is written in UTF-16", where=str(path), mend="save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise WardposeError(
            f"holds a character that is no UTF-8 ({content[error.start]:#04x})", where=f"{path} line {line}",
            mend="save it as UTF-8",
        ) from None  # fmt: skip


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The values of a TOML text; WardposeError names the line of a mistake."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = line[1] if line else str(text.count("\n") + 1)  # tomllib says "at end of document" for the last line
        what = re.sub(r" \(at .*\)$", "", str(error))
        raise WardposeError(
            f"not valid TOML: {what}", where=f"{where} line {number}", mend="correct that line"
        ) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets without end
        raise WardposeError(f"not valid TOML: {error}", where=where, mend="correct it") from None
