"""Calibrate: where the camera stands relative to the bed; a person confirms head and foot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import DataTable, Static

from appliance.bedside.calibrate import (
    calibrate_by_depth,
    calibrate_by_hand,
    calibrate_tags,
    camera_of,
    print_tag_sheet,
    site_bed,
    tag_source,
)
from appliance.bedside.camera_access import take_pictures
from appliance.live import pauses
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import Settings, load_settings
from appliance.tui.corner_picker import CornerPicker
from appliance.tui.dialogs import Blank, Choose, Form
from appliance.tui.ink import FAINT, GOOD, WARN, inked
from appliance.tui.page import Page
from appliance.tui.pictures import BedScreen
from appliance.tui.way import known_words
from appliance.tui.widgets import Action, Fact, Facts, age, choose, selected, when
from calibration.errors import WardposeError
from calibration.progress import Progress

METHODS = (
    ("tags", "by the tag sheet on the empty bed: the finest"),
    ("depth", "by depth, without a sheet: a camera that measures it"),
    ("corners", "by the mattress's four corners, picked on the picture"),
    ("manual", "by a tape measure: the coarsest"),
)
PAPERS = (
    ("sheet", "one large page, for a print shop or a plotter"),
    ("a3", "A3 pages to glue together"),
    ("a4", "A4 pages to glue together: many"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """rows: the newest first, each with its `CalibrationEstimate`, or why it can't be read."""

    settings: Settings
    rows: tuple[tuple[calibrations.CalibrationRow, Any], ...]
    used: int | None


