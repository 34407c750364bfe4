"""The terminal UI, driven by its keys at 80×24 on a real site with its real service."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.widgets import Button, DataTable, Input, Static

from appliance.bedside import plates
from appliance.client import ServiceClient
from appliance.jobs.store import Job, JobStore
from appliance.live.addresses import result_socket
from appliance.models.store import ModelStore
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from appliance.tui.calibrate import CalibratePage
from appliance.tui.camera import CameraPage
from appliance.tui.dialogs import Ask, Form
from appliance.tui.page import Page
from appliance.tui.widgets import NO_ALARM, PAGES, Actions, Notice
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate
from calibration.plate import Plate
from calibration.viewpoint import Viewpoint
from runtime.bus import ResultServer
from runtime.detections import Detections
from runtime.message import live_message
from runtime.pipeline import LiveResult
from runtime.skeleton import Skeletons
from tests.appliance.terminal import on_screen, page, shows, terminal, until
from tests.tuning.test_foreign_detectors import drawn


def estimate() -> CalibrationEstimate:
    camera = CameraModel(640, 360, 310.0, 310.0, 319.5, 179.5)
    view = Viewpoint(90.0, 40.0, 2.3)
    return CalibrationEstimate(camera, Bed(), view.camera_from_bed, np.eye(6) * 1e-6, 0.31, "tags")


async def test_every_screen_opens_by_its_key_and_fits(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        for number, name in enumerate(PAGES, start=1):
            await pilot.press(str(number))
            await until(pilot, partial(shows, pilot, name))
            assert not page(pilot).query_one(Notice).text
            for widget in page(pilot).query("#body *"):
                assert widget.region.right <= 80, f"{widget} of {name} is cut off"


async def test_overview_tells_of_a_job_as_soon_as_its_row_appears(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await until(pilot, lambda: "none yet" in on_screen(pilot))
        JobStore(served).submit("synth", {"scenario": "site", "count": 3})
        await until(pilot, lambda: "Making training images" in on_screen(pilot))


async def test_retarget_submits_a_real_job(served: SiteFolder) -> None:
    calibrations.confirm(served, calibrations.keep(served, estimate()).id)
    async with terminal(served) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: page(pilot).TAB == "retarget" and page(pilot).query_one("#count", Input).value)
        page(pilot).query_one("#count", Input).value = "2"
        await pilot.press("m")
        await until(pilot, lambda: JobStore(served).all())
        job = JobStore(served).all()[0]
        assert (job.kind, job.parameters) == ("synth", {"scenario": "site", "count": 2})
        await until(pilot, lambda: page(pilot).query_one("#jobs", DataTable).row_count == 1)
        with ServiceClient.connect(served) as client:
            client.cancel(job.id)


async def test_all_steps_tune_and_judge_detector_and_pose_model_on_the_same_images(
    fetched: Path, served: SiteFolder
) -> None:
    jobs = await all_steps(served)
    assert [job.kind for job in jobs] == ["synth", "tune", "tune", "promote", "promote"]
    images, *tunings = jobs[:3]
    assert {job.parameters["data_of"] for job in tunings} == {images.id}
    told = [(job.parameters["task"], job.parameters["model"]) for job in tunings]
    assert told == [("detect", "nanodet"), ("pose", "movenet-thunder")]
    assert [job.parameters["model"] for job in jobs[3:]] == [job.parameters["name"] for job in tunings]


async def test_all_steps_of_a_box_without_a_pose_model_are_about_the_detector(served: SiteFolder) -> None:
    jobs = await all_steps(served)
    assert [job.kind for job in jobs] == ["synth", "tune", "promote"]
    assert (jobs[1].parameters["task"], jobs[1].parameters["model"]) == ("detect", "person-detector")


async def all_steps(site: SiteFolder) -> list[Job]:
    """The jobs that the key for all steps queues, in their order."""
    calibrations.confirm(site, calibrations.keep(site, estimate()).id)
    async with terminal(site) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: page(pilot).TAB == "retarget" and page(pilot).query_one("#count", Input).value)
        page(pilot).query_one("#count", Input).value = "2"
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        assert "2 images" in on_screen(pilot) and JobStore(site).all() == []
        assert "Perhaps" in on_screen(pilot) and "no such job yet" in on_screen(pilot)  # how long it will take
        await pilot.press("y")
        await until(pilot, lambda: "asked for" in page(pilot).notice.text)
        return JobStore(site).all()[::-1]


async def test_a_pose_model_that_is_not_there_is_not_offered_for_tuning(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: page(pilot).TAB == "retarget" and page(pilot).query_one("#tune", Button).disabled)
        await until(pilot, lambda: "no skeleton is drawn" in on_screen(pilot))


async def test_the_last_decision_about_each_task_is_told_with_its_figures(fetched: Path, served: SiteFolder) -> None:
    store = ModelStore(served)
    found = {"before": {"person_score": 0.61}, "after": {"person_score": 0.78}}
    store.record_promotion("person-detector", accepted=True, reasons=found)
    lost = {"before": {"keypoints_mean_oks": 0.61}, "after": {"keypoints_mean_oks": 0.54}, "reasons": ["failed: worse"]}
    store.record_promotion("movenet-lightning", accepted=False, reasons=lost)
    async with terminal(served, size=(80, 40)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "failed: worse" in on_screen(pilot))
        assert "Detector person-detector went live" in on_screen(pilot)
        assert "Pose model movenet-lightning was refused" in on_screen(pilot)
        assert "0.610 → 0.780  +0.170" in on_screen(pilot) and "0.610 → 0.540  -0.070" in on_screen(pilot)


async def test_models_tell_which_are_missing_and_fetch_them(served: SiteFolder) -> None:
    async with terminal(served, size=(80, 40)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "no skeleton is drawn" in " ".join(on_screen(pilot).split()))
        assert "Not on this box: nanodet, movenet-thunder, movenet-lightning" in on_screen(pilot)
        await pilot.press("f")
        await until(pilot, lambda: isinstance(pilot.app.screen, Form) and isinstance(pilot.app.focused, Input))
        await pilot.press(*str(served.root / "none.tgz"), "enter")
        await until(pilot, lambda: "no such file" in " ".join(on_screen(pilot).split()))  # wrapped where it falls
        await until(pilot, lambda: "The last try failed" in on_screen(pilot))
        assert JobStore(served).all()[0].parameters == {"source": str(served.root / "none.tgz")}


async def test_models_show_family_size_and_source_of_each(fetched: Path, served: SiteFolder) -> None:
    async with terminal(served, size=(120, 40)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "they are all here" in on_screen(pilot))
        rows = {line.split()[0]: line for line in on_screen(pilot).splitlines() if line.split()}
        assert all(word in rows["nanodet"] for word in ("● live", "416×416", "fetched", "Apache-2.0"))
        assert all(word in rows["movenet-thunder"] for word in ("pose model", "● live", "256×256"))
        assert "320×320" in rows["person-detector"] and "● live" not in rows["person-detector"]


async def test_overview_tells_which_models_run(served: SiteFolder, box_models: Path, small_models: Path) -> None:
    async with terminal(served) as pilot:
        await until(pilot, lambda: "no skeleton is drawn" in on_screen(pilot))
        assert "trained on synthetic images only" in on_screen(pilot)
        shutil.copytree(small_models, box_models, dirs_exist_ok=True)
        await until(pilot, lambda: "movenet-thunder (trained on photographs, 256×256)" in on_screen(pilot))
        assert "nanodet (trained on photographs, 416×416)" in on_screen(pilot)


async def test_what_cannot_be_done_says_why(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: page(pilot).TAB == "retarget" and page(pilot).query_one("#make", Button).disabled)
        await pilot.press("m")
        await until(pilot, lambda: "calibrate first" in page(pilot).notice.text)
        assert JobStore(served).all() == []


async def test_a_mistake_in_the_settings_is_told_in_place_with_its_line(served: SiteFolder) -> None:
    load_settings(served)
    text = served.settings_file.read_text().replace("count = 400", "count = 0")
    served.settings_file.write_text(text)
    line = text.split("\n").index(next(row for row in text.split("\n") if row.startswith("count = 0"))) + 1
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: page(pilot).TAB == "camera" and f"line {line}" in page(pilot).notice.text)
        served.settings_file.write_text(text.replace("count = 0", "count = 5"))
        await until(pilot, lambda: page(pilot).notice.text == "")


async def test_swapped_ends_are_drawn_before_they_are_confirmed(served: SiteFolder) -> None:
    kept = calibrations.keep(served, estimate())
    async with terminal(served) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: page(pilot).TAB == "calibrate" and "0.31 px" in on_screen(pilot))
        calibrate = page(pilot)
        assert isinstance(calibrate, CalibratePage)
        calibrate._show_bed(np.full((360, 640, 3), 90, np.uint8), calibrations.load(served, kept), {"id": kept.id})
        await until(pilot, lambda: "As calibrated: the head" in on_screen(pilot))
        await pilot.press("h")
        await until(pilot, lambda: "Swapped, not yet in use" in on_screen(pilot))
        assert calibrations.current_row(served) is None
        await pilot.press("y")
        await until(pilot, lambda: calibrations.current_row(served))
        assert calibrations.current(served).viewpoint.azimuth_deg == pytest.approx(-90.0)


async def test_a_calibration_coarser_than_the_one_in_use_says_so(served: SiteFolder) -> None:
    calibrations.confirm(served, calibrations.keep(served, estimate()).id)
    coarse = replace(estimate(), covariance=np.eye(6) * 1e-2)
    kept = calibrations.keep(served, coarse)
    async with terminal(served) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: page(pilot).TAB == "calibrate" and "not seen" in on_screen(pilot))
        calibrate = page(pilot)
        assert isinstance(calibrate, CalibratePage)
        calibrate._show_bed(np.full((360, 640, 3), 90, np.uint8), coarse, {"id": kept.id})
        await until(pilot, lambda: "COARSER than number 2" in on_screen(pilot))


async def test_a_calibration_is_discarded_only_when_the_person_says_so(served: SiteFolder) -> None:
    calibrations.keep(served, estimate())
    async with terminal(served) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: page(pilot).TAB == "calibrate" and not page(pilot).query_one("#discard").disabled)
        await pilot.press("d", "n")
        assert len(calibrations.rows(served)) == 1
        await pilot.press("d", "y")
        await until(pilot, lambda: not calibrations.rows(served))
        assert not list(served.calibrations.iterdir())


async def test_live_says_that_nothing_runs_and_that_it_is_no_alarm(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        assert NO_ALARM in on_screen(pilot)
        await pilot.press("6")
        await until(pilot, lambda: page(pilot).TAB == "live" and page(pilot).query_one("#stop", Button).disabled)
        await until(pilot, lambda: "nothing runs" in str(page(pilot).query_one("#headline", Static).visual))
        assert NO_ALARM in on_screen(pilot)


async def test_live_counts_whom_it_shows_as_a_box(served: SiteFolder) -> None:
    detections = Detections(
        np.array([[40.0, 30, 120, 300], [300, 40, 420, 330]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([1, 2], np.int64),
    )
    points = np.linspace(detections.xyxy[:, :2], detections.xyxy[:, 2:], 17, axis=1)
    sure = np.repeat(np.array([[0.9], [0.1]], np.float32), 17, axis=1)
    skeletons = Skeletons(points.astype(np.float32), sure, detections.track_id)
    async with terminal(served) as pilot:
        await pilot.press("6")
        with ResultServer(result_socket(served)) as server:

            def told() -> bool:
                now = time.monotonic()
                result = LiveResult(1, now, now, 640, 360, detections, skeletons, {})
                server.publish(live_message("live", result=result))
                return "2 people drawn, 1 as a box" in on_screen(pilot)

            await until(pilot, told)


@pytest.mark.parametrize(
    ("origin", "words"),
    [("camera", "● LIVE"), ("simulation", "▲ SIMULATED, NOT THIS BED"), ("recording", "▲ RECORDING, NOT LIVE NOW")],
)
async def test_live_says_of_what_the_skeletons_are(served: SiteFolder, origin: Any, words: str) -> None:
    async with terminal(served) as pilot:
        await pilot.press("6")
        with ResultServer(result_socket(served)) as server:

            def told() -> bool:
                now = time.monotonic()
                nobody = LiveResult(1, now, now, 640, 360, Detections.empty(), Skeletons.empty(), {}, origin)
                server.publish(live_message("live", result=nobody))
                return words in on_screen(pilot) and "does not mean that nobody is there" in on_screen(pilot)

            await until(pilot, told)


async def test_a_camera_that_cannot_be_is_refused_in_one_line(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: page(pilot).TAB == "camera" and page(pilot).query_one("#source", Input).value)
        page(pilot).query_one("#source", Input).value = "recording:/nowhere.mkv"
        await pilot.press("e")
        await until(pilot, lambda: "/nowhere.mkv" in page(pilot).notice.text and not page(pilot).busy)
        assert load_settings(served).camera.source == "simulated"


async def test_a_camera_is_chosen_for_the_site(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: page(pilot).TAB == "camera" and page(pilot).query_one("#source", Input).value)
        page(pilot).query_one("#source", Input).value = "simulated:tag_sheet"
        await pilot.press("y")
        await until(pilot, lambda: load_settings(served).camera.source == "simulated:tag_sheet")
        await until(pilot, lambda: [row.what for row in audit.rows(served)] == ["settings.change"])


async def test_a_plate_is_kept_only_when_the_person_has_seen_it(served: SiteFolder) -> None:
    taken = Plate(
        color=np.full((36, 64, 3), 90, np.uint8), depth=np.full((36, 64), 1800, np.uint16),
        measured=np.ones((36, 64), bool), camera=estimate().camera.resized(64, 36),
        camera_from_bed=estimate().camera_from_bed, bed=Bed(), calibration="", noise=0.01,
        captured_at="2026-01-01T00:00:00Z", expires_at="2999-01-01T00:00:00Z",
    )  # fmt: skip
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "none of the empty bed in use" in on_screen(pilot))
        await until(pilot, lambda: page(pilot).query_one(Actions).why_not("plate"))
        await pilot.press("k")
        await until(pilot, lambda: "calibrate first" in page(pilot).notice.text)
        camera = page(pilot)
        assert isinstance(camera, CameraPage)
        for answer, kept in (("d", 0), ("k", 1)):
            camera.show_plate(taken)
            await until(pilot, lambda: "depth measured on 100 %" in on_screen(pilot))
            assert plates.rows(served) == []
            await pilot.press(answer)
            await until(pilot, lambda: isinstance(pilot.app.screen, Page) and not page(pilot).busy)
            assert len(plates.rows(served)) == kept


async def test_import_of_a_file_that_is_no_weights_is_refused_in_one_line(served: SiteFolder) -> None:
    path = served.root / "notes.pt"
    path.write_text("no weights")
    async with terminal(served) as pilot:
        await pilot.press("5", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, Form) and isinstance(pilot.app.focused, Input))
        await pilot.press(*str(path), "enter", "enter", "enter", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Page) and "notes.pt" in page(pilot).notice.text)
        await until(pilot, lambda: not page(pilot).busy)
        assert "\n" not in page(pilot).notice.text


async def test_an_import_asks_which_class_is_the_person_where_the_file_does_not_say(
    served: SiteFolder, tmp_path: Path
) -> None:
    path = drawn(tmp_path, None, [])
    async with terminal(served, size=(110, 30)) as pilot:
        await pilot.press("5", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, Form) and isinstance(pilot.app.focused, Input))
        pilot.app.screen.query_one("#path", Input).value = str(path)
        pilot.app.screen.query_one("#name", Input).value = "ours"
        await pilot.press("enter", "enter", "enter", "enter")
        await until(pilot, lambda: "Which class is the person?" in on_screen(pilot))
        assert "its one class is not named" in on_screen(pilot)
        await pilot.press("0", "enter")
        await until(
            pilot,
            lambda: isinstance(pilot.app.screen, Page) and "ours" in {model.name for model in ModelStore(served).all()},
        )
    assert ModelStore(served).card("ours").task == "detect"


async def test_help_names_the_keys_of_the_screen(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("6", "question_mark")
        await until(pilot, lambda: "Skeletons only" in on_screen(pilot) and "starts the live path" in on_screen(pilot))
        await pilot.press("escape")
        assert page(pilot).TAB == "live"


def test_opening_it_loads_nothing_heavy() -> None:
    program = "import sys, appliance.tui.app; print(*({'torch','numba','cv2','scipy','numpy'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""
