"""Calibrate: where the camera stands relative to the bed; a person confirms head and foot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance.bedside.calibrate import (
    calibrate_by_depth,
    calibrate_tags,
    camera_of,
    print_tag_sheet,
    site_bed,
    tag_source,
)
from appliance.bedside.camera_access import take_pictures
from appliance.live import pauses
from appliance.site import calibrations
from appliance.site.settings import Settings, load_settings
from appliance.tui.corner_picker import CornerPicker
from appliance.tui.dialogs import Blank, Form
from appliance.tui.page import Page
from appliance.tui.pictures import PictureScreen
from appliance.tui.widgets import Action, Actions, Fact, Facts, when
from calibration.progress import Progress

CHOICES = (
    ("y", "right", "head and foot are right"),
    ("t", "turned", "they are turned round"),
    ("d", "discard", "discard"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """estimate and used are `CalibrationEstimate`s: of the newest row, and of the one in use."""

    settings: Settings
    newest: calibrations.CalibrationRow | None
    estimate: Any
    row: calibrations.CalibrationRow | None
    used: Any


class CalibratePage(Page):
    TAB = "calibrate"
    ABOUT = (
        "Print the tag sheet at 100 %, check its ruler, lay it flat on the empty mattress as its arrow says, "
        "and calibrate. Then look at the bed drawn on the picture and say whether head and foot are right: nothing "
        "uses a calibration that nobody has confirmed. Without a sheet: by depth (p), or by its four corners (k). "
        "The bed's measures stand in site.toml."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("print", "Print the tag sheet", "s", brief="Sheet"),
        Action("tags", "Calibrate by the sheet", "c", "primary", brief="Calibrate"),
        Action("depth", "Calibrate by depth", "p", brief="Depth"),
        Action("corners", "Pick its corners", "k", brief="Corners"),
        Action("look", "Show the bed in the picture", "o", brief="Show"),
        Action("right", "Head and foot are right", "y", "success", brief="Right"),
        Action("turned", "They are turned round", "t", brief="Turned"),
        Action("discard", "Discard", "d", "error", brief="Discard"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._loaded: dict[str, Any] = {}

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        yield Actions(*self.ACTIONS)

    def gather(self, status: Mapping[str, Any]) -> Seen:
        settings = load_settings(self.site)
        rows = calibrations.rows(self.site)
        newest = rows[0] if rows else None
        row = next((row for row in rows if row.confirmed), None)
        return Seen(settings, newest, self._load(newest), row, self._load(row))

    def _load(self, row: calibrations.CalibrationRow | None) -> Any:
        if row is None:
            return None
        if row.file not in self._loaded:
            self._loaded[row.file] = calibrations.load(self.site, row)
        return self._loaded[row.file]

    def show(self, data: Seen) -> None:
        bed = data.settings.bed
        facts = [
            Fact("Bed", f"{bed.length:.2f} × {bed.width:.2f} m, top {bed.height:.2f} m above the floor"),
            Fact("Camera", data.settings.camera.source),
        ]
        if data.row is None:
            facts.append(Fact("In use", "no calibration is confirmed", "off"))
        else:
            facts.append(Fact("In use", describe(data.row, data.used), "good"))
        if data.newest is not None and not data.newest.confirmed:
            from calibration.outline import where_the_head_is

            asked = f"{where_the_head_is(data.estimate)}: look at it (o), then say y, t or d"
            facts.append(Fact("To confirm", describe(data.newest, data.estimate), "warn", asked))
        elif data.newest is None:
            facts.append(Fact("Next", "s prints the tag sheet; lay it on the empty bed; c calibrates", "warn"))
        self.query_one(Facts).show(facts)

    def refuse(self, data: Seen) -> dict[str, str]:
        held = (self.status.get("pause") or {}).get("words", "")  # a camera that runs live is looked at from there
        waiting = (
            "" if data.newest is not None and not data.newest.confirmed else "no calibration waits to be confirmed"
        )
        return {
            "tags": held, "depth": held, "corners": held,
            "look": held or ("" if data.newest is not None else "calibrate first"),
            "right": waiting, "turned": waiting, "discard": waiting,
        }  # fmt: skip

    def do_print(self) -> None:
        blanks = [
            Blank("file", "PDF file", str(self.site.pictures / "tag-sheet.pdf")),
            Blank("paper", "Paper: sheet (one large page), a3 or a4 (tiles)", "a4"),
        ]
        self.app.push_screen(Form("The tag sheet for the bed of site.toml", blanks, "Write the PDF"), self._print)

    def _print(self, given: dict[str, str] | None) -> None:
        if not given:
            return
        path = Path(given["file"]).expanduser()

        def write(_: Progress) -> int:
            from calibration.errors import WardposeError

            if given["paper"] not in ("sheet", "a3", "a4"):
                raise WardposeError(f"there is no paper {given['paper']!r}", mend="choose sheet, a3 or a4")
            return print_tag_sheet(self.site, path, paper=given["paper"])

        self.work(
            "writing the tag sheet",
            write,
            lambda pages: self.say(f"{path}: {pages} pages; print at 100 % and measure the 100 mm ruler", "good"),
        )

    def do_tags(self) -> None:
        self._calibrate("looking for the tag sheet", calibrate_tags)

    def do_depth(self) -> None:
        self._calibrate("looking for the bed in depth", calibrate_by_depth)

    def _calibrate(self, title: str, method: Callable[..., Any]) -> None:
        best: dict[str, Any] = {}

        def keep_picture(frame: Any, estimate: Any) -> None:
            best.update(color=frame.color, estimate=estimate)

        def calibrate(progress: Progress) -> None:
            self._ask_to_look("calibration", title)
            self._keep(method(self.site, progress=progress, on_better=keep_picture))

        self.work(title, calibrate, lambda _: self._show_bed(best["color"], best["estimate"], asking=True))

    def _keep(self, estimate: Any) -> None:
        from calibration.files import estimate_text

        self.ask_service("calibrations.keep", estimate=estimate_text(estimate))
        self._ask_to_look("picture", "the bed drawn on the picture")

    def _ask_to_look(self, what: str, why: str) -> None:
        self.ask_service("camera.look", what=what, reason=f"{why}, {self.here}")

    def do_corners(self) -> None:
        def take(_: Progress) -> Any:
            self._ask_to_look("calibration", "the mattress's corners picked on the picture")
            (frame,) = take_pictures(self.site, tag_source(self.site), 1)
            return frame

        self.work("taking a picture", take, self._pick)

    def _pick(self, frame: Any) -> None:
        def solve(corners: list[tuple[float, float]] | None) -> None:
            if corners:
                self.work(
                    "fitting the bed to the corners",
                    lambda _: self._fit_corners(corners, frame),
                    lambda estimate: self._show_bed(frame.color, estimate, asking=True),
                )

        self.app.push_screen(CornerPicker(frame.color, pauses.switch(self.site)), solve)

    def _fit_corners(self, corners: list[tuple[float, float]], frame: Any) -> Any:
        from calibration.corners import calibrate_corners

        estimate = calibrate_corners(corners, camera_of(frame, None), site_bed(self.site))
        self._keep(estimate)
        return estimate

    def do_look(self) -> None:
        newest = calibrations.rows(self.site, 1)[0]

        def take(_: Progress) -> Any:
            estimate = calibrations.load(self.site, newest)
            self._ask_to_look("picture", "the bed drawn on the picture")
            (frame,) = take_pictures(self.site, tag_source(self.site), 1)
            return frame.color, estimate

        self.work("taking a picture", take, lambda seen: self._show_bed(*seen, asking=not newest.confirmed))

    def _show_bed(self, color: Any, estimate: Any, *, asking: bool) -> None:
        from calibration.outline import where_the_head_is

        title = f"The bed as calibrated; {where_the_head_is(estimate)}."
        screen = PictureScreen(color, title, estimate, CHOICES if asking else (), pause=pauses.switch(self.site))
        self.app.push_screen(screen, lambda answer: getattr(self, f"do_{answer}")() if answer else None)

    def do_right(self) -> None:
        self._confirm(turned=False)

    def do_turned(self) -> None:
        self._confirm(turned=True)

    def _confirm(self, *, turned: bool) -> None:
        self.call(
            "confirming",
            "calibrations.confirm",
            lambda row: self.say(f"calibration {row['id']} is confirmed and in use; next: 4 Retarget", "good"),
            turned=turned,
            reason=f"seen and confirmed {self.here}",
        )

    def do_discard(self) -> None:
        newest = calibrations.rows(self.site, 1)[0]
        self.ask(
            f"Discard calibration {newest.id} ({newest.method}, {when(newest.made_at)})? It can't be brought back.",
            "Discard it",
            lambda: self.call("discarding", "calibrations.discard", id=newest.id),
        )


def describe(row: calibrations.CalibrationRow, estimate: Any) -> str:
    """A calibration in one sentence, with how well it is known."""
    view = estimate.viewpoint
    notes = f". Note: {'; '.join(estimate.notes)}" if estimate.notes else ""
    return (
        f"azimuth {view.azimuth_deg:.1f}°, elevation {view.elevation_deg:.1f}°, distance {view.distance:.2f} m, "
        f"known to ± {estimate.rotation_sigma_deg:.2f}° and ± {estimate.centre_sigma_mm:.0f} mm; "
        f"reprojection {row.reprojection_px:.2f} px; number {row.id}, by {row.method}, {when(row.made_at)}{notes}"
    )
