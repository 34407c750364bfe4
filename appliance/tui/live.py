"""Live: the skeletons of the running pipeline in braille cells, and whether they are really live."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from appliance.client import ask_or_do
from appliance.live import pauses
from appliance.live.addresses import result_socket
from appliance.live.status import is_fresh, live_words
from appliance.models.in_use import models_in_use
from appliance.site.settings import load_settings
from appliance.tui.page import Host, Page
from appliance.tui.widgets import BAD, FAINT, GOOD, NO_ALARM, WARN, Action, Actions, number
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.state import people_words

DRAWN_EVERY_S = 0.08  # a dozen times a second: more flickers over ssh


@dataclass(frozen=True, slots=True)
class Seen:
    page: str
    detector: str
    pose: str


class LivePage(Page):
    TAB = "live"
    ABOUT = (
        "Skeletons only, never pixels; a person of whom too few joints are sure is a box. "
        "Anything but a green LIVE means: don't rely on what you see. The live path goes "
        "on when this terminal is closed; the page for the nurse is on this box's own screen."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("start", "Start", "s", "primary", brief="Start"),
        Action("stop", "Stop", "x", "error", brief="Stop"),
        Action("pause", "Pause", "p", "warning", brief="Pause"),
        Action("resume", "Resume", "r", "success", brief="Resume"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._shown = threading.Event()
        self._cells = (0, 0)
        self._listening = False

    def contents(self) -> ComposeResult:
        yield Static(Text(NO_ALARM, WARN), classes="hint", id="no-alarm")
        yield Static(id="headline")
        yield Static(id="cells")
        yield Static(id="figures", classes="hint")
        yield Actions(*self.ACTIONS)

    def gather(self, status: Mapping[str, Any]) -> Seen:
        now = models_in_use(self.site)
        port = load_settings(self.site).display.port
        return Seen(f"http://127.0.0.1:{port}/", now["detect"], now["pose"])

    def show(self, data: Seen) -> None:
        live = self.status.get("live") or {}
        plan = live.get("plan")
        words, mark = live_words(self.status)
        if not is_fresh(self.status):
            colour = {"warn": WARN, "off": FAINT}.get(mark, BAD)
            hint = "Nothing is being looked at. r lifts the pause" if self.status.get("pause") else ""
            self._draw_nothing(words, colour, hint or ("" if plan else "s starts the live path"))
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
        lines.append(
            f"{plan['source']} · {plan['detector']} · {plan['pose'] or 'no pose model: people are boxes, no skeleton'}"
            f"{f' · page {data.page}' if plan['display'] else ''}"
        )
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
        paused = bool(self.status.get("pause"))
        theirs = "somebody else runs it; stop it first" if live.get("plan") and not self.status.get("own") else ""
        return {
            "start": "the service does not answer" if not live else theirs,
            "stop": "" if live.get("runs") else "nothing runs",
            "pause": "it is paused" if paused else "",
            "resume": "" if paused else "it is not paused",
        }

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
            lambda plan: self.say(
                f"starting {plan['detector']} on {plan['source']}; the first picture takes a moment", "good"
            ),
            reason=self.here,
        )

    def do_stop(self) -> None:
        live = self.status.get("live") or {}
        theirs = "" if self.status.get("own") or not live.get("owner") else f" {live['owner']['words']}."
        self.ask(
            f"Stop the live path?{theirs} Nobody sees a skeleton until it is started again.",
            "Stop it",
            lambda: self.call("stopping", "live.stop", reason=self.here),
        )

    def do_pause(self) -> None:
        # By itself where the service does not answer at once.
        self.work("pausing", lambda _: ask_or_do(self.site, "live.pause", lambda: pauses.pause(self.site)))

    def do_resume(self) -> None:
        def resume(_: Progress) -> None:
            ask_or_do(self.site, "live.resume", lambda: pauses.resume(self.site, self.here), reason=self.here)

        self.work("resuming", resume)

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
        from runtime.overlay import skeleton_cells

        state = state_of(message)
        detections, skeletons = people_of(message)
        columns, rows = self._cells
        if not state.fresh:
            app.on_screen(self._draw_nothing, state.headline(), BAD, "")
        elif columns and rows:
            lines = skeleton_cells(skeletons, message["width"], message["height"], columns, rows, detections)
            people = message["people"]
            boxes = sum(person.get("shown") == "box" for person in people)
            mark = ("●", GOOD) if state.live else ("▲", WARN)
            app.on_screen(self._draw, mark, state.headline(), "\n".join(lines), len(people), boxes)

    def _draw(self, mark: tuple[str, str], headline: str, cells: str, people: int, boxes: int) -> None:
        """boxes: so many of the people are drawn as a box, since too little of a skeleton is sure."""
        drawn = f"  {people_words(people)}{f', {boxes} as a box' if boxes else ''}"
        sign, colour = mark
        self.query_one("#headline", Static).update(Text.assemble((f"{sign} {headline}", colour), (drawn, FAINT)))
        if not people:
            cells = "\nNobody detected, which does not mean that nobody is there."
        self.query_one("#cells", Static).update(Text(cells, no_wrap=True))
        self._measure()

    def _draw_nothing(self, headline: str, colour: str, hint: str) -> None:
        self.query_one("#headline", Static).update(Text(f"■ {headline}", colour))
        self.query_one("#cells", Static).update(Text(f"\n{hint}", FAINT))
        self._measure()
