"""Camera: which one this site uses, what it delivers, and a look through it for a reason that is written down."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Label, Static

from appliance.bedside import plates
from appliance.bedside.camera_access import take_pictures
from appliance.box import cameras
from appliance.live import pauses
from appliance.site import calibrations
from appliance.site.settings import load_settings
from appliance.tui.dialogs import Blank, Choose, Form
from appliance.tui.ink import FAINT
from appliance.tui.keys import Keys
from appliance.tui.page import Page
from appliance.tui.pictures import PictureScreen
from appliance.tui.way import examined_note
from appliance.tui.widgets import MARKS, Action, Fact, Facts, age, selected
from calibration.errors import WardposeError
from calibration.progress import Progress
from calibration.redaction import redacted

EXAMPLES = {"recording": "recording:", "video": "video:"}


@dataclass(frozen=True, slots=True)
class Seen:
    source: str
    kinds: tuple[dict[str, Any], ...]
    running: Mapping[str, Any]
    plates: tuple[plates.PlateRow, ...]
    calibrated: bool


class CameraPage(Page):
    TAB = "camera"
    LIST = "#kinds"
    ABOUT = (
        "Where the frames come from. Choose a kind in the table (Enter puts it into the field), complete it, "
        "examine it, and then use it. A look through the camera asks for a reason and leaves a row in the audit trail. "
        "A plate is a picture of the empty bed with its depth, into which training images put their people: empty the "
        "bed, step aside, take it, and keep it only if nobody is in it. It is deleted after 30 days."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("probe", "Examine it", "examine", "primary"),
        Action("use", "Use on this site", "use"),
        Action("look", "Look through it", "look"),
        Action("plate", "Take a plate", "plate"),
        Action("remove", "Delete a plate", "delete", "error"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._probed: dict[str, Any] | None = None
        self._filled = False
        self._kinds: tuple[dict[str, Any], ...] = ()

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        with Horizontal(classes="field"):
            yield Label("Source")
            yield Input(
                id="source", compact=True, placeholder="simulated, kinect, recording:FILE, video:WHERE",
                select_on_focus=False,  # what is typed goes on behind what a kind put there, however fast it comes
            )  # fmt: skip
        yield self.actions()
        yield Static("Kinds of source; Enter puts one into the field", classes="title")
        table: DataTable[Any] = DataTable(id="kinds", cursor_type="row")
        table.add_columns("kind", "usable", "what it is")
        yield table
        yield Static(id="about", classes="hint")
        yield Static("Plates of the empty bed", classes="title", id="plates-title")
        yield Static(id="plates")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        if not self._kinds:
            self._kinds = tuple(cameras.list_cameras())
        return Seen(
            load_settings(self.site).camera.source, self._kinds, status.get("camera") or {},
            tuple(plates.rows(self.site)), calibrations.current_row(self.site) is not None,
        )  # fmt: skip

    def show(self, data: Seen) -> None:
        field = self.query_one("#source", Input)
        if not self._filled:
            field.value, self._filled = data.source, True
        facts = [Fact("On this site", data.source)]
        state = data.running.get("state", "absent")
        if state == "streaming":
            facts.append(Fact("Running", f"{data.running['source']}: {data.running['fps']:.1f} fps", "good"))
        elif state == "absent":
            facts.append(Fact("Running", "no: the live path is off", "off"))
        else:
            told = data.running["message"]
            facts.append(Fact("Running", told if state == "paused" else f"{state}: {told}", "warn"))
        facts += [self._probe_fact(), _plates_fact(data.plates, self.keys)]
        self.query_one(Facts).show(facts)
        rows = [(kind["name"], (kind["name"], "yes" if kind["ok"] else "no", _about(kind))) for kind in data.kinds]
        self.fill(rows)
        lines = Text()
        for row in data.plates:
            sign, ink = MARKS["good" if row.usable else "off"]
            lines.append(f"{sign} ", ink).append(row.name, "bold").append(f"  taken {age(row.captured_at)}")
            lines.append(f", until {row.expires_at[:10]}{'' if row.usable else f', {row.why}'}\n", FAINT)
        lines.rstrip()
        self.query_one("#plates", Static).update(lines)
        for part in ("#plates", "#plates-title"):
            self.query_one(part, Static).display = bool(data.plates)

    def refuse(self, data: Seen) -> dict[str, str]:
        plan = (self.status.get("live") or {}).get("plan") or {}
        same = (
            bool(plan)
            and plan.get("source") == redacted(self._spec)
            and data.running.get("origin") not in ("simulation", "recording")  # those can be opened twice
        )
        held = (self.status.get("pause") or {}).get("words", "")
        first = "" if data.calibrated else "calibrate first (3 Calibrate): a plate belongs to a calibration"
        return {
            "probe": held or ("the live path has this camera open; stop it first (6 Live)" if same else ""),
            "look": held,
            "plate": held or first,
            "remove": "" if data.plates else "there is no plate",
        }

    def on_data_table_row_highlighted(self) -> None:
        kind = next((one for one in self._kinds if one["name"] == selected(self._list())), None)
        self.query_one("#about", Static).update(Text(f"{kind['name']}: {_about(kind)}") if kind else "")

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        kind = selected(self.query_one("#kinds", DataTable))
        field = self.query_one("#source", Input)
        field.value = EXAMPLES.get(kind, kind)
        field.cursor_position = len(field.value)
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        super().on_input_submitted(event)
        if event.input.id == "source":
            self.action_act("probe")

    @property
    def _spec(self) -> str:
        """The camera in the field, with its password where one was typed: not to be shown."""
        return self.query_one("#source", Input).value.strip()

    def do_probe(self) -> None:
        spec = self._spec
        self._probed = None  # what an earlier one found is not of this one

        def examine(_: Progress) -> dict[str, Any]:
            found = cameras.probe(self.site, spec)
            self._note_examined(found)
            return found

        self.work(f"examining {spec}", examine, self._show_probe)

    def _note_examined(self, found: Mapping[str, Any]) -> None:
        """Tell the set-up guide that this site's camera delivers, so that nobody has to say so."""
        settings = load_settings(self.site)
        note, noted = examined_note(settings.camera.source), settings.terminal.guide.split()
        if found["source"] != redacted(settings.camera.source) or found["fps"] <= 0 or note in noted:
            return
        words = sorted({note, *(word for word in noted if not word.startswith("camera="))})
        with contextlib.suppress(WardposeError):  # who may not set the box up has examined it all the same
            self.ask_service("settings.set", section="terminal", name="guide", value=" ".join(words))

    def _show_probe(self, found: dict[str, Any]) -> None:
        self._probed = found
        own = self._data is not None and found["source"] == redacted(self._data.source)
        use = "" if own else f"; {self.keys.shown('use')} makes it this site's camera"
        self.say(f"{found['source']} delivers{use}", "good")

    def _probe_fact(self) -> Fact:
        found = self._probed
        if found is None:
            return Fact("Examined", "not yet", "off", f"{self.keys.shown('examine')} examines the source in the field")
        text = (
            f"{found['source']}: {found['width']}×{found['height']}, {found['fps']:.1f} fps, "
            f"depth {found['depth'] or 'none'}, lens {'known' if found['calibrated'] else 'unknown'}, "
            f"motion sensor {'yes' if found['imu'] else 'no'}"
        )
        lens = (
            ""
            if found["calibrated"]
            else "calibrate with --intrinsics on the command line, or take a source that knows its lens"
        )
        return Fact("Examined", text, "good" if found["fps"] > 0 else "warn", lens)

    def do_use(self) -> None:
        spec = self._spec

        def use(_: Any) -> None:
            from runtime.capture.source import check_spec

            check_spec(spec)  # a source that can't be is refused before it is written down
            before = load_settings(self.site).camera.source
            self.ask_service("settings.set", section="camera", name="source", value=spec)
            self.can_undo("the choice of a camera", "settings.set", section="camera", name="source", value=before)
            if self._probed is not None:
                self._note_examined(self._probed)

        def tell(_: Any) -> None:
            self.query_one("#source", Input).value = redacted(spec)
            self.say(
                f"{redacted(spec)} is this site's camera; a running live path keeps its own until it is started anew",
                "good",
            )

        self.work(f"choosing {spec}", use, tell)

    def do_look(self) -> None:
        form = Form(
            "A look through the camera shows the person in the bed. Your name, the time and the reason are noted.",
            [Blank("reason", "Reason")],
            "Show the picture",
        )
        self.app.push_screen(form, lambda given: self._look(given["reason"]) if given else None)

    def _look(self, reason: str) -> None:
        spec = self._spec

        def take(_: Any) -> Any:
            self.ask_service("camera.look", source=spec, what="picture", reason=reason)
            (frame,) = take_pictures(self.site, spec, 1)
            return frame

        self.work("taking a picture", take, partial(self._show_picture, reason))

    def _show_picture(self, reason: str, frame: Any) -> None:
        height, width = frame.color.shape[:2]
        self.say("the look was written into the audit trail", "good")
        title = f"{frame.source}  {width}×{height}  reason: {reason}"
        self.app.push_screen(PictureScreen(frame.color, title, pause=pauses.switch(self.site)))

    def do_remove(self) -> None:
        names = [(row.name, f"{row.name}, taken {age(row.captured_at)}") for row in plates.rows(self.site)]

        def remove(name: str) -> None:
            self.ask(
                f"Delete the plate {name}? It can't be brought back. Images made over it go too.",
                "Delete it",
                lambda: self.call(f"deleting {name}", "plates.remove", name=name, reason=self.here),
            )

        self.app.push_screen(Choose("Delete which plate?", names), lambda name: remove(name) if name else None)

    def do_plate(self) -> None:
        def take(progress: Progress) -> Any:
            self.ask_service("camera.look", source=plates.plate_source(self.site), what="plate", reason=self.here)
            return plates.capture(self.site, progress=progress)

        self.ask(
            "Is the bed empty, and does nobody stand in the picture? The camera looks for three seconds.",
            "Take the plate",
            lambda: self.work("looking at the empty bed", take, self.show_plate),
        )

    def show_plate(self, taken: Any) -> None:
        """Let a person see a plate, and keep it only when they say so."""
        choices = (("k", "keep", "keep it: nobody is in it"), ("d", "discard", "discard"))
        title = f"The empty bed; depth measured on {100 * taken.measured.mean():.0f} % of it. Nothing is kept yet."
        screen = PictureScreen(taken.color, title, choices=choices, pause=pauses.switch(self.site))
        self.app.push_screen(screen, lambda answer: self._keep_plate(taken) if answer == "keep" else self._drop_plate())

    def _keep_plate(self, taken: Any) -> None:
        def keep(_: Progress) -> Any:
            staged = plates.stage(self.site, taken)
            try:
                return self.ask_service("plates.keep", staged=staged, reason=f"seen and kept {self.here}")
            finally:
                plates.unstage(self.site, staged)

        self.work(
            "keeping the plate",
            keep,
            lambda row: self.say(f"plate {row['name']} is kept until {row['expires_at'][:10]}", "good"),
        )

    def _drop_plate(self) -> None:
        self.say("the plate was not kept", "warn")


def _plates_fact(rows: tuple[plates.PlateRow, ...], keys: Keys) -> Fact:
    used = [row for row in rows if row.usable]
    if used:
        until = min(row.expires_at for row in used)[:10]
        return Fact("Plates", f"{len(used)} of the empty bed in use, the first until {until}", "good")
    why = f"{rows[-1].name} is {rows[-1].why}" if rows else ""
    then = why or f"{keys.shown('plate')} takes one: training images look more real"
    return Fact("Plates", "none of the empty bed in use", "off", then)


def _about(kind: Mapping[str, Any]) -> str:
    """What a kind of source is, or what hinders it first and how to mend that."""
    problems = kind["problems"]
    return f"{kind['detail']} → {problems[0]['mend']}" if problems else str(kind["detail"])
