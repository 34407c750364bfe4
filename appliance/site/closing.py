"""Taking from others what they may do with a site that is there: said once, and with a row, whoever finds it open.

Every program that opens a site does so before it does anything else. Whoever made it open, by a copy or by mistake,
sees what was changed, and the audit trail says since when nobody else reads it. Looking alone, as the doctor does,
closes nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from appliance.site import intents, privacy
from appliance.site.folder import SiteFolder, default_home, home_path
from calibration.disk import DiskError
from calibration.errors import WardposeError


def close_to_others(site: SiteFolder) -> list[str]:
    """Take it from them, and write that down; returns what was done, a line each."""
    found = [each for each in privacy.open_to_others(site.root) if each.ours]
    mended: list[str] = []
    if found:
        told = "; ".join(f"{each.path}: {each.mode:04o}" for each in found)
        try:
            with (
                contextlib.suppress(_DoneMeanwhile),
                intents.intend(site, "site.close", "rights of others", told, again=True) as deed,
            ):
                mended = privacy.close_to_others(site.root)
                if not mended:
                    raise _DoneMeanwhile
                deed.reason = "; ".join(mended)
        except DiskError:  # on a full disk they are closed all the same
            mended += privacy.close_to_others(site.root)
    return mended


def close_and_tell(home: Path | str | None = None) -> None:
    """The same for the site at `home` (default: `default_home()`), told on standard error; does nothing, and makes no
    site, where there is none. A site whose database can't be used is closed too."""
    root = home_path(home) if home else default_home().absolute()
    if not os.path.lexists(root / "site.db") or not any(each.ours for each in privacy.open_to_others(root)):
        return
    try:
        lines = close_to_others(SiteFolder.open(root))
    except WardposeError:  # told by the command in hand
        lines = privacy.close_to_others(root)
    for line in lines:
        sys.stderr.write(f"closed to others: {line}\n")


class _DoneMeanwhile(Exception):
    """Another program closed it: the row is that one's."""
