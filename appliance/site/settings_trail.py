"""Who changed the settings: a change made here is written down with it, one made with an editor when it is first read.

The database keeps a hash of the file and the values that it held, as they were seen last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from appliance.site import audit, intents
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.json_text import parse_json

_NAME = "settings"
Values = Mapping[str, Mapping[str, Any]]  # of each section, by name; without passwords


CHANGE = "settings.change"


def write_down_change(site: SiteFolder, text: str, before: Values, after: Values) -> None:
    """Replace the file by `text`, and write down who did it; both or neither, also where the power fails between."""
    told = "; ".join(_differences(before, after)) or "nothing"
    path, content = site.settings_file, text.encode()
    with intents.intend(site, CHANGE, "site.toml", told, made=path, content=content) as deed:
        write_bytes(path, content)
        with deed.commit() as db:
            _keep(db, text, after)


def finish_change(site: SiteFolder, read: Callable[[], tuple[str, Values]]) -> intents.Finisher:
    """What the row of a change that was cut off goes with; read: as `notice` has it."""

    def finish(_: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
        _keep(db, *read())

    return finish


def notice(site: SiteFolder, read: Callable[[], tuple[str, Values]], defaults: Values) -> None:
    """Write down that the file was edited by hand, where it is no longer what was seen last.

    read: the file's text and its values as they are now. Where the database can't be written, it is noticed later.
    """
    text, _ = read()
    with contextlib.suppress(WardposeError):
        with site.database.transaction() as db:
            if _is_seen(_seen(db), text):
                return
        if (changing := intents.waiting_for(site, site.settings_file)) is not None:
            intents.settle_one(site, changing, finish_change(site, read))
        with site.database.transaction(immediate=True) as db:
            text, values = read()  # again, now that nobody else can be changing it
            seen = _seen(db)
            if _is_seen(seen, text) or intents.is_about_to_write(db, text.encode()):
                return
            found = _differences(seen["values"] if seen is not None else defaults, values)
            _keep(db, text, values)
            if seen is None and not found:
                return
            when = datetime.fromtimestamp(site.settings_file.stat().st_mtime).astimezone()
            how = f"edited by hand, last at {when:%Y-%m-%d %H:%M:%S %Z}; noticed by {current_user()}"
            told = "; ".join(found) or "no setting but a comment, its order or a password"
            audit.add(site, db, "settings.edit", "site.toml", f"{told} ({how})", who="unknown")
        audit.seal(site)


def _seen(db: sqlite3.Connection) -> dict[str, Any] | None:
    row = db.execute("SELECT value FROM noted WHERE name = ?", (_NAME,)).fetchone()
    return parse_json(row["value"]) if row else None


def _is_seen(seen: dict[str, Any] | None, text: str) -> bool:
    return seen is not None and seen["hash"] == _hash(text)


def _keep(db: sqlite3.Connection, text: str, values: Values) -> None:
    value = json.dumps({"hash": _hash(text), "values": {section: dict(of) for section, of in values.items()}})
    db.execute("INSERT OR REPLACE INTO noted (name, value) VALUES (?, ?)", (_NAME, value))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(before: Values, after: Values) -> list[str]:
    """`bed.height 0.55 → 0.7`, one for each setting that changed."""
    return [
        f"{section}.{name} {_told(before.get(section, {}).get(name))} → {_told(value)}"
        for section, of in after.items()
        for name, value in of.items()
        if before.get(section, {}).get(name) != value
    ]


def _told(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
