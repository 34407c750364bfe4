"""Who is let do what: the one place where the service asks for a role, and the bedside page's people for a PIN."""

from __future__ import annotations

import os
import threading
from typing import Any

from appliance import api
from appliance.site import assigning, audit, roles
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from appliance.site.roles import NotAllowed
from runtime.display.limits import Allowance
from runtime.display.pausing import AT_THE_PAGE

WRONG_PIN = "this PIN is nobody's"


class Doorkeeper:
    """Lets the calls of one site's service in, or not. Safe from any thread."""

    def __init__(self, site: SiteFolder) -> None:
        self._site, self._pins = site, assigning.pins(site)
        self._wrong = Allowance(rate=1 / 15, burst=5)  # guesses, whoever makes them
        self._lock = threading.Lock()

    def require(self, name: str, asked: Any) -> None:
        """Raise `NotAllowed` where whoever asks (see `current_user`) may not have the call `name` carried out."""
        who = current_user()
        if getattr(asked, "place", "") and roles.is_the_box(self._site, who):
            return  # the page's own process: whoever stands there may pause, and resume as `whose` says
        if name == "roles.assign" and who == "root" and os.geteuid() == 0:
            return  # the box is root's in any case: nobody locks themselves out of it for good
        roles.require(self._site, api.CALLS[name].may, name)

    def whose(self, asked: api.Resume) -> str:
        """Who resumes: by their PIN, at the bedside page; empty for whoever the kernel knows.

        Raises `NotAllowed` for a wrong PIN, and where some people have one, for none.
        """
        if not asked.place or not self._pins.any:
            return asked.place
        if not asked.pin:
            raise NotAllowed("resuming here needs a PIN", "type yours")
        with self._lock:
            if not self._wrong.has_any:
                raise NotAllowed("too many wrong PINs", "wait a minute")
            if name := self._pins.whose(asked.pin):
                return f"{name} {AT_THE_PAGE}"
            self._wrong.take()
        audit.record_or_tell(self._site, "pin.refuse", asked.place, "a PIN that is nobody's, to resume")
        raise NotAllowed(WRONG_PIN, "try again")
