"""How long a picture of a room may be kept, as a person writes it: `12h`, `7d`, `2w`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from appliance.site.database import stamp
from calibration.errors import WardposeError

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_expiry(text: str, *, most: timedelta) -> timedelta:
    """The time span in `text`; raises `WardposeError` where it is none, or longer than `most`."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*([mhdw])\s*", text.lower())
    span = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if span <= timedelta(0):
        raise WardposeError(f"{text!r} is no span of time", where="--expires", mend="write 12h, 7d or 2w, for example")
    if span > most:
        raise WardposeError(
            f"{text} is longer than pictures are kept here", where="--expires", mend=f"give at most {most.days}d"
        )
    return span


def expires_at(span: timedelta) -> str:
    """The instant `span` from now, as every table has it."""
    return stamp(datetime.now(UTC) + span)
