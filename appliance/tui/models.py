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

from appliance.client import ServiceClient
from appliance.jobs import datasets
from appliance.jobs.store import Job, JobStore
from appliance.models.in_use import KINDS
from appliance.models.store import Model, ModelStore
from appliance.tui.dialogs import Blank, Form, Reading
from appliance.tui.ink import FAINT, GOOD, WARN, inked
from appliance.tui.keys import Keys
from appliance.tui.page import Page
from appliance.tui.verdicts import verdict_text
from appliance.tui.widgets import Action, selected
from calibration.errors import WardposeError
from calibration.progress import Progress


@dataclass(frozen=True, slots=True)
class Seen:
    """What Models shows. lacking: which models trained on photographs this box has not got; without: what that means;
    fetching: the newest job that gets them."""

    models: tuple[Model, ...]
    promotions: tuple[dict[str, Any], ...]
    lacking: tuple[str, ...] = ()
    without: str = ""
    fetching: Job | None = None


# What a detector's file may leave open, as it is asked for.
OPEN = {
    "person_class": "Which class is the person? Its number from 0, or its name",
    "layout": "The layout of its output: yolo, yolox, …",
}


class ModelsPage(Page):
    TAB = "models"
    LIST = "#models"
    ABOUT = (
        "Every model of this site. Import never executes what a file carries: safetensors and ONNX are read as data; "
        "a .pt is converted once by an allow-list. A model goes live only through the gate, and is taken back by a "
        "roll back. The models a box starts with were trained on photographs; Fetch gets them from the package "
        "registry, or from a file on a USB stick."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("promote", "Judge, put live if better", "judge", "primary"),
        Action("back", "Roll back", "back"),
        Action("fetch", "Fetch", "fetch"),
        Action("import", "Import a file", "import"),
        Action("score", "Score", "score"),
        Action("export", "Export", "write"),
        Action("remove", "Delete", "delete", "error"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen = Seen((), ())

    def contents(self) -> ComposeResult:
        yield Static(classes="hint", id="lacking")
        table: DataTable[Any] = DataTable(id="models", cursor_type="row")
        table.add_columns("model", "task", "live", "input", "from", "family", "licence")
        yield table
        yield Static(classes="hint", id="about")
        yield self.actions()
        yield Static("Decisions", classes="title")
        yield Static(id="decisions")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        from appliance.models.fetch import without
        from tuning.pretrained import PRETRAINED

        store, jobs = ModelStore(self.site), JobStore(self.site).all(30)
        models = tuple(store.all())
        names = {model.name for model in models}
        lacking = tuple(name for name in PRETRAINED if name not in names)
        fetching = next((job for job in jobs if job.kind == "fetch"), None)
        means = without(self.site) if lacking else ""
        return Seen(models, tuple(store.promotions(8)), lacking, means, fetching)

    def show(self, data: Seen) -> None:
        self._seen = data
        self.fill([(model.name, _cells(model)) for model in data.models])
        self._list().display = bool(data.models)
        lacking = _lacking(data, self.keys)
        self.query_one("#lacking", Static).display = bool(lacking.plain)
        self.query_one("#lacking", Static).update(lacking)
        self.query_one("#about", Static).update(_about(self._model) if self._model else "")
        text = Text("\n").join(verdict_text(row) for row in data.promotions[:4])
        self.query_one("#decisions", Static).update(text or Text("none yet: this box runs what it began with"))

    def refuse(self, data: Seen) -> dict[str, str]:
        model = self._model
        none = "" if model else "no model is selected"
        task = model.task if model else ""
        promoted = any(row["accepted"] and row["task"] == task for row in data.promotions)
        return {
            "fetch": "" if data.lacking else "they are all here",
            "score": none,
            "export": none or ("it is ONNX already" if model and model.onnx else ""),
            "promote": none or ("it is live" if model and model.live else ""),
            "remove": none or _stays(model),
            "back": none or ("" if promoted else f"no {KINDS[task]} was promoted yet"),
        }

    @property
    def _model(self) -> Model | None:
        key = selected(self._list())
        return next((model for model in self._seen.models if model.name == key), None)

    def on_data_table_row_highlighted(self) -> None:
        self.query_one("#about", Static).update(_about(self._model) if self._model else "")

    def on_data_table_row_selected(self) -> None:
        self.do_card()

    def do_fetch(self) -> None:
        blanks = [Blank("source", "File (.tgz) instead of the registry", needed=False, place=True)]

        def fetch(given: dict[str, str] | None) -> None:
            if given is not None:
                source = {key: value for key, value in given.items() if value}
                self.call("queueing", "jobs.submit", self._queued, kind="fetch", parameters=source)

        self.app.push_screen(Form("Fetch the models trained on photographs (144 MB)", blanks, "Fetch"), fetch)

    def do_import(self) -> None:
        blanks = [
            Blank("path", "File (.safetensors, .onnx, .pt)", place=True),
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
        path = Path(given["path"])

        wanted = {key: given[key] for key in ("architecture", "licence") if given[key]}
        wanted |= {"file": str(path), "name": given["name"] or path.name.removesuffix(path.suffix)}
        self._take_in(path, wanted)

    def _take_in(self, path: Path, wanted: dict[str, str]) -> None:
        def take_in(progress: Progress) -> dict[str, Any] | WardposeError:
            try:
                with ServiceClient.connect(self.site) as client:
                    return client.carry_out("import", wanted, progress)
            except WardposeError as error:
                if _left_open(error, wanted):
                    return error
                raise

        def taken(card: dict[str, Any] | WardposeError) -> None:
            if isinstance(card, WardposeError):
                self._ask_what_is_open(path, wanted, card)
                return
            what = f"{card['architecture']}, {KINDS[card['task']]}, {card['width']}×{card['height']}"
            self.say(f"{card['model']}: {what}", "good")

        self.work(f"importing {path.name}", take_in, taken)

    def _ask_what_is_open(self, path: Path, wanted: dict[str, str], error: WardposeError) -> None:
        """The file leaves something open that only a person knows: ask for it, and go on with the answer."""
        name = _left_open(error, wanted)
        blank = Blank(name, OPEN[name])
        form = Form(f"{error.what.rpartition(';')[0] or error.what}.", [blank], "Import")
        self.app.push_screen(form, lambda given: self._take_in(path, wanted | given) if given else None)

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

    def do_score(self) -> None:
        model = self._model
        assert model is not None
        name, task = model.name, model.task
        blanks = [
            Blank("data", "Annotations (COCO JSON)", str(datasets.newest_held_out(self.site) or ""), place=True),
            Blank("images", "Folder of the pictures, if not beside the file", needed=False, place=True),
        ]

        def score(given: dict[str, str] | None) -> None:
            if given:
                parameters: dict[str, Any] = {"model": name} | {key: value for key, value in given.items() if value}
                if task == "pose":
                    parameters["keypoints"] = True
                self.call("queueing", "jobs.submit", self._queued, kind="evaluate", parameters=parameters)

        self.app.push_screen(Form(f"Score {name} on labelled pictures", blanks, "Score"), score)

    def do_promote(self) -> None:
        model = self._model
        assert model is not None
        name, live = model.name, ModelStore(self.site).live(model.task) or f"no {KINDS[model.task]}"
        self.ask(
            f"Judge {name} against {live}, which is in use, on held-out pictures of this bed? If better, it goes live.",
            "Judge it",
            lambda: self.call(
                "queueing", "jobs.submit", self._queued, kind="promote", parameters={"model": name, "reason": self.here}
            ),
        )

    def do_remove(self) -> None:
        model = self._model
        assert model is not None
        name = model.name
        self.ask(
            f"Delete the model {name}? It can't be brought back.", "Delete it",
            lambda: self.call(f"deleting {name}", "models.remove", name=name, reason=self.here),
        )  # fmt: skip

    def _queued(self, job: dict[str, Any]) -> None:
        self.say(f"asked for as #{job['id']}; what comes of it is told here, 4 Retarget has its page", "good")

    def do_back(self) -> None:
        model, store = self._model, ModelStore(self.site)
        assert model is not None
        task = model.task
        self.ask(
            f"Put the {KINDS[task]} before {store.live(task)} back? A running live path goes over to it.",
            "Roll back",
            lambda: self.call(
                "rolling back", "models.rollback",
                lambda now: self.say(f"{now['live']} is the {KINDS[task]} again", "good"),
                task=task, reason=self.here,
            ),
        )  # fmt: skip


def _left_open(error: WardposeError, wanted: Mapping[str, str]) -> str:
    """What an import asks to be told that was not told yet; empty where it failed for another reason."""
    return next((name for name in OPEN if f"--{name.replace('_', '-')}" in str(error) and name not in wanted), "")


def _stays(model: Model | None) -> str:
    """Why a model can't be deleted; empty where it can."""
    if model is None:
        return ""
    return "it came with the box" if model.built_in else "it is live" if model.live else ""


def _cells(model: Model) -> tuple[str | Text, ...]:
    live = inked("● live", GOOD) if model.live else Text("")
    origin = model.parent or ("built in" if model.source == "built in" else "fetched" if model.built_in else "imported")
    return (model.name, KINDS[model.task], live, f"{model.width}×{model.height}", origin, model.family or "unknown",
            model.licence)  # fmt: skip


def _about(model: Model) -> Text:
    """The selected model, whose row may be wider than the terminal, in lines that wrap."""
    told = model.parent or model.source == "built in"
    made = f"{'' if told else 'from '}{model.source.removeprefix('https://')}"
    if model.architecture != model.name:
        made = f"{model.architecture}, {made}"
    ready = "ready to run" if model.onnx else "not exported yet, which its first use does"
    family = "" if model.family else "; the package of its family is not installed: it can't be tuned"
    return Text.assemble((model.name, "bold"), f": {made}; licence {model.licence}; {ready}{family}")


def _lacking(seen: Seen, keys: Keys) -> Text:
    """Which fetched models are not here, what that means, and how getting them goes."""
    text = Text()
    job = seen.fetching
    if seen.lacking:
        text.append(f"▲ Not on this box: {', '.join(seen.lacking)}: {seen.without}. ", WARN)
        text.append(f"{keys.shown('fetch')} fetches them, from the registry or from a file on a USB stick.", FAINT)
    if job is not None and job.active:
        text = inked(f"Fetching (#{job.id}, {job.state}): {job.note or 'about to begin'} …", GOOD)
    elif job is not None and seen.lacking and job.state != "done":
        text.append(f"\nThe last try {job.state}{f': {job.error}' if job.error else ''}", WARN)
    return text


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return "\n" + "\n".join(f"  {name:<16} {_said(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
