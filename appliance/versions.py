"""The version of the service's calls, and which calls want none: what a client knows without knowing every call."""

from __future__ import annotations

from calibration.errors import WardposeError

API_VERSION = 2  # raised when an old request means something else, or is none any more
# A client of any version must be able to end the looking; the bedside page, which lifts its pause too, states none.
ANY_VERSION = ("live.pause", "live.resume", "stop")
READING = ("status", "jobs.list", "jobs.get")  # these change nothing


def require_version(version: object, *, whose: str, ours: str) -> None:
    """Raise `WardposeError` where the other side of the wire speaks another version than this one."""
    if version != API_VERSION:
        theirs = f"version {version}" if version is not None else "an earlier version"
        raise WardposeError(
            f"{whose} speaks {theirs} of the service's calls, {ours} version {API_VERSION}",
            mend="wardpose was updated while it ran: close every terminal of it, end the service and try again",
        )
