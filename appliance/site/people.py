"""Who is at work here: the account a process runs as and the person who logged in, as the kernel knows them.

$LOGNAME and $USER say what anybody cares to write into them; the real user of a process and its login user
(`/proc/PID/loginuid`, set once when somebody logs in and inherited by everything started since, behind `su` and `sudo`
too) can't be chosen. Where a box keeps no login user, `SUDO_UID` is believed, of a process of root alone, and then the
terminal's log-in record.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_NOBODY_LOGGED_IN = 2**32 - 1
_PROC = Path("/proc")
_acting: ContextVar[str] = ContextVar("acting", default="")


def current_user() -> str:
    """Who is behind what this thread does: the client it works for (see `acting_as`), else this process's own person.

    `anna` where account and log-in are the same, `anna (as root)` where they differ.
    """
    return _acting.get() or _person(os.getuid(), _login_uid("self", os.getuid()) or _terminal_uid())


@contextlib.contextmanager
def acting_as(person: str) -> Iterator[None]:
    """What this thread does in the block is done for `person`; for itself where that is empty."""
    token = _acting.set(person)
    try:
        yield
    finally:
        _acting.reset(token)


def person_at(connection: socket.socket) -> str:
    """The person behind a connected Unix socket, as the kernel noted when it was connected (SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return _person(uid, _login_uid(str(pid), uid))


def login_of(person: str) -> str:
    """The log-in in the name of a person: `anna` of `anna (as root)`, and of `anna (as root) [nurse]`."""
    return person.partition(" [")[0].partition(" (as ")[0]


def _person(uid: int, login_uid: int | None) -> str:
    if login_uid is None or login_uid == uid:
        return _name(uid)
    return f"{_name(login_uid)} (as {_name(uid)})"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _login_uid(pid: str, uid: int, proc: Path = _PROC) -> int | None:
    """The login user of a process that runs as `uid`; None where the kernel knows of none."""
    with contextlib.suppress(OSError, ValueError):
        if (found := int((proc / pid / "loginuid").read_text())) != _NOBODY_LOGGED_IN:
            return found
    if uid != 0:
        return None
    with contextlib.suppress(OSError, ValueError):
        for entry in (proc / pid / "environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == b"SUDO_UID":
                return int(value)
    return None


def _terminal_uid() -> int | None:
    with contextlib.suppress(OSError, KeyError):
        return pwd.getpwnam(os.getlogin()).pw_uid
    return None
