"""Telling systemd how a process fares (sd_notify), without libsystemd. Does nothing where systemd doesn't ask."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

START_WORD_S = 4.0  # a process that starts speaks again within so long, or it hangs
_START_BEAT_S = 0.5


def notify(*lines: str) -> bool:
    """Send lines such as `READY=1`, `WATCHDOG=1`, `STATUS=...`; True where somebody was there to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    # A leading @ stands for the nought byte of Linux' abstract addresses.
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(lines).encode(), target)
        except OSError:
            # A manager that is gone or busy is no reason to stop showing the skeleton.
            return False
    return True


def starting() -> None:
    """Say that this process is starting, and that the next word of it comes within `START_WORD_S`."""
    notify(f"EXTEND_TIMEOUT_USEC={int(START_WORD_S * 1e6)}")


@contextlib.contextmanager
def telling_that_it_starts(patience_s: float, also: Callable[[], None] = lambda: None) -> Iterator[None]:
    """`starting`, and whatever else is to be said, twice a second from a thread while the block gets this process
    ready; for `patience_s` at most, since a start that never ends is a hang as well."""
    done = threading.Event()

    def tell() -> None:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            also()
            starting()
            if done.wait(_START_BEAT_S):
                return

    teller = threading.Thread(target=tell, name="starting", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
