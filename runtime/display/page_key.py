"""The key of the bedside page. Whoever can read its file, the user whose screen shows the page, may watch and pause.

Every user of a box reaches its loopback interface, so an address alone keeps nobody out. The key lies in a file of its
owner's alone; beside it lies a page that opens the bedside page with the key, for a browser whose command line, which
every user of the box can read, must not hold it. The key travels behind the `#` of an address, which no browser sends.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from pathlib import Path

from calibration.atomic import disk_error, write_text

_BYTES = 32
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_OPENER = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>wardpose</title>
"""


def page_key(path: Path) -> str:
    """The key in the file at `path`, which is made where there is none, or where others could have read it.

    The same key holds until its file is removed, so that an open page finds its way back after any restart. Raises
    `WardposeError` where the file can't be read or written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return new_key(path)
    except OSError as error:
        raise disk_error(error, path) from error
    with os.fdopen(descriptor, "rb") as stream:
        about, content = os.fstat(descriptor), stream.read(200).decode("ascii", "replace").strip()
    private = about.st_uid in (0, os.geteuid()) and not about.st_mode & 0o077
    return content if private and _KEY.fullmatch(content) else new_key(path)


def new_key(path: Path) -> str:
    """A new key in the file at `path`; the old one opens nothing more as soon as the page's server starts again."""
    key = secrets.token_urlsafe(_BYTES)
    write_text(path, key + "\n")
    return key


def is_key(given: str, key: str) -> bool:
    """Whether they are the same, in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode(), key.encode())


def address(port: int, key: str, *, kiosk: bool = False) -> str:
    """Where the page is, with its key. kiosk: it is the screen beside the bed, for which places are kept."""
    return f"http://127.0.0.1:{port}/#{'kiosk' if kiosk else 'key'}={key}"


def write_opener(path: Path, port: int, key: str) -> None:
    """A page, readable by its owner alone, that opens the bedside page as the kiosk does. One that is there already
    is left, so that a full disk keeps nobody from looking."""
    text = _OPENER.format(address=address(port, key, kiosk=True))
    with contextlib.suppress(OSError, ValueError):
        if path.read_text() == text and not path.stat().st_mode & 0o077:
            return
    write_text(path, text)