class CalibratePage(Page):
    TAB = "calibrate"
    LIST = "#calibrations"
    ABOUT = (
        "Print the tag sheet at 100 %, check its ruler, lay it flat on the empty mattress as its arrow says, "
        "and calibrate. Then look at the bed drawn on the picture and say whether head and foot are right: nothing "
        "uses a calibration that nobody has confirmed. Without a sheet: by depth, by the mattress's corners, or by a "
        "tape measure. An earlier calibration can be used again: Enter or <use> on its row. "
        "The bed's measures are settings (8 System)."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("calibrate", "Calibrate", "calibrate", "primary"),
        Action("open", "Look at it and use it", "use"),
        Action("print", "Write the tag sheet", "write"),
        Action("discard", "Discard", "delete", "error"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._loaded: dict[str, Any] = {}
        self._wanted_row = ""

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        yield self.actions()
        yield Static("Calibrations, the newest first", classes="title")
        table: DataTable[Any] = DataTable(id="calibrations", cursor_type="row")
        table.add_columns("#", "", "by", "made", "camera known to", "seen from")
        yield table
        yield Static(id="about", classes="hint")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        rows = calibrations.rows(self.site, 50)
        used = next((row.id for row in rows if row.confirmed), None)
        return Seen(load_settings(self.site), tuple((row, self._load(row)) for row in rows), used)

    def _load(self, row: calibrations.CalibrationRow) -> Any:
        if row.file not in self._loaded:
            try:
                self._loaded[row.file] = calibrations.load(self.site, row)
            except (WardposeError, ValueError, OSError) as error:
                return error
        return self._loaded[row.file]

    def show(self, data: Seen) -> None:
        bed, keys = data.settings.bed, self.keys
        facts = [
            Fact("Bed", f"{bed.length:.2f} × {bed.width:.2f} m, top {bed.height:.2f} m above the floor"),
            Fact("Camera", data.settings.camera.source),
        ]
        newest = data.rows[0] if data.rows else None
        used = next((pair for pair in data.rows if pair[0].id == data.used), None)
        if used is None:
            facts.append(Fact("In use", "no calibration is confirmed", "off"))
        elif isinstance(used[1], Exception):
            facts.append(Fact("In use", f"number {used[0].id} can't be read: {used[1]}", "bad", "calibrate again"))
        else:
            facts.append(Fact("In use", f"number {used[0].id}: {known_words(used[1])}", "good"))
        if newest is not None and not newest[0].confirmed and not isinstance(newest[1], Exception):
            from calibration.outline import where_the_head_is

            told = f"number {newest[0].id}: {where_the_head_is(newest[1])}"
            say = keys.told("Enter shows the bed in the picture; then say <use> or <ends>")
            facts.append(Fact("To confirm", told, "warn", say))
        elif newest is None:
            how = f"{keys.shown('write')} writes the tag sheet; lay it on the empty bed"
            facts.append(Fact("Next", f"{how}; {keys.shown('calibrate')} calibrates", "warn"))
        self.query_one(Facts).show(facts)
        self.fill([(str(row.id), _cells(row, estimate, _state(row, data))) for row, estimate in data.rows])
        self._list().display = bool(data.rows)
        if any(str(row.id) == self._wanted_row for row, _ in data.rows):
            choose(self._list(), self._wanted_row)
            self._wanted_row = ""
        about = self._chosen()
        self.query_one("#about", Static).update(describe(*about) if about else "")

    def refuse(self, data: Seen) -> dict[str, str]:
        held = (self.status.get("pause") or {}).get("words", "")  # a camera that runs live is looked at from there
        chosen = self._chosen()
        none = "" if chosen else "there is no calibration yet"
        kept = "a confirmed one is kept, to explain what was made from it" if chosen and chosen[0].confirmed else ""
        return {"calibrate": held, "open": none or held, "discard": none or kept}

    def _chosen(self) -> tuple[calibrations.CalibrationRow, Any] | None:
        key = selected(self._list())
        rows = self._data.rows if self._data is not None else ()
        return next(((row, estimate) for row, estimate in rows if str(row.id) == key), None)

    def on_data_table_row_highlighted(self) -> None:
        if self._data is not None:
            about = self._chosen()
            self.query_one("#about", Static).update(describe(*about) if about else "")

    def on_data_table_row_selected(self) -> None:
        self.action_act("open")

    def do_print(self) -> None:
        self.app.push_screen(Choose("The tag sheet as a PDF, for the bed of the settings", PAPERS), self._where)

    def _where(self, paper: str | None) -> None:
        if paper:
            own = str(self.site.pictures / "tag-sheet.pdf")
            where = Blank("file", "PDF file, on a USB stick for instance", own, place=True)
            form = Form("Where to write it. From another computer: scp fetches it over ssh.", [where], "Write the PDF")
            self.app.push_screen(form, lambda given: self._print(given["file"], paper) if given else None)

    def _print(self, file: str, paper: str) -> None:
        path = Path(file)
        self.work(
            "writing the tag sheet",
            lambda _: print_tag_sheet(self.site, path, paper=paper),
            lambda pages: self.say(
                f"{path}: {pages} page{'' if pages == 1 else 's'}; print at 100 % and measure the 100 mm ruler", "good"
            ),
        )

    def do_calibrate(self) -> None:
        self.app.push_screen(
            Choose("Calibrate how?", METHODS), lambda how: getattr(self, f"_by_{how}")() if how else None
        )

    def _by_tags(self) -> None:
        self._calibrate("looking for the tag sheet", calibrate_tags)

    def _by_depth(self) -> None:
        self._calibrate("looking for the bed in depth", calibrate_by_depth)

    def _by_manual(self) -> None:
        blanks = [
            Blank("azimuth_deg", "Azimuth, degrees: 0 from the foot end, 90 from the patient's right", "0"),
            Blank("elevation_deg", "Elevation above the mattress, degrees", "45"),
            Blank("distance", "Distance from the mattress's middle, metres", "2.5"),
        ]
        form = Form("By a tape measure. It is coarse: ± some centimetres and degrees.", blanks, "Calibrate")
        self.app.push_screen(form, self._measured)

    def _measured(self, given: dict[str, str] | None) -> None:
        if given is None:
            return
        try:
            measures = {name: float(text.replace(",", ".")) for name, text in given.items()}
        except ValueError:
            self.say("a measure is no number; write it as 2.5", "bad")
            return

        def by_hand(site: SiteFolder, *, progress: Progress, on_better: Any) -> Any:
            return calibrate_by_hand(
                site, azimuth_deg=measures["azimuth_deg"], elevation_deg=measures["elevation_deg"],
                distance=measures["distance"], on_better=on_better,
            )  # fmt: skip

        self._calibrate("taking a picture", by_hand)

    def _calibrate(self, title: str, method: Callable[..., Any]) -> None:
        best: dict[str, Any] = {}

        def keep_picture(frame: Any, estimate: Any) -> None:
            best.update(color=frame.color, estimate=estimate)

        def calibrate(progress: Progress) -> Any:
            self._ask_to_look("calibration", title)
            return self._keep(method(self.site, progress=progress, on_better=keep_picture))

        self.work(title, calibrate, lambda row: self._show_bed(best["color"], best["estimate"], row))

    def _keep(self, estimate: Any) -> Any:
        from calibration.files import estimate_text

        row = self.ask_service("calibrations.keep", estimate=estimate_text(estimate))
        self._ask_to_look("picture", "the bed drawn on the picture")
        return row

    def _ask_to_look(self, what: str, why: str) -> None:
        self.ask_service("camera.look", what=what, reason=f"{why}, {self.here}")

    def _by_corners(self) -> None:
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
                    lambda fitted: self._show_bed(frame.color, *fitted),
                )

        self.app.push_screen(CornerPicker(frame.color, pauses.switch(self.site)), solve)

    def _fit_corners(self, corners: list[tuple[float, float]], frame: Any) -> Any:
        from calibration.corners import calibrate_corners

        estimate = calibrate_corners(corners, camera_of(frame, None), site_bed(self.site))
        return estimate, self._keep(estimate)

    def do_open(self) -> None:
        chosen = self._chosen()
        assert chosen is not None
        row, estimate = chosen
        if isinstance(estimate, Exception):
            raise WardposeError(f"number {row.id} can't be read: {estimate}", mend="calibrate again")

        def take(_: Progress) -> Any:
            self._ask_to_look("picture", "the bed drawn on the picture")
            (frame,) = take_pictures(self.site, tag_source(self.site), 1)
            return frame.color

        self.work("taking a picture", take, lambda color: self._show_bed(color, estimate, {"id": row.id}))

    def _show_bed(self, color: Any, estimate: Any, row: Mapping[str, Any]) -> None:
        number = int(row["id"])
        known = next((one for one in calibrations.rows(self.site) if one.id == number), None)
        new = known is not None and not known.confirmed
        screen = BedScreen(
            color, estimate, pause=pauses.switch(self.site), new=new, warning=self._coarser(number, estimate)
        )  # fmt: skip
        choose(self._list(), str(number))
        self.app.push_screen(screen, lambda answer: self._answered(answer or "", number))

    def _coarser(self, number: int, estimate: Any) -> str:
        """What is said of an estimate that knows less than the one in use."""
        used = calibrations.current_row(self.site)
        if used is None or used.id == number:
            return ""
        before = self._load(used)
        if isinstance(before, Exception) or estimate.centre_sigma_mm <= 1.5 * before.centre_sigma_mm:
            return ""
        return (
            f"COARSER than number {used.id} in use, which knows the camera to ± {before.centre_sigma_mm / 10:.1f} cm."
        )

    def _answered(self, answer: str, number: int) -> None:
        if answer == "discard":
            self._discard(number)
        elif answer:
            self._confirm(number, turned=answer == "turned")
        else:
            self.say("left as it was; Enter on its row shows it again", "warn")

    def _confirm(self, number: int, *, turned: bool) -> None:
        def confirmed(row: Mapping[str, Any]) -> None:
            self._wanted_row = str(row["id"])
            self.say(f"calibration {row['id']} is confirmed and in use", "good")

        self.call(
            "confirming",
            "calibrations.confirm",
            confirmed,
            id=number,
            turned=turned,
            reason=f"seen and confirmed {self.here}",
        )

    def do_discard(self) -> None:
        chosen = self._chosen()
        assert chosen is not None
        self._discard(chosen[0].id)

    def _discard(self, number: int) -> None:
        row = calibrations.find(self.site, number)
        self.ask(
            f"Discard calibration {row.id} ({row.method}, {when(row.made_at)})? It can't be brought back.",
            "Discard it",
            lambda: self.call("discarding", "calibrations.discard", id=row.id),
        )


def _state(row: calibrations.CalibrationRow, data: Seen) -> Text:
    if row.id == data.used:
        return inked("● in use", GOOD)
    if row.confirmed:
        return inked("earlier", FAINT)
    copy = next((other for other, _ in data.rows[::-1] if other.confirmed and _is_copy(other, row, data)), None)
    return inked(f"seen: is {copy.id}", FAINT) if copy else inked("▲ not seen", WARN)


def _is_copy(copy: calibrations.CalibrationRow, row: calibrations.CalibrationRow, data: Seen) -> bool:
    """Whether `copy` is what became of `row` when somebody saw and confirmed it, turned round or not."""
    if copy.id < row.id or (copy.method, copy.reprojection_px) != (row.method, row.reprojection_px):
        return False
    held = {each.id: estimate for each, estimate in data.rows}
    both = held[copy.id], held[row.id]
    if any(isinstance(estimate, Exception) for estimate in both):
        return False
    first, second = ((one.centre_sigma_mm, one.rotation_sigma_deg, one.viewpoint.distance) for one in both)
    return all(math.isclose(*pair, rel_tol=1e-6) for pair in zip(first, second, strict=True))


def _cells(row: calibrations.CalibrationRow, estimate: Any, state: Text) -> list[str | Text]:
    if isinstance(estimate, Exception):
        return [str(row.id), state, row.method, age(row.made_at), "unreadable", ""]
    view = estimate.viewpoint
    known = f"± {estimate.centre_sigma_mm / 10:.1f} cm ± {estimate.rotation_sigma_deg:.1f}°"
    seen = f"{view.azimuth_deg:.0f}° {view.elevation_deg:.0f}° {view.distance:.1f} m"
    return [str(row.id), state, row.method, age(row.made_at), known, seen]


def describe(row: calibrations.CalibrationRow, estimate: Any) -> str:
    """A calibration in one sentence, with how well it is known."""
    if isinstance(estimate, Exception):
        return f"number {row.id}: {estimate}"
    view = estimate.viewpoint
    notes = f". Note: {'; '.join(estimate.notes)}" if estimate.notes else ""
    return (
        f"Number {row.id}, by {row.method}, {when(row.made_at)}: {known_words(estimate)}. The camera stands at "
        f"azimuth {view.azimuth_deg:.1f}°, elevation {view.elevation_deg:.1f}°, distance {view.distance:.2f} m; "
        f"known to ± {estimate.rotation_sigma_deg:.2f}° and ± {estimate.centre_sigma_mm:.0f} mm; "
        f"reprojection {row.reprojection_px:.2f} px{notes}"
    )
