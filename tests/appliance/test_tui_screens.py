"""Every screen of the terminal UI at two sizes and in two themes: it fits, shows its keys, and each key does its one
thing or says why not."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest
from rich.color import Color, ColorSystem
from textual.app import App
from textual.css.query import NoMatches
from textual.pilot import Pilot
from textual.widgets import Button

from appliance.jobs.store import JobStore
from appliance.models.store import ModelStore
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.people import acting_as
from appliance.site.settings import load_settings
from appliance.tui.app import EVERYWHERE, SCREENS, STARTING_AGAIN, kind_of
from appliance.tui.ink import LOOKS, InkPot, look_of
from appliance.tui.keys import FILE, MEANINGS, Keys, load_keys
from appliance.tui.page import Page
from appliance.tui.widgets import PAGES, Action, Actions
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from tests.appliance.snapshots import hold_against_snapshot
from tests.appliance.terminal import on_screen, page, shows, terminal, until

KINDS = [kind_of(name) for name in SCREENS]
LONG_AGO = "2020-02-10T12:00:00.000Z"


def lived_in(site: SiteFolder) -> SiteFolder:
    """A site with a calibration, a job that failed, one that was done, and a decision of the gate."""
    from calibration.bed import Bed
    from calibration.camera import CameraModel
    from calibration.viewpoint import Viewpoint

    view = Viewpoint(90.0, 40.0, 2.3)
    camera = CameraModel(640, 360, 310.0, 310.0, 319.5, 179.5)
    known = CalibrationEstimate(camera, Bed(), view.camera_from_bed, np.eye(6) * 1e-6, 0.31, "tags")
    calibrations.confirm(site, calibrations.keep(site, known).id)
    store = JobStore(site)
    for kind in ("promote", "tune"):
        store.submit(kind, {"model": "person-detector", "reason": "a test"} if kind == "promote" else {})
    with site.database.transaction(immediate=True) as db:
        ended = "started_at = created_at, finished_at = created_at"
        figures = '{"before": {"person_score": 0.267}, "after": {"person_score": 0.265}'
        result = figures + ', "accepted": false, "reasons": ["failed: this bedside: person score 0.267 to 0.265"]}'
        db.execute(f"UPDATE jobs SET state = 'done', {ended}, result = ? WHERE id = 1", (result,))
        db.execute(f"UPDATE jobs SET state = 'failed', {ended}, error = 'no data set' WHERE id = 2")
    found = {"before": {"person_score": 0.61}, "after": {"person_score": 0.78}}
    with acting_as("anna"):
        ModelStore(site).record_promotion("person-detector", accepted=True, reasons=found)
    with site.database.transaction(immediate=True) as db:  # so long ago that its age in days keeps its length
        db.execute("UPDATE jobs SET created_at = :then, started_at = :then, finished_at = :then", {"then": LONG_AGO})
        db.execute("UPDATE calibrations SET made_at = ?", (LONG_AGO,))
        db.execute("UPDATE promotions SET at = ?", (LONG_AGO,))
    return site


def key_of(screen: str) -> str:
    return "g" if screen == "guide" else str(PAGES.index(screen) + 1)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_every_screen_fits_in_two_themes_and_its_keys_do_what_they_say(
    served: SiteFolder, size: tuple[int, int]
) -> None:
    async with terminal(lived_in(served), size=size) as pilot:
        grounds = set()
        for theme in ("dark", "light"):
            await until(pilot, partial(in_theme, pilot, theme))
            for name in SCREENS:
                await pilot.press(key_of(name))
                await until(pilot, partial(shows, pilot, name))
                grounds.add(str(page(pilot).styles.background))
                for widget in page(pilot).query("#body *"):
                    assert widget.region.right <= size[0], f"{widget} of {name} is cut off in {theme}"
                for action in page(pilot).ACTIONS:
                    button = page(pilot).query_one(f"#{action.id}", Button)
                    assert page(pilot).keys.shown(action.means) in str(button.label)
                # The keys that hold everywhere, as soon as the last line is drawn.
                await until(pilot, lambda: "Help" in on_screen(pilot) and "Pause" in on_screen(pilot))
                await hold_against_snapshot(pilot, name, theme)
            if theme == "dark":
                await pilot.press("ctrl+t")
                await until(pilot, lambda: load_settings(served).terminal.theme == "light")
        assert len(grounds) == 2
        for name in SCREENS:
            await pilot.press(key_of(name))
            await until(pilot, partial(shows, pilot, name))
            for action in page(pilot).ACTIONS:
                await disabled_says_why(pilot, action.id, page(pilot).keys[action.means])


def in_theme(pilot: Pilot[int], theme: str) -> bool:
    return pilot.app.theme == theme


async def disabled_says_why(pilot: Pilot[int], action: str, key: str) -> None:
    """A key of an action that can't be taken now says why, in the place for notices; the others are not tried here."""
    why = page(pilot).query_one(Actions).why_not(action)
    if not why:
        return
    page(pilot).action_leave_field()
    await pilot.press(key)
    await until(pilot, lambda: why in page(pilot).notice.text)


