"""Live: the skeletons of the running pipeline in braille cells, and whether they are really live."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from appliance.live.addresses import result_socket
from appliance.live.status import is_fresh, live_words
from appliance.models.in_use import models_in_use
from appliance.site import calibrations
from appliance.tui.ink import BAD, FAINT, GOOD, LEFT, RIGHT, WARN, inked
from appliance.tui.page import Host, Page
from appliance.tui.widgets import NO_ALARM, Action, number
from calibration.errors import WardposeError
from runtime.state import people_words

DRAWN_EVERY_S = 1 / 30  # a terminal that is slower is waited for


@dataclass(frozen=True, slots=True)
class Seen:
    """bed: the mattress's outline (N, 2) as shares of the picture's width and height; None without a calibration."""

    detector: str
    pose: str
    bed: Any = None


class LivePage(Page):
    TAB = "live"
    ABOUT = (
        "Skeletons only, never pixels; a person of whom too few joints are sure is a box. "
        "Anything but a green LIVE means: don't rely on what you see. The live path goes "
        "on when this terminal is closed; the page for the nurse is on this box's own screen."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("start", "Start", "start", "primary"),
        Action("stop", "Stop", "stop", "error"),
        Action("look", "See the picture", "look"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._shown = threading.Event()
        self._cells = (0, 0)
        self._awaited = ""  # what was started and shows no picture yet
        self._bed: Any = None
        self._bed_of = 0

    def contents(self) -> ComposeResult:
        yield Static(inked(NO_ALARM, WARN), classes="hint", id="no-alarm")
        yield Static(id="headline")
        yield Static(id="cells")
        yield Static(id="figures", classes="hint")
        yield self.actions()

    def gather(self, status: Mapping[str, Any]) -> Seen:
        now = models_in_use(self.site)
        self._look_up_bed()
        return Seen(now["detect"], now["pose"], self._bed)

    def _look_up_bed(self) -> None:
        row = calibrations.current_row(self.site)
        if row is None or row.id == self._bed_of:
            return
        import numpy as np

        from calibration.outline import project_bed_outline

        estimate = calibrations.load(self.site, row)
        camera = estimate.camera
        self._bed, self._bed_of = project_bed_outline(estimate) / np.array([camera.width, camera.height]), row.id

    def show(self, data: Seen) -> None:
        live = self.status.get("live") or {}
        plan = live.get("plan")
        if self._awaited and is_fresh(self.status):
            self.say(f"{self._awaited} gives a live picture", "good")
            self._awaited = ""
        words, mark = live_words(self.status)
        if not is_fresh(self.status):
            colour = {"warn": WARN, "off": FAINT}.get(mark, BAD)
            lifts = f"Nothing is being looked at. {self.keys.shown('pause')} asks, and lifts the pause"
            hint = lifts if self.status.get("pause") else ""
            self._draw_nothing(
                words, colour, hint or ("" if plan else f"{self.keys.shown('start')} starts the live path")
            )
        lines = []
        if owner := live.get("owner"):
            lines.append(owner["words"])
        if not plan:
            self.query_one("#figures", Static).update(Text("\n".join(lines)))
            return
        if is_fresh(self.status):
            lines.append(
                f"{number(live['fps'], 'fps', 1)} · camera to skeleton {number(live['p50_ms'], 'ms')} "
                f"(99 of 100 within {number(live['p99_ms'], 'ms')}) · {live['engine']} · {people_words(live['people'])}"
            )
        page = " · the page's address: wardpose display --address" if plan["display"] else ""
        pose = plan["pose"] or "no pose model: people are boxes, no skeleton"
        lines.append(f"{plan['source']} · {plan['detector']} · {pose}{page}")
        for what, runs, now in (("detector", plan["detector"], data.detector), ("pose model", plan["pose"], data.pose)):
            if now and runs != now:
                lines.append(f"{now} is the {what} now: start anew to use it")
        drift = self.status.get("drift") or {"state": "off"}
        if drift["state"] == "drifted":
            lines.append(f"{drift['text']}: calibrate again (3){', then tune again (4)' if drift['retune'] else ''}")
        told = self.status.get("outages") or {}
        if told.get("restarts") or told.get("outages"):
            lines.append(told["words"])
        self.query_one("#figures", Static).update(Text("\n".join(lines)))

    def refuse(self, data: Seen) -> dict[str, str]:
        live = self.status.get("live") or {}
        theirs = "somebody else runs it; stop it first" if live.get("plan") and not self.status.get("own") else ""
        return {
            "start": "the service does not answer" if not live else theirs,
            "stop": "" if live.get("runs") else "nothing runs",
            "look": (self.status.get("pause") or {}).get("words", ""),
        }

    def do_look(self) -> None:
        """The camera's screen asks for the reason and writes it down."""
        self.wardpose.take("camera", "look")

    def do_start(self) -> None:
        if (self.status.get("live") or {}).get("plan"):
            self.ask(
                "The live path runs. Start it anew? There is no live picture for some seconds.",
                "Start anew",
                self._start,
            )
        else:
            self._start()

    def _start(self) -> None:
        self.call(
            "starting the live path (the first start prepares the models, which may take a minute)",
            "live.start",
            self._started,
            reason=self.here,
        )

    def _started(self, plan: dict[str, Any]) -> None:
        self._awaited = f"{plan['detector']} on {plan['source']}"
        self.can_undo("the start of the live path", "live.stop", reason=f"undone {self.here}")
        self.say(f"starting {self._awaited}; the first picture takes a moment", "good")

    def do_stop(self) -> None:
        live = self.status.get("live") or {}
        theirs = "" if self.status.get("own") or not live.get("owner") else f" {live['owner']['words']}."
        self.ask(
            f"Stop the live path?{theirs} Nobody sees a skeleton until it is started again.",
            "Stop it",
            self._stop,
        )

    def _stop(self) -> None:
        plan = (self.status.get("live") or {}).get("plan") or {}
        self.call("stopping", "live.stop", reason=self.here)
        if plan and self.status.get("own"):
            self.can_undo("the stop of the live path", "live.start", source=plan["source"], detector=plan["detector"],
                          pose=plan["pose"] or None, display=plan["display"], reason=f"undone {self.here}")  # fmt: skip

    def on_mount(self) -> None:
        self._shown.set()
        threading.Thread(target=self._listen, args=(self.wardpose,), name="live picture", daemon=True).start()

    def on_screen_resume(self) -> None:
        self._shown.set()

    def on_screen_suspend(self) -> None:
        self._shown.clear()

    def on_resize(self) -> None:
        self.call_after_refresh(self._measure)

    def _measure(self) -> None:
        size = self.query_one("#cells").content_size
        self._cells = (size.width, size.height)

    def _listen(self, app: Host) -> None:
        """Draw the newest result while the screen is shown; nothing at all is drawn of one that isn't news."""
        from runtime.bus import BusTimeout, ResultClient
        from runtime.message import state_of

        drawn_at = shown_until = 0.0
        with ResultClient(result_socket(self.site)) as client:
            while not app.leaving.is_set():
                if not self._shown.wait(0.5):
                    client.close()
                    continue
                try:
                    message = client.latest(timeout_s=0.25)
                except BusTimeout:
                    message = {}
                except WardposeError:
                    message = {}
                    app.leaving.wait(0.5)  # nobody serves at present
                if message.get("state") == "live":
                    state = state_of(message)
                    shown_until = message["captured_at"] + state.stale_s
                    if time.monotonic() - drawn_at >= DRAWN_EVERY_S:
                        drawn_at = time.monotonic()
                        self._tell(app, message)
                elif shown_until and (message or time.monotonic() > shown_until):
                    shown_until = 0.0
                    headline = state_of(message).headline() if message else "NO LIVE PICTURE"
                    app.on_screen(self._draw_nothing, headline, WARN if message.get("pause") else BAD, "")

    def _tell(self, app: Host, message: dict[str, Any]) -> None:
        from runtime.message import people_of, state_of
        from runtime.overlay import side_cells

        state = state_of(message)
        detections, skeletons = people_of(message)
        columns, rows = self._cells
        if not state.fresh:
            app.on_screen(self._draw_nothing, state.headline(), BAD, "")
        elif columns and rows:
            size = message["width"], message["height"]
            bed = None if self._bed is None else self._bed * size
            lines = side_cells(skeletons, *size, columns, rows, detections, bed)
            people = message["people"]
            boxes = sum(person.get("shown") == "box" for person in people)
            mark = ("●", GOOD) if state.live else ("▲", WARN)
            app.on_screen(
                self._draw, mark, state.headline(), _text(lines), people_words(len(people)), boxes, _sure(people)
            )

    def _draw(self, mark: tuple[str, str], headline: str, cells: Text, people: str, boxes: int, sure: str) -> None:
        """boxes: so many of the people are drawn as a box, since too little of a skeleton is sure."""
        drawn = f"  {people}{f', {boxes} as a box' if boxes else ''}{sure}"
        sign, colour = mark
        if not self.query("#headline"):
            return  # the screen was left, its contents first
        self.query_one("#headline", Static).update(Text.assemble((f"{sign} {headline}", colour), (drawn, FAINT)))
        if people == people_words(0):
            cells = Text("\nNobody detected, which does not mean that nobody is there.\n").append_text(cells)
        self.query_one("#cells", Static).update(cells)
        self._measure()

    def _draw_nothing(self, headline: str, colour: str, hint: str) -> None:
        if not self.query("#headline"):
            return
        sign = {WARN: "▲", FAINT: "○"}.get(colour, "■")
        self.query_one("#headline", Static).update(inked(f"{sign} {headline}", colour))
        columns, rows = self._cells
        middle = Text("\n" * max(rows // 2 - 1, 1), no_wrap=True)
        for words, ink in ((f"{sign}  {headline.split(':')[0]}  {sign}", colour), ("", ""), (hint, FAINT)):
            middle.append(f"{words:^{columns or 1}}\n", ink)
        self.query_one("#cells", Static).update(middle)
        self._measure()


def _text(lines: list[list[tuple[str, str]]]) -> Text:
    inks = {"left": LEFT, "right": RIGHT, "bed": FAINT}
    text = Text(no_wrap=True)
    for line in lines:
        for cells, side in line:
            text.append(cells, inks.get(side, ""))
        text.append("\n")
    text.rstrip()
    return text


def _sure(people: Sequence[Mapping[str, Any]]) -> str:
    """How sure the joints that are drawn are, and which colour is which side."""
    drawn = [person for person in people if person.get("shown") == "skeleton"]
    scores = [joint[2] for person in drawn for joint in person.get("keypoints") or () if len(joint) > 2 and joint[2]]
    if not scores:
        return ""
    return f", joints sure to {100 * sum(scores) / len(scores):.0f} %; L left, R right"
