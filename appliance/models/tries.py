"""How many candidates a site has tried on a held-out set: who looks often enough finds one that is better by chance.

A candidate is its weights' file, a set its labels and pixels, so that a set in another folder starts nothing anew; a
fresh one does. An evaluation counts as much as the gate does: it shows the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from appliance.models.store import ModelStore
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from tuning.coco_folder import read_people


def set_identity(data: Path, images: Path | None = None) -> str:
    """64 hex digits that name a set by its labels and pictures."""
    digest = hashlib.sha256(data.read_bytes())
    for picture in read_people(data, images):
        digest.update(hashlib.sha256(picture.path.read_bytes()).digest())
    return digest.hexdigest()


def note(site: SiteFolder, held_out: str, model: str) -> int:
    """Write down that `model` is shown the set `held_out`; returns which candidate on it this is, from 1.

    The model in use is no candidate, nor are those that a box comes with; for them the answer is 1 and nothing is
    written.
    """
    store = ModelStore(site)
    card = store.card(model)
    if store.folder(model).parent != site.models or store.live(card.task) == model:
        return 1
    with site.database.transaction(immediate=True) as db:
        db.execute(
            "INSERT OR IGNORE INTO tries (held_out, candidate, task, at) VALUES (?, ?, ?, ?)",
            (held_out, card.sha256, card.task, now()),
        )
        rows = db.execute(
            "SELECT candidate FROM tries WHERE held_out = ? AND task = ? ORDER BY rowid", (held_out, card.task)
        ).fetchall()
    return [row["candidate"] for row in rows].index(card.sha256) + 1
