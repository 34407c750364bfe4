"""Models: what this site has, whether it is intact, and which one is live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import DataTable, Static

from appliance.models import Model, ModelStore
from appliance.tui.dialogs import Blank, Form, Reading
from appliance.tui.page import Page, Progress
from appliance.tui.retarget import roll_back
from appliance.tui.widgets import GOOD, Action, Actions, fill, selected, when
from calibration.errors import WardposeError

TASKS = {"detect": "detector", "pose": "pose"}


@dataclass(frozen=True, slots=True)
class Seen:
    models: tuple[Model, ...]
    promotions: tuple[dict[str, Any], ...]


class ModelsPage(Page):
    TAB = "models"
    ABOUT = (
        "Every model of this site. Import never executes what a file carries: safetensors and ONNX are read as data; "
        "a .pt is converted once by an allow-list. A detector goes live only through the gate."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("import", "Import a file", "i", "primary", brief="Import"),
        Action("verify", "Verify", "v", brief="Verify"),
        Action("card", "Its card", "d", brief="Card"),
        Action("export", "Export", "x", brief="Export"),
        Action("promote", "Judge and promote", "j", brief="Judge"),
        Action("back", "Roll back", "b", brief="Roll back"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen = Seen((), ())

    def contents(self) -> ComposeResult:
        yield Static("No model yet: i imports one; `wardpose base` makes the base models.", classes="hint", id="none")
        table: DataTable[Any] = DataTable(id="models", cursor_type="row")
        table.add_columns("model", "task", "architecture", "live", "exported", "tuned from")
        yield table
        yield Actions(*self.ACTIONS)
        yield Static("Decisions", classes="title")
        yield Static(id="decisions")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        store = ModelStore(self.site)
        return Seen(tuple(store.all()), tuple(store.promotions(8)))

    def show(self, data: Seen) -> None:
        self._seen = data
        rows = []
        for model in data.models:
            live = Text("● live", GOOD) if model.live else Text("")
            origin = model.parent or ("built in" if model.built_in else "imported")
            rows.append(
                (
                    model.name,
                    (model.name, TASKS[model.task], model.architecture, live, "yes" if model.onnx else "no", origin),
                )
            )
        fill(self.query_one("#models", DataTable), rows)
        self.query_one("#models", DataTable).display = bool(rows)
        self.query_one("#none", Static).display = not rows
        lines = [
            f"{when(row['at'])}  {row['model']} {'is live' if row['accepted'] else 'was refused'}"
            f"{' (rolled back)' if 'rollback' in row['reasons'] else ''}, by {row['who']}"
            for row in data.promotions
        ]
        self.query_one("#decisions", Static).update(Text("\n".join(lines) or "none yet: the base models are in use"))

    def refuse(self, data: Seen) -> dict[str, str]:
        model = self._model
        none = "" if model else "no model is selected"
        judged = none
        if model:
            judged = (
                "a pose model's gate is still to come" if model.task == "pose" else "it is live" if model.live else ""
            )
        exported = "it is ONNX already" if model and model.onnx else ""
        back = "" if any(row["accepted"] for row in data.promotions) else "no model was promoted yet"
        return {"verify": none, "card": none, "export": none or exported, "promote": judged, "back": back}

    @property
    def _model(self) -> Model | None:
        key = selected(self.query_one("#models", DataTable))
        return next((model for model in self._seen.models if model.name == key), None)

    def on_data_table_row_highlighted(self) -> None:
        self.wardpose.look_again()

    def on_data_table_row_selected(self) -> None:
        self.action_act("card")

    def do_import(self) -> None:
        blanks = [
            Blank("path", "File (.safetensors, .onnx, .pt)"),
            Blank("name", "Name (empty: the file's)", needed=False),
            Blank("architecture", "Architecture, for bare weights, such as yolov5n", needed=False),
            Blank("licence", "Licence of the weights", "unknown"),
        ]
        self.app.push_screen(
            Form("Import a model. Nothing that the file carries is executed.", blanks, "Import"), self._import
        )

    def _import(self, given: dict[str, str] | None) -> None:
        if not given:
            return
        path = Path(given["path"]).expanduser()

        def take_in(_: Progress) -> Any:
            if not path.is_file():
                raise WardposeError("no such file", where=str(path), mend="give the path of a weights file")
            store = ModelStore(self.site)
            name = given["name"] or path.name.removesuffix(path.suffix)
            return store.import_file(path, name, architecture=given["architecture"] or None, licence=given["licence"])

        self.work(
            f"importing {path.name}",
            take_in,
            lambda card: self.say(
                f"{card.name}: {card.architecture}, {TASKS[card.task]}, {card.width}×{card.height}", "good"
            ),
        )

    def do_verify(self) -> None:
        model = self._model
        assert model is not None
        name = model.name
        self.work(
            f"verifying {name}",
            lambda _: ModelStore(self.site).verify(name),
            lambda card: self.say(f"{name} is intact (sha256 {card.sha256[:16]}…)", "good"),
        )

    def do_card(self) -> None:
        model = self._model
        assert model is not None
        try:
            card = (
                ModelStore(self.site)
                .card(model.name)
                .model_dump(exclude_none=True, exclude={"architecture_yaml", "info"})
            )
        except WardposeError as error:
            self.say(str(error), "bad")
            return
        lines = [f"{name:<14} {_said(value)}" for name, value in card.items()]
        self.app.push_screen(Reading(model.name, "\n".join([*lines, f"{'folder':<14} {model.folder}"])))

    def do_export(self) -> None:
        model = self._model
        assert model is not None
        self.call("queueing", "jobs.submit", self._queued, kind="export", parameters={"model": model.name})

    def do_promote(self) -> None:
        model = self._model
        assert model is not None
        name = model.name
        self.ask(
            f"Judge {name} against the detector in use, on held-out pictures of this bed? If better, it goes live.",
            "Judge it",
            lambda: self.call("queueing", "jobs.submit", self._queued, kind="promote", parameters={"model": name}),
        )

    def _queued(self, job: dict[str, Any]) -> None:
        self.say(f"queued as #{job['id']}; see 4 Retarget", "good")

    def do_back(self) -> None:
        roll_back(self)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return "\n" + "\n".join(f"  {name:<16} {_said(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
