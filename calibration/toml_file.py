"""Reading a TOML file that a person wrote, in whatever editor: its text and its values, or one line that says what."""

from __future__ import annotations

import errno
import re
import tomllib
from pathlib import Path
from typing import Any

from calibration.atomic import disk_error
from calibration.errors import WardposeError
from calibration.foreign_file import foreign_bytes

_MOST_BYTES = 1 << 20
# A key of more parts than anybody writes: tomllib's work on such keys grows with the square of their parts.
_LONG_KEY = re.compile(r"""(?:^|[\[{,])[ \t]*(?:[\w"'-]+[ \t]*\.[ \t]*){32}""", re.MULTILINE)
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


def toml_text(path: Path) -> str:
    """The file's text, without the byte order mark that some editors begin with.

    Raises WardposeError where it cannot be read, and for text that is no UTF-8, which is TOML's own.
    """
    try:
        content = foreign_bytes(path, _MOST_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:
            raise disk_error(error, path) from None
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
    if found := _LONG_KEY.search(text):
        at = text.count("\n", 0, found.end()) + 1
        raise WardposeError("a key of more than 32 parts", where=f"{where} line {at}", mend="correct that line")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = line[1] if line else str(text.count("\n") + 1)  # tomllib says "at end of document" for the last line
        what = re.sub(r" \(at .*\)$", "", str(error))
        raise WardposeError(
            f"not valid TOML: {what}", where=f"{where} line {number}", mend="correct that line"
        ) from None
    except RecursionError:
        raise WardposeError("its brackets are nested too deeply", where=where, mend="correct it") from None
    except ValueError as error:  # numbers of thousands of digits
        raise WardposeError(f"not valid TOML: {error}", where=where, mend="correct it") from None
