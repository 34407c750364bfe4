"""The model store: which models this site has, which one is live, and the trail of promotions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.site import audit, intents
from appliance.site.database import now
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.people import current_user
from calibration.atomic import disk_error, write_text
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.plugins import plugin_names
from tuning.store.card import CARD_FILE, ONNX_FILE, ModelCard, read_card, verify_weights, weights_path

BUILT_IN = REPOSITORY / "tuning" / "base_models"
# The models trained on photographs (see appliance.models.fetch), shared by every site of this box.
FETCHED = Path(os.environ.get("WARDPOSE_PRETRAINED") or Path(sys.prefix) / "share" / "wardpose" / "models")
# What runs before anything was promoted: the first that this box has. Those trained on photographs come first; the one
# trained on synthetic images alone comes with the product.
BUILT_IN_DETECTOR = "person-detector"
STARTS_WITH = {"detect": ("nanodet", BUILT_IN_DETECTOR), "pose": ("movenet-thunder", "movenet-lightning")}
EXPORT_REPORT = "export.json"  # how an export compared with the model it is of
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Model:
    """One model of this site. `onnx` is empty until it is exported; `live` says that it is the promoted one.

    built_in: it came with the box. source: where it comes from, in words. width, height: input size (px).
    """

    name: str
    task: str
    family: str
    architecture: str
    width: int
    height: int
    source: str
    licence: str
    folder: str
    built_in: bool
    onnx: str
    live: bool
    scores: dict[str, dict[str, float]]
    parent: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ModelStore:
    """Models are folders (`model.json` and weights) in `site/models`; the box's own are always there as well."""

    def __init__(self, site: SiteFolder) -> None:
        self.site = site

    def folder(self, name: str) -> Path:
        """Where the model `name` lies; raises `WardposeError` when there is none."""
        if not NAME.fullmatch(name):
            raise WardposeError(
                f"{name!r} is no model's name", mend="use letters, digits, dots, hyphens and underscores"
            )
        for place in self._places:
            if (place / name / CARD_FILE).is_file():
                return place / name
        known = ", ".join(sorted(self._folders())) or "none yet"
        raise WardposeError(f"no model is called {name!r}", mend=f"choose one of: {known}")

    def card(self, name: str) -> ModelCard:
        return read_card(self.folder(name))

    def onnx(self, name: str) -> Path | None:
        """The exported form of a model: what the runtime loads; None until the present weights are exported."""
        folder, card = self.folder(name), self.card(name)
        if card.format == "onnx":
            return weights_path(folder, card)
        path, report = self._export_files(name)
        if not (path.is_file() and report.is_file()):
            return None
        try:
            current = parse_json(report.read_text(encoding="utf-8"))["weights_sha256"] == card.sha256
        except (ValueError, KeyError, TypeError):
            current = False
        return path if current else None

    def record_export(self, name: str, report: Mapping[str, Any]) -> None:
        """Keep how the export compared, and of which weights it is: weights that change make it void."""
        text = json.dumps(dict(report) | {"weights_sha256": self.card(name).sha256}, indent=1)
        write_text(self._export_files(name)[1], text)

    def _export_files(self, name: str) -> tuple[Path, Path]:
        # A built-in model's folder may be read-only, so its export lies in the site as well.
        return self.site.models / name / ONNX_FILE, self.site.models / name / EXPORT_REPORT

    def export_path(self, name: str) -> Path:
        """Where the export of a model belongs."""
        folder = self.site.models / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / ONNX_FILE

    def new_folder(self, name: str) -> Path:
        """Where a new model of that name will lie; raises `WardposeError` when the name is taken."""
        if not NAME.fullmatch(name):
            raise WardposeError(
                f"{name!r} is no model's name", mend="use letters, digits, dots, hyphens and underscores"
            )
        if name in self._folders():
            raise WardposeError(f"a model called {name!r} is already here", mend="choose another name")
        return self.site.models / name

    def all(self) -> list[Model]:
        """Every model, built-in ones first."""
        live = {self.live(task) for task in STARTS_WITH}
        found = []
        for name, folder in self._folders().items():
            card = read_card(folder)
            found.append(
                Model(
                    name=name, task=card.task, family=_family(card), architecture=card.architecture, width=card.width,
                    height=card.height, source=self._source(folder, card), licence=card.licence, folder=str(folder),
                    built_in=folder.parent != self.site.models, onnx=str(self.onnx(name) or ""), live=name in live,
                    scores=card.scores, parent=card.parent,
                )
            )  # fmt: skip
        return sorted(found, key=lambda model: (not model.built_in, model.task, model.name))

    def import_file(
        self, path: Path, name: str, *, architecture: str | None = None, licence: str = "unknown",
        width: int | None = None, height: int | None = None, layout: str | None = None, person_class: str | None = None,
    ) -> ModelCard:  # fmt: skip
        """Take in foreign weights without executing anything they carry, in a process of its own with bounds; see
        `tuning.import_model.import_model`."""
        from tuning.families.family import ImportWish
        from tuning.import_process import import_confined

        wish = ImportWish(name, architecture, width, height, layout, person_class)
        with self.adding(name, origin=f"imported from {path.name}"):
            return import_confined(path, self.site.models, wish, licence=licence)

    @contextlib.contextmanager
    def adding(self, name: str, *, origin: str, again: bool = False) -> Iterator[Path]:
        """The folder that the block fills with a new model of that name, which is taken from now on; listed when the
        block has ended. Raises `WardposeError` where the name is taken, unless the model is made `again`, and where
        somebody else is making such a model."""
        folder = self.site.models / name if again else self.new_folder(name)
        with intents.intend(
            self.site, "model.add", name, origin, made=folder / CARD_FILE, finishers={"model.add": finish_adding}
        ) as deed:
            if not again:
                self.new_folder(name)  # one that was cut off may have been completed just now
            try:
                yield folder
            except OSError as error:
                raise disk_error(error, folder) from error
            with deed.commit() as db:
                finish_adding(self.site, deed.intent, db)

    def verify(self, name: str) -> ModelCard:
        """Check that a model's files are those its card, and the row written when it came, speak of."""
        folder = self.folder(name)
        card = read_card(folder)
        verify_weights(folder, card)
        with self.site.database.transaction() as db:
            row = db.execute("SELECT sha256 FROM models WHERE name = ?", (name,)).fetchone()
        if row is not None and folder.parent == self.site.models and row["sha256"] != card.sha256:
            raise WardposeError(
                "the model is not the one that was added (its card and weights were both changed)", where=str(folder),
                mend="remove the folder and import or tune it again",
            )  # fmt: skip
        return card

    def live(self, task: str) -> str:
        """The name of the model in use for `detect` or `pose`: the last promoted, else what the box starts with; empty
        where it has none."""
        with self.site.database.transaction() as db:
            row = db.execute(
                "SELECT model FROM promotions WHERE task = ? AND accepted = 1 ORDER BY id DESC LIMIT 1", (task,)
            ).fetchone()
        return str(row["model"]) if row else self.start(task)

    def start(self, task: str) -> str:
        """The model that a box has for `detect` or `pose` before anything was promoted; empty where it has none."""
        folders = self._folders()
        return next((name for name in STARTS_WITH[task] if name in folders), "")

    def opponent(self, name: str) -> str:
        """The model that `name` has to beat: the live one, or the one before it where `name` itself is live."""
        task = self.card(name).task
        with self.site.database.transaction() as db:
            return self._opponent(db, name, task)

    def _opponent(self, db: sqlite3.Connection, name: str, task: str) -> str:
        row = db.execute(
            "SELECT model, previous FROM promotions WHERE task = ? AND accepted = 1 ORDER BY id DESC LIMIT 1", (task,)
        ).fetchone()
        if row is None:
            return self.start(task)
        return str(row["previous"] if row["model"] == name else row["model"])

    def record_promotion(
        self, name: str, *, accepted: bool, reasons: Mapping[str, Any], against: str | None = None
    ) -> None:
        """Write down that `name` went live, or that the gate kept the old one, and why.

        against: the model that it was judged against. Raises `WardposeError`, and `name` does not go live, where that
        is no longer the one to beat.
        """
        task = self.card(name).task
        what, text = "model.promote" if accepted else "model.refuse", json.dumps(dict(reasons))
        why = "; ".join([*filter(None, [reasons.get("asked")]), *reasons.get("reasons", ())])
        with audit.deed(self.site, what, name, why[:2000]) as db:
            previous = self._opponent(db, name, task)
            if accepted and against is not None and previous != against:
                raise WardposeError(
                    f"{name} was judged against {against}, but {previous} went live meanwhile", mend="judge it again"
                )
            db.execute(
                "INSERT INTO promotions (at, task, model, previous, accepted, reasons, who) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now(), task, name, previous, accepted, text, current_user()),
            )

    def rollback(self, task: str = "detect", reason: str = "") -> str:
        """Put the model before the present one back; returns its name."""
        with self.site.database.transaction(immediate=True) as db:
            row = db.execute(
                "SELECT model, previous FROM promotions WHERE task = ? AND accepted = 1 ORDER BY id DESC LIMIT 1",
                (task,),
            ).fetchone()
            if row is None or row["previous"] in ("", row["model"]):
                raise WardposeError("there is no earlier model to go back to", mend="see `wardpose models list`")
            name = str(row["previous"])
            self.folder(name)  # it must still be here
            # Its own predecessor, so that a second rollback goes one further back instead of to and fro.
            before = db.execute(
                "SELECT previous FROM promotions WHERE task = ? AND accepted = 1 AND model = ? "
                "ORDER BY id DESC LIMIT 1",
                (task, name),
            ).fetchone()
            db.execute(
                "INSERT INTO promotions (at, task, model, previous, accepted, reasons, who) "
                "VALUES (?, ?, ?, ?, 1, ?, ?)",
                (now(), task, name, before["previous"] if before else name,
                 json.dumps({"rollback": reason or "asked for"}), current_user()),
            )  # fmt: skip
            audit.add(self.site, db, "model.rollback", name, reason)
        audit.seal(self.site)
        return name

    def remove(self, name: str, reason: str = "") -> None:
        """Delete a model of this site; raises `WardposeError` for one that is live, came with the box, or is the one
        that a roll back of its task would put back."""
        folder = self.folder(name)
        card = read_card(folder)
        if folder.parent != self.site.models:
            raise WardposeError(f"{name} came with the box", mend="it is shared by every site of it, and stays")
        if name == self.live(card.task):
            raise WardposeError(f"{name} is live", mend="roll back first, or put another one live")
        with self.site.database.transaction() as db:
            row = db.execute(
                "SELECT previous FROM promotions WHERE task = ? AND accepted = 1 ORDER BY id DESC LIMIT 1", (card.task,)
            ).fetchone()
        if row is not None and row["previous"] == name:
            raise WardposeError(f"{name} is what a roll back puts back", mend="it can go once another one went live")

        def delete() -> None:
            # The card first: without it the folder is no model, whatever a power cut leaves of it.
            with contextlib.suppress(FileNotFoundError):
                (folder / CARD_FILE).unlink()
            if folder.exists():
                shutil.rmtree(folder)

        intents.delete(self.site, "model.remove", name, reason, [folder], carry_out=delete, finisher=finish_removing)

    def promotions(self, limit: int = 50) -> list[dict[str, Any]]:
        """The newest decisions of the gate first."""
        with self.site.database.transaction() as db:
            found = db.execute("SELECT * FROM promotions ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        return [dict(row) | {"reasons": parse_json(row["reasons"]), "accepted": bool(row["accepted"])} for row in found]

    @property
    def _places(self) -> tuple[Path, ...]:
        return self.site.models, FETCHED, BUILT_IN

    def _source(self, folder: Path, card: ModelCard) -> str:
        if card.parent:
            return f"tuned from {card.parent}"
        if folder.parent == BUILT_IN:
            return "built in"
        return str(card.made.get("source") or card.made.get("file") or "this site")

    def _folders(self) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for place in self._places:
            if place.is_dir():
                for folder in sorted(place.iterdir()):
                    if (folder / CARD_FILE).is_file() and not folder.name.startswith("."):
                        folders.setdefault(folder.name, folder)
        return folders


def finish_adding(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The row of a model whose folder is complete, by which a later change of its files is told."""
    name = intent.subject
    card = read_card(site.models / name)
    db.execute(
        "INSERT OR REPLACE INTO models (name, added_at, task, folder, sha256, origin) VALUES (?, ?, ?, ?, ?, ?)",
        (name, now(), card.task, site.relative(site.models / name), card.sha256, intent.reason),
    )


def finish_removing(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The row of a model that was removed goes too."""
    db.execute("DELETE FROM models WHERE name = ?", (intent.subject,))


def _family(card: ModelCard) -> str:
    """The name of a model's family; empty where its package is gone or broken."""
    if card.family is not None:  # told without importing what trains it
        return card.family if card.family in plugin_names("model_families") else ""
    from tuning.families.family import family_of

    try:
        return family_of(card).name
    except (WardposeError, ImportError):
        return ""