async def test_reasons_that_come_before_the_buttons_are_told_when_the_buttons_are_there() -> None:
    actions = Actions(Keys(), Action("make", "Make images", "make"))
    app: App[None] = App()
    InkPot(app.console).fill("dark")
    async with app.run_test() as pilot:
        with pytest.raises(NoMatches):
            actions.allow({"make": "calibrate first"})
        await app.mount(actions)
        actions.allow({"make": "calibrate first"})
        await pilot.pause()
        assert "Make images: calibrate first" in on_screen(pilot) and actions.query_one(Button).disabled
        actions.allow({"make": ""})
        await pilot.pause()
        assert "calibrate first" not in on_screen(pilot) and not actions.query_one(Button).disabled


def test_a_key_has_one_meaning_on_every_screen() -> None:
    keys = [meaning.key for meaning in MEANINGS.values()]
    assert len(keys) == len(set(keys))
    for kind in KINDS:
        means = [action.means for action in kind.ACTIONS]
        assert len(means) == len(set(means)) and not set(means) & set(EVERYWHERE), kind.TAB
        assert set(means) <= set(MEANINGS)
        assert all(callable(getattr(kind, f"do_{action.id}", None)) for action in kind.ACTIONS), kind.TAB


async def test_the_palette_has_every_action(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        commands = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        for kind in KINDS:
            assert {f"{kind.TAB.capitalize()}: {action.label}" for action in kind.ACTIONS} <= commands
        assert {f"Theme: {look.words}" for look in LOOKS.values()} <= commands


async def test_a_job_tells_what_came_of_it_and_what_to_do(served: SiteFolder) -> None:
    async with terminal(lived_in(served)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "failed: no data set" in on_screen(pilot))
        await pilot.press("down")
        await until(pilot, lambda: "refused: person score 0.267 → 0.265" in on_screen(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "make more images" in on_screen(pilot))
        assert "asked for by" in on_screen(pilot) and "took" in on_screen(pilot)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Page)


async def test_what_is_long_to_read_leaves_its_keys_in_sight(served: SiteFolder) -> None:
    JobStore(lived_in(served)).log_file(2).write_text("a line of its log\n" * 60, encoding="utf-8")
    async with terminal(served) as pilot:

        async def holds(screen: int, opens: str, inside: str) -> None:
            await pilot.press(str(screen))
            await until(pilot, lambda: shows(pilot, PAGES[screen - 1]))
            await until(pilot, lambda: pilot.app.focused is not None or not page(pilot).LIST)
            await pilot.press(opens)
            await until(pilot, lambda: inside in on_screen(pilot) and "Esc closes" in on_screen(pilot))
            await pilot.press("escape")

        await holds(5, "question_mark", "puts the model before")
        await holds(8, "comma", "bed.height")
        await holds(4, "enter", "asked for by")


async def test_the_end_of_a_job_is_told_on_whatever_screen_is_open(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("8")
        await until(pilot, partial(shows, pilot, "system"))
        JobStore(served).submit("import", {"file": "/nowhere/a.onnx", "name": "a"})
        await until(pilot, lambda: "no such file" in page(pilot).notice.text)


async def test_a_service_that_is_killed_is_started_again_as_the_screen_says(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await until(pilot, lambda: page(pilot).status)
        os.kill(page(pilot).status["pid"], signal.SIGKILL)
        await until(pilot, lambda: STARTING_AGAIN in page(pilot).notice.text)
        await until(pilot, lambda: page(pilot).status and STARTING_AGAIN not in page(pilot).notice.text)


async def test_pausing_is_one_key_on_every_screen_and_lifting_it_asks(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("7", "p")
        await until(pilot, lambda: served.pause_file.exists() and "PAUSED" in on_screen(pilot))
        await until(pilot, lambda: not page(pilot).busy)
        await pilot.press("5", "p")
        await until(pilot, lambda: "Look again?" in on_screen(pilot))
        await pilot.press("n")
        assert served.pause_file.exists()
        await pilot.press("p")
        await until(pilot, lambda: "Look again?" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: not served.pause_file.exists())


async def test_a_changed_setting_is_undone_by_one_key(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("8", "comma")
        await until(pilot, lambda: "bed.length" in on_screen(pilot))
        await pilot.press("enter", *["backspace"] * 4, *"2.1", "enter")
        await until(pilot, lambda: load_settings(served).bed.length == 2.1)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, Page) and not page(pilot).busy)
        await pilot.press("u")
        await until(pilot, lambda: load_settings(served).bed.length == 2.0)
        await pilot.press("at")
        await until(pilot, lambda: "settings.set" in on_screen(pilot))
        assert [row.what for row in audit.rows(served)].count("settings.change") == 2


async def test_the_filter_shows_the_rows_that_hold_the_letters(served: SiteFolder) -> None:
    async with terminal(lived_in(served)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "Judging" in on_screen(pilot) and "Tuning" in on_screen(pilot))
        await pilot.press("slash", *"judg")
        await until(pilot, lambda: "Tuning a" not in on_screen(pilot) and page(pilot)._list().row_count == 1)
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot)._list().row_count == 2)


async def test_jump_mode_puts_a_letter_on_what_can_be_reached(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, partial(shows, pilot, "camera"))
        await pilot.press("ctrl+o", "a")
        await until(pilot, lambda: isinstance(pilot.app.screen, Page))
        assert page(pilot).focused is page(pilot).focus_chain[0]


async def test_a_site_has_keys_of_its_own(site: SiteFolder, served: SiteFolder) -> None:
    (site.root / FILE).write_text('[keys]\npause = "f9"\n')
    async with terminal(served) as pilot:
        await pilot.press("p")
        assert not served.pause_file.exists()
        await pilot.press("f9")
        await until(pilot, served.pause_file.exists)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('pause = "q"', "both"),
        ('sleep = "z"', "no key means"),
        ("pause = 3", "a text"),
        ('pause = "1"', "opens a screen"),
    ],
)
def test_keys_of_ones_own_that_do_not_hold_are_refused_with_a_reason(site: SiteFolder, text: str, why: str) -> None:
    (site.root / FILE).write_text(f"[keys]\n{text}\n")
    with pytest.raises(WardposeError, match=why):
        load_keys(site)


