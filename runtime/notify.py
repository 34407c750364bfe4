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


def telling_that_it_starts(
    patience_s: float, also: Callable[[], None] = lambda: None
) -> contextlib.AbstractContextManager[None]:
    """`starting`, and whatever else is to be said, twice a second from a thread while the block gets this process
    ready; for `patience_s` at most, since a start that never ends is a hang as well."""
    until = time.monotonic() + patience_s

    def tell() -> bool:
        also()
        starting()
        return time.monotonic() < until

    return beating(tell, _START_BEAT_S)


@contextlib.contextmanager
def beating(beat: Callable[[], bool], every_s: float) -> Iterator[None]:
    """`beat` from a thread of its own, at once and every `every_s` seconds while the block runs, until it answers
    False. It is never under way any more when the block has ended."""
    done = threading.Event()

    def run() -> None:
        while beat() and not done.wait(every_s):
            pass

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
