"""People composed into a plate of the empty bed look, and are labelled, as if they had lain there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.errors import WardposeError
from calibration.plate import save_plate
from synth.backdrop import check_backdrops, draw_plate
from synth.composite import composite
from synth.dataset import DatasetSpec, make_dataset
from synth.plan import Companion, Plan
from synth.render.numba_renderer import NumbaRenderer
from synth.render.renderer import Rendering
from synth.sample import Staging, build_scene, make_sample
from synth.scenario import Scenario, site_scenario
from synth.ward import plates
from synth.ward.scene import Bedding
from tests.synth.plate_ward import CAMERA, Ward, lying, ward


@pytest.fixture(scope="module")
def railed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ward, str]:
    """A ward with both rails up and the folder of its plate, whose depth is off by 2 mm as a Kinect's is."""
    folder = tmp_path_factory.mktemp("plates") / "railed"
    place = ward(0, "both")
    save_plate(place.plate(noise_mm=2.0), folder)
    return place, str(folder)


@pytest.fixture(scope="module")
def composed(railed: tuple[Ward, str]) -> tuple[Rendering, Rendering, np.ndarray]:
    """The truth, the composite and the empty plate: somebody on the back between two rails."""
    place, folder = railed
    figure = lying(0)
    backdrop = plates.backdrop(folder, CAMERA, place.camera_from_bed, np.random.default_rng(0))
    staging = Staging(Plan(True, place.bed, True, None, 0.0, ()), (figure,), Bedding(place.look.bed), folder)
    scene = build_scene(staging, place.look, np.random.default_rng(7), place.camera_from_bed, backdrop=backdrop)
    seen = composite(NumbaRenderer(), scene, backdrop, place.camera_from_bed, place.lens)
    return place.render(figure), seen, backdrop.color


def test_the_outline_is_that_of_somebody_really_behind_the_rails(
    composed: tuple[Rendering, Rendering, np.ndarray], railed: tuple[Ward, str]
) -> None:
    truth, seen, _ = composed
    there, found = truth.instance == 1, seen.instance == 1
    assert (there & found).sum() / (there | found).sum() > 0.97
    place, _ = railed
    unhidden = place.lens.bend_plane(
        NumbaRenderer()
        .render(replace(place.scene(None), meshes=lying(0).meshes), place.camera_from_bed, place.lens.pinhole)
        .instance
    )
    assert there.sum() < 0.97 * (unhidden == 1).sum(), "the rails hide nothing here, so the test shows nothing"


def test_the_person_is_lit_as_in_the_room(composed: tuple[Rendering, Rendering, np.ndarray]) -> None:
    truth, seen, _ = composed
    both = (truth.instance == 1) & (seen.instance == 1)
    error = np.mean((truth.color[both].astype(float) - seen.color[both]) ** 2)
    assert 10 * np.log10(255**2 / error) > 22


def test_the_person_shades_the_sheet(
    composed: tuple[Rendering, Rendering, np.ndarray], railed: tuple[Ward, str]
) -> None:
    truth, seen, empty = composed
    points, _ = plates.open_plate(railed[1]).points()
    sheet = (np.abs(points[..., 2]) < 0.03) & (np.abs(points[..., 0]) < 0.95) & (np.abs(points[..., 1]) < 0.4)
    sheet &= (truth.instance == 0) & (seen.instance == 0)
    without = np.mean((empty[sheet].astype(float) - truth.color[sheet]) ** 2)
    with_shade = np.mean((seen.color[sheet].astype(float) - truth.color[sheet]) ** 2)
    assert with_shade < 0.5 * without


def test_far_from_the_person_the_plate_is_untouched(composed: tuple[Rendering, Rendering, np.ndarray]) -> None:
    _, seen, empty = composed
    wall = np.s_[:60, 300:]
    assert np.abs(seen.color[wall].astype(int) - empty[wall]).max() <= 3


def test_the_plate_moves_with_the_viewpoint(railed: tuple[Ward, str]) -> None:
    place, folder = railed
    turned = np.eye(4)
    turned[:3, :3] = cv2.Rodrigues(np.radians([0.4, -0.5, 0.3]))[0]
    turned[:3, 3] = [0.015, -0.01, 0.01]
    pose = turned @ place.camera_from_bed
    view = plates.seen_from(plates.open_plate(folder), CAMERA, pose)
    truth = place.lens.bend(NumbaRenderer().render(place.scene(None), pose, place.lens.pinhole))
    still = place.plate()
    inner = np.s_[20:-20, 20:-20]
    moved_error = np.median(np.abs(view.color[inner].astype(int) - truth.color[inner]).max(axis=2))
    unmoved_error = np.percentile(np.abs(still.color[inner].astype(int) - truth.color[inner]).max(axis=2), 90)
    assert moved_error <= 3
    assert np.percentile(np.abs(view.color[inner].astype(int) - truth.color[inner]).max(axis=2), 90) < unmoved_error / 2
    flat = (truth.depth > 0) & (cv2.Laplacian(truth.depth, cv2.CV_32F) < 0.01)
    assert np.median(np.abs(view.depth[flat] - truth.depth[flat])) < 0.006


def test_nobody_stands_in_the_furniture(railed: tuple[Ward, str]) -> None:
    place, folder = railed
    plan = Plan(True, place.bed, False, None, 0.0, (Companion((0.0, 0.0), 0.0, "staff"),))
    scenario = _scenario(railed)
    fitted, chosen = draw_plate(scenario, plan, np.random.default_rng(0))
    assert chosen == folder and fitted.companions == ()
    assert plates.free_floor(folder, (0.3, -1.3)) and not plates.free_floor(folder, (0.0, 0.0))


def test_a_sample_depends_on_its_number_alone(railed: tuple[Ward, str]) -> None:
    scenario = _scenario(railed)
    first = make_sample(scenario, 3, 1, segmentation=True)
    make_sample(scenario, 3, 0)
    again = make_sample(scenario, 3, 1, segmentation=True)
    assert np.array_equal(first.color, again.color) and first.annotations == again.annotations


def _scenario(railed: tuple[Ward, str]) -> Scenario:
    place, folder = railed
    return site_scenario(place.estimate, plates=(folder,), plate_share=1.0)


@pytest.mark.parametrize("fault", ["missing", "expired", "damaged", "moved", "uncalibrated"])
def test_a_plate_that_cannot_be_used_is_told_before_any_work(
    railed: tuple[Ward, str], tmp_path: Path, fault: str
) -> None:
    place, _ = railed
    folder, estimate = tmp_path / "plate", place.estimate
    if fault != "missing":
        save_plate(
            place.plate(expires_at="2026-02-01T00:00:00Z" if fault == "expired" else "2999-01-01T00:00:00Z"), folder
        )
    if fault == "damaged":
        (folder / "depth.png").write_bytes(b"\x89PNG")
    if fault == "moved":
        estimate = replace(estimate, camera_from_bed=ward(0, "both", 45.0).camera_from_bed)
    scenario = site_scenario(estimate, plates=(str(folder),))
    if fault == "uncalibrated":
        scenario = scenario.model_copy(update={"calibration": None})
    with pytest.raises(WardposeError) as told:
        make_dataset(DatasetSpec(scenario=scenario, count=2), tmp_path / "out")
    assert "\n" not in str(told.value) and ("plate" in str(told.value))
    assert not (tmp_path / "out").exists()


def test_a_usable_plate_passes(railed: tuple[Ward, str]) -> None:
    check_backdrops(_scenario(railed))