async def test_a_colour_is_nowhere_the_only_sign(served: SiteFolder) -> None:
    async with terminal(lived_in(served)) as pilot:
        await until(pilot, lambda: "It does not work yet" in on_screen(pilot))
        shown = on_screen(pilot)
        assert "●" in shown and "○" in shown and "confirmed" in shown and "Do now:" in shown


def test_dark_greys_stay_grey_in_256_colours() -> None:
    for name in LOOKS:
        look = look_of(name, "256")
        for colour in (look.ground, look.panel, look.raised, look.text):
            told = Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT).get_truecolor()
            assert max(told) - min(told) <= 45, f"{name}: {colour} shows as {told}"


@pytest.mark.parametrize("system", ["truecolor", "256"])
@pytest.mark.parametrize("name", sorted(LOOKS))
def test_every_ink_is_legible_on_every_ground_of_its_theme(name: str, system: str) -> None:
    look = look_of(name, system)
    least = 7.0 if name == "contrast" else 4.5  # WCAG AAA, AA
    for ink in (look.text, look.good, look.warn, look.bad, look.faint, look.accent):
        for ground in (look.ground, look.panel):
            assert contrast(ink, ground) >= least, f"{ink} on {ground}: {contrast(ink, ground):.1f}"


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [value / 255 for value in Color.parse(colour).get_truecolor()]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


async def test_the_settings_fit_the_smallest_terminal_and_tell_the_chosen_one_whole(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("8")
        await until(pilot, partial(shows, pilot, "system"))
        await pilot.press("comma")
        await until(pilot, lambda: "Enter changes" in on_screen(pilot))
        await pilot.press("down", "down")
        await until(pilot, lambda: "bed.height: mattress top above the floor, metres" in on_screen(pilot))
