"""A live path that somebody runs in a terminal, as the audit trail tells of it: its beginning, its end, and that it was
gone without a word."""

from __future__ import annotations

import threading

from appliance.live import ownership
from appliance.live.ownership import Owner
from appliance.site import audit
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError


class Foreground:
    """Knows whose beginning was written down and whose end wasn't yet. Safe from any thread."""

    def __init__(self, site: SiteFolder) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._begun: Owner | None = None

    def begin(self, process: str, reason: str) -> None:
        """Write down that the program `process` (its identity) keeps the live path running; raises `WardposeError` for
        one that doesn't hold the lock: the kernel, not the caller, says who it is."""
        with self._lock:
            self._begin(process, reason)

    def _begin(self, process: str, reason: str) -> None:
        held = ownership.owner(self._site)
        if held is None or held.kind != "foreground" or held.process != process:
            raise WardposeError(
                "this program does not keep the live path running",
                where=str(self._site.root),
                mend=f"{held.words()}: `wardpose stop` ends it" if held else "",
            )
        self._begun = held
        models = f"{held.plan.get('detector')}, {held.plan.get('pose') or 'no pose model'}"
        audit.record(self._site, "live.start", str(held.plan.get("source")), f"{models}; in a terminal: {reason}")

    def end(self, process: str, reason: str) -> None:
        """Write down that it has ended, or is about to. Does nothing where that was written already."""
        with self._lock:
            held = self._begun or ownership.owner(self._site)
            if held is None or held.process != process:
                return
            self._begun = None
            audit.record(self._site, "live.stop", str(held.plan.get("source")), f"in a terminal: {reason}")

    def look_after(self) -> None:
        """Write down the end of one that was killed."""
        with self._lock:
            begun = self._begun
            if begun is None or ((held := ownership.owner(self._site)) and held.process == begun.process):
                return
            self._begun = None
            why = "its program in a terminal ended without a word"
            audit.record(self._site, "live.stop", str(begun.plan.get("source")), why, who=begun.who)
