"""Who is let do what: the one place where the service asks for a role, and the people of its pages for a PIN."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from appliance import api
from appliance.live.station import LEAST_DIGITS
from appliance.site import assigning, audit, roles
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from appliance.site.roles import NotAllowed
from runtime.display.limits import Allowance
from runtime.display.pausing import AT_THE_PAGE, AT_THE_STATION

WRONG_PIN = "this PIN is nobody's"
TOO_MANY_WRONG = "too many wrong PINs"
MOST_MACHINES = 256  # whose wrong PINs are counted apart


class Doorkeeper:
    """Lets the calls of one site's service in, or not. Safe from any thread."""

    def __init__(self, site: SiteFolder) -> None:
        self._site, self._pins = site, assigning.pins(site)
        self._wrong = Allowance(rate=1 / 15, burst=5)  # guesses, whoever makes them
        # Over the network guesses are counted by machine and all together, apart from those at the bed, which they must
        # not lock out.
        self._looking = assigning.looking_pins(site)
        self._wrong_of: OrderedDict[str, Allowance] = OrderedDict()
        self._wrong_anywhere = Allowance(rate=1 / 6, burst=30)
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
                raise NotAllowed(TOO_MANY_WRONG, "wait a minute")
            if name := self._pins.whose(asked.pin):
                return f"{name} {AT_THE_PAGE}"
            self._wrong.take()
        audit.record_or_tell(self._site, "pin.refuse", asked.place, "a PIN that is nobody's, to resume")
        raise NotAllowed(WRONG_PIN, "try again")

    def enter_station(self, asked: api.EnterStation) -> str:
        """Whose PIN was said at the ward's station; it is written down that they look, before they do.

        Raises `NotAllowed` for a PIN that is nobody's or too short for the network, and after too many of them.
        """
        with self._lock:
            wrong = self._wrong_of.pop(asked.address, None) or Allowance(rate=1 / 15, burst=5)
            self._wrong_of[asked.address] = wrong
            if len(self._wrong_of) > MOST_MACHINES:
                self._wrong_of.popitem(last=False)
            if not (wrong.has_any and self._wrong_anywhere.has_any):
                raise NotAllowed(TOO_MANY_WRONG, "wait a minute")
            name = self._pins.whose(asked.pin) or self._looking.whose(asked.pin)
            if not name or len(asked.pin) < LEAST_DIGITS:
                wrong.take()
                self._wrong_anywhere.take()
        who, where = f"{name or 'somebody'} {AT_THE_STATION}", f"from {asked.address}"
        if not name:
            audit.record_or_tell(self._site, "pin.refuse", where, "a PIN that is nobody's, at the ward's station")
            raise NotAllowed(WRONG_PIN, "try again")
        if len(asked.pin) < LEAST_DIGITS:
            audit.record_or_tell(self._site, "pin.refuse", where, f"a PIN of {len(asked.pin)} digits, {who}")
            raise NotAllowed("this PIN is too short to be used from here", f"ask for one of {LEAST_DIGITS} digits")
        audit.record(self._site, "station.look", where, "the page, by PIN", who=who)
        return name

    def leave_station(self, asked: api.LeaveStation) -> None:
        """Write down that somebody at the ward's station looks no longer."""
        lasted = f"after {asked.seconds / 60:.0f} min" if asked.seconds >= 90 else f"after {asked.seconds:.0f} s"
        audit.record(self._site, "station.leave", f"from {asked.address}", lasted, who=f"{asked.name} {AT_THE_STATION}")
