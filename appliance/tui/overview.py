"""Overview: how the box is at a glance, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from appliance.jobs.store import Job, JobStore
from appliance.live.status import is_fresh, live_words
from appliance.models.in_use import KINDS, told_in_use
from appliance.site import calibrations
from appliance.site.settings import load_settings
from appliance.tui.page import Page
from appliance.tui.widgets import NO_ALARM, WARN, Fact, Facts, number, when
from calibration.errors import WardposeError
from runtime.state import people_words

CAMERA_MARKS = {"streaming": "good", "absent": "off", "paused": "warn"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What Overview shows. Problems that don't concern the whole screen stand in their own rows."""

    facts: tuple[Fact, ...]


class OverviewPage(Page):
    TAB = "overview"
    ABOUT = "How the box is, and what to do next. A new box: 2 Camera, 3 Calibrate, 4 Retarget, 6 Live, in this order."

    def contents(self) -> ComposeResult:
        yield Static(Text(NO_ALARM, WARN), classes="hint", id="no-alarm")
        yield Facts(id="facts")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        looks = (self._live, self._camera, self._calibration, self._drift, self._models, self._jobs, self._doctor)
        return Seen(tuple(fact for look in looks for fact in look(status)))

    def show(self, data: Seen) -> None:
        self.query_one(Facts).show(data.facts)

    def _live(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        words, mark = live_words(status)
        live = status.get("live") or {}
        if is_fresh(status):
            words += f", {people_words(live['people'])}, camera to skeleton {number(live['p50_ms'], 'ms')}"
            words += f", on {live['engine']}"
        nexts = {
            "off": "6 Live: start it when all below is right",
            "bad": "6 Live, 7 System: see what is wrong",
        }
        if status.get("pause"):
            nexts["warn"] = "6 Live: r lifts the pause"
        yield Fact("Live", words, mark, nexts.get(mark, ""))
        if owner := live.get("owner"):
            yield Fact("Run by", owner["words"], "good" if live["plan"] else "off")

    def _camera(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        try:
            source = load_settings(self.site).camera.source
        except WardposeError as error:
            yield Fact("Settings", str(error), "bad", "correct site.toml; this screen looks again every second")
            return
        camera = status.get("camera") or {"state": "absent", "message": "", "source": "", "fps": 0.0}
        state, text = camera["state"], source
        if state == "streaming":
            text += f": delivers {camera['fps']:.1f} fps"
        elif state == "absent":
            text += ": not in use now"
        elif state == "paused":
            text += f": {camera['message']}"
        else:
            text += f": {state}{', ' + camera['message'] if camera['message'] else ''}"
        nexts = "" if state in CAMERA_MARKS else "2 Camera: probe it"
        yield Fact("Camera", text, CAMERA_MARKS.get(state, "warn"), nexts)

    def _calibration(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        rows = calibrations.rows(self.site)
        row = next((row for row in rows if row.confirmed), None)
        if row is None:
            if rows:
                yield Fact(
                    "Calibration", "the newest is not confirmed yet", "warn", "3 Calibrate: confirm head and foot"
                )
            else:
                yield Fact(
                    "Calibration", "none yet", "off", "3 Calibrate: print the tag sheet, lay it on the empty bed"
                )
            return
        try:
            view = calibrations.load(self.site, row).viewpoint
        except (WardposeError, ValueError, OSError) as error:
            yield Fact("Calibration", f"number {row.id} can't be read: {error}", "bad", "3 Calibrate: calibrate again")
            return
        text = (
            f"azimuth {view.azimuth_deg:.1f}°, elevation {view.elevation_deg:.1f}°, distance {view.distance:.2f} m "
            f"(by {row.method}, {when(row.made_at)})"
        )
        newer = rows[0].id != row.id
        yield Fact("Calibration", text, "good", "3 Calibrate: a newer one waits to be confirmed" if newer else "")

    def _drift(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        drift = status.get("drift") or {"state": "off"}
        if drift["state"] == "off":
            return
        words, mark, nexts = (
            drift["text"],
            {"steady": "good", "drifted": "bad", "blind": "warn"}.get(drift["state"], "off"),
            "",
        )
        if drift["state"] == "drifted":
            nexts = "3 Calibrate: calibrate again" + (
                ", then 4 Retarget: tune to the new view" if drift["retune"] else ""
            )
        elif drift["state"] == "blind":
            nexts = "3 Calibrate: nobody would notice a bumped camera"
        yield Fact("Watch", words, mark, nexts)

    def _models(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        fetch, tune = "5 Models: f fetches those trained on photographs", "4 Retarget: tune them to this bed"
        for model in told_in_use(self.site):
            name = model.kind.capitalize()
            if model.broken:
                yield Fact(name, model.text, "bad", "5 Models: import it again, or roll back")
            elif not model.ok:
                yield Fact(name, model.text, "warn", fetch)
                fetch = ""  # said once
            else:
                yield Fact(name, model.text, "good", "" if model.tuned else tune)
                tune = tune if model.tuned else ""

    def _jobs(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        jobs = JobStore(self.site).all(20)
        active = [job for job in reversed(jobs) if job.active]
        for job in active[:4]:
            yield Fact("Job", told(job), "good" if job.state == "running" else "off")
        if len(active) > 4:
            yield Fact("Job", f"and {len(active) - 4} more queued", "off")
        if not active and jobs:
            stopped = jobs[0].state != "done"
            nexts = "4 Retarget: resume it, or see its log" if stopped else ""
            yield Fact("Last job", told(jobs[0]), "warn" if stopped else "good", nexts)
        elif not active:
            yield Fact("Jobs", "none yet", "off")

    def _doctor(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        health = status.get("health") or {"ok": None, "checks": []}
        lacking = [check for check in health["checks"] if not check["ok"] and not check["optional"]]
        for check in lacking:
            yield Fact("Doctor", f"{check['name']}: {check['detail']}", "bad", check["mend"])
        if not lacking:
            words = "nothing needs mending" if health["ok"] else "has not looked yet"
            yield Fact("Doctor", words, "good" if health["ok"] else "off")


def told(job: Job) -> str:
    """A job in one line."""
    task, model = job.parameters.get("task"), job.parameters.get("model")
    what = f" the {KINDS[task]}" if task in KINDS else f" {model}" if model else ""
    amount = f" {job.done} of {job.total} ({100 * job.fraction:.0f} %)" if job.state == "running" and job.total else ""
    why = f": {job.error or job.note}" if job.error or (job.note and job.active) else ""
    return f"#{job.id} {job.title}{what}: {job.state}{amount}{why}"
