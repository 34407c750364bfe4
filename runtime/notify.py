"""Telling systemd how a process fares (sd_notify), without libsystemd. Does nothing where systemd doesn't ask."""

from __future__ import annotations

import os
import socket


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
