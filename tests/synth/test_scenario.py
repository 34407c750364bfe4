"""Scenarios draw what they promise and refuse what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from calibration.bed import Bed
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint
from synth.plan import Plan, draw_plan, draw_view
from synth.scenario import KINECT_COLOR, NAMED, Part, Scenario, load_scenario, site_scenario
from synth.sensor import Lens
from synth.ward.lights import draw_preset
from tests.fuzz import broken_bytes, damaged


def estimate(confirmed: bool = True, sigma: float = 0.01) -> CalibrationEstimate:
    pose = Viewpoint(40.0, 30.0, 2.5, 1.0, (0.1, 0.0, 0.0)).camera_from_bed
    return CalibrationEstimate(
        KINECT_COLOR, Bed(2.1, 0.95, 0.6), pose, np.eye(6) * sigma**2, 0.3, "tags", confirmed=confirmed
    )


@pytest.mark.parametrize(("name", "low", "high"), [("B", 55, 125), ("C", 15, 35), ("D", 0, 0)])
def test_the_papers_scenarios_look_from_where_the_paper_says(name: str, low: float, high: float) -> None:
    scenario = NAMED[name]
    in_bed = {"open_room_share": 0.0, "floor_share": 0.0, "bystander_weights": (1.0,)}
    spread = scenario.model_copy(update={"look_at_spread_m": (0.0, 0.0, 0.0), **in_bed})
    azimuths = []
    for index in range(50):
        rng = np.random.default_rng(index)
        _, pose = draw_view(spread, draw_plan(spread, rng), rng)
        centre = -pose[:3, :3].T @ pose[:3, 3]
        azimuths.append(np.degrees(np.arctan2(-centre[1], centre[0])))
    assert low - 1e-6 <= min(azimuths) <= max(azimuths) <= high + 1e-6


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(NAMED)), seed=st.integers(0, 2**32))
@example(name="base", seed=4342)  # somebody on the floor, looked at from low down
def test_every_draw_is_a_camera_that_can_be_rendered(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenario = NAMED[name].part_at(rng.random())
    plan = draw_plan(scenario, rng)
    camera, pose = draw_view(scenario, plan, rng)
    lens = Lens(camera)
    assert (camera.width, camera.height) == (scenario.width, scenario.height)
    assert lens.pinhole.width < 2 * camera.width
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))
    centre = -pose[:3, :3].T @ pose[:3, 3]
    assert centre[2] > -plan.bed.height + 0.1, "the camera is above the floor"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_companions_stand_beside_the_bed_and_apart(seed: int) -> None:
    scenario = Scenario(name="crowd", bystander_weights=(0.0, 0.0, 0.0, 1.0))
    plan = draw_plan(scenario, np.random.default_rng(seed))
    places = np.array([companion.position for companion in plan.companions]).reshape(-1, 2)
    outside = (np.abs(places[:, 0]) > plan.bed.length / 2 + 0.2) | (np.abs(places[:, 1]) > plan.bed.width / 2 + 0.2)
    assert outside.all()
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(len(places), 1)]
    assert (gaps > 0.6).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_people_in_a_room_has_fallen(share: float) -> None:
    scenario = Scenario(name="falls", open_room_share=1.0, fallen_share=share)
    plans = [draw_plan(scenario, np.random.default_rng(seed)) for seed in range(200)]
    fallen = [companion.activity == "fallen" for plan in plans for companion in plan.companions]
    assert np.mean(fallen) == pytest.approx(share, abs=0.1)


def plans_of(scenario: Scenario, count: int = 400) -> list[Plan]:
    """As many scenes as a data set would show, each of the part it falls on."""
    drawn = [np.random.default_rng(seed) for seed in range(count)]
    return [draw_plan(scenario.part_at(rng.random()), rng) for rng in drawn]


def fallen(plan: Plan) -> bool:
    return any(companion.activity == "fallen" for companion in plan.companions)


@pytest.mark.parametrize("name", ["B", "C", "D", "site"])
def test_a_beds_pictures_show_people_on_the_floor_on_their_feet_and_nobody(name: str) -> None:
    plans = plans_of(load_scenario(name, estimate=estimate()))
    nobody = [not plan.has_patient and not plan.companions for plan in plans]
    assert np.mean([plan.has_patient for plan in plans]) > 0.4
    assert np.mean([plan.in_ward and fallen(plan) for plan in plans]) > 0.06
    assert np.mean([not plan.in_ward and fallen(plan) for plan in plans]) > 0.1
    assert np.mean([not plan.in_ward and not fallen(plan) for plan in plans]) > 0.05
    assert 0.05 < np.mean(nobody) < 0.2


def test_base_shows_who_fell_nearer_than_who_stands_in_company_and_nobody() -> None:
    base = load_scenario("base")
    parts = [base.part_at(pick) for pick in np.linspace(0, 1, 100, endpoint=False)]
    alone = [part for part in parts if part.fallen_share > 0.5]
    company = [part for part in parts if part.fallen_share < 0.5]
    assert max(part.distance_m[1] for part in alone) < min(part.distance_m[1] for part in company)
    assert max(sum(part.bystander_weights[1:]) for part in alone) < min(sum(p.bystander_weights[1:]) for p in company)
    plans = plans_of(base, 1500)
    assert np.mean([not plan.has_patient and not plan.companions for plan in plans]) >= 0.08


@settings(max_examples=60, deadline=None)
@given(shares=st.lists(st.integers(0, 10), min_size=1, max_size=5), pick=st.floats(0, 1, exclude_max=True))
def test_each_pick_falls_on_one_part_or_on_the_whole(shares: list[int], pick: float) -> None:
    total = max(sum(shares), 10)
    parts = {str(n): Part(share=share / total, age_years=(10 + n, 20)) for n, share in enumerate(shares)}
    scenario = Scenario(name="mixed", parts=parts)
    bounds = np.cumsum([part.share for part in parts.values()])
    expected = [(10 + n, 20) for n in range(len(shares))] + [(3.0, 95.0)]
    if np.abs(bounds - pick).min() > 1e-9:
        assert scenario.part_at(pick).age_years == expected[int((bounds <= pick).sum())]
    assert not scenario.part_at(pick).parts


def test_a_part_differs_in_what_it_sets_and_nothing_else() -> None:
    scenario = Scenario(name="mixed", distance_m=(2, 3), parts={"near": Part(share=1.0, distance_m=(1, 2))})
    assert scenario.part_at(0.5) == scenario.model_copy(update={"distance_m": (1, 2), "parts": {}})


def test_what_is_asked_of_a_scenario_holds_in_all_of_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "base"\nfallen_share = 0.25\n')
    found = load_scenario(str(path))
    assert [found.part_at(pick).fallen_share for pick in (0.1, 0.9)] == [0.25, 0.25]
    assert found.part_at(0.1).distance_m == NAMED["base"].part_at(0.1).distance_m
    path.write_text('like = "base"\nparts = {}\n')
    assert load_scenario(str(path)).part_at(0.1) == NAMED["base"].part_at(0.9).model_copy(update={"name": "mine"})


def test_a_file_may_have_parts_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("distance_m = [2, 3]\n[parts.far]\nshare = 0.25\ndistance_m = [4, 5]\n")
    scenario = load_scenario(str(path))
    assert [scenario.part_at(pick).distance_m for pick in (0.2, 0.3)] == [(4, 5), (2, 3)]


def test_the_patient_on_the_floor_is_not_in_bed() -> None:
    scenario = Scenario(name="falls", floor_share=1.0, patient_share=1.0, bystander_weights=(1.0,))
    for seed in range(30):
        plan = draw_plan(scenario, np.random.default_rng(seed))
        (patient,) = plan.companions
        assert not plan.has_patient and patient.activity == "fallen" and patient.role == "patient"
        assert abs(patient.position[1]) > plan.bed.width / 2


def test_a_sites_part_that_is_elsewhere_is_seen_from_anywhere_through_any_lens() -> None:
    site = site_scenario(estimate(), plates=("plate",), nobody_share=0.0)
    elsewhere = site.part_at(0.1)
    assert not elsewhere.plates
    views = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        camera, pose = draw_view(elsewhere, draw_plan(elsewhere, rng), rng)
        assert (camera.width, camera.height) == (site.width, site.height)
        views.append((camera.fx, -pose[:3, :3].T @ pose[:3, 3]))
    assert np.ptp([focal for focal, _ in views]) > 100
    assert (np.ptp([centre for _, centre in views], axis=0)[:2] > 3).all()
    here, rng = site.part_at(0.99), np.random.default_rng(0)
    camera, pose = draw_view(here, draw_plan(here, rng), rng)
    assert camera.fx == pytest.approx(estimate().camera.resized(site.width, site.height).fx)


def test_nobody_means_nobody() -> None:
    for open_room_share in (0.0, 1.0):
        scenario = Scenario(name="nobody", nobody_share=1.0, open_room_share=open_room_share)
        plan = draw_plan(scenario, np.random.default_rng(0))
        assert not plan.has_patient and not plan.companions and not plan.touched


def test_a_site_draws_its_viewpoints_from_the_posterior() -> None:
    scenario = site_scenario(estimate(sigma=0.02))
    centres = []
    for index in range(300):
        rng = np.random.default_rng(index)
        camera, pose = draw_view(scenario, draw_plan(scenario, rng), rng)
        centres.append(-pose[:3, :3].T @ pose[:3, 3])
    assert camera == KINECT_COLOR.resized(640, 360)
    spread = 1e3 * np.sqrt(np.var(centres, axis=0).sum())
    assert spread == pytest.approx(estimate(sigma=0.02).centre_sigma_mm, rel=0.15)


@pytest.mark.parametrize(("width", "height"), [(416, 416), (480, 640), (640, 480), (1000, 200)])
def test_pictures_of_another_shape_than_the_camera_show_nobody_thinner(width: int, height: int) -> None:
    """As in mani-skill/ManiSkill#938: squares from a 16:9 camera made everybody 1.78 times too tall."""
    for scenario in (NAMED["C"].having(width=width, height=height), site_scenario(estimate(), height=height)):
        rng = np.random.default_rng(0)
        camera, _ = draw_view(scenario, draw_plan(scenario, rng), rng)
        own = KINECT_COLOR
        assert (camera.width, camera.height) == (scenario.width, scenario.height)
        assert camera.fy / camera.fx == pytest.approx(own.fy / own.fx, rel=6e-3)


def test_a_site_uses_its_own_bed() -> None:
    plan = draw_plan(site_scenario(estimate()), np.random.default_rng(0))
    assert (plan.bed.length, plan.bed.width, plan.bed.height) == (2.1, 0.95, 0.6)


def test_an_unconfirmed_calibration_is_refused() -> None:
    with pytest.raises(WardposeError, match="confirm"):
        site_scenario(estimate(confirmed=False))


def test_posture_weights_decide() -> None:
    scenario = Scenario(name="only", posture_weights={"prone": 1.0, "supine": 0.0})
    assert {draw_plan(scenario, np.random.default_rng(i)).posture for i in range(20)} == {"prone"}


def test_a_scenario_survives_json() -> None:
    scenario = site_scenario(estimate())
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


def test_a_file_changes_fields_of_a_named_scenario(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "C"\nelevation_deg = [20, 30]\n[sensor]\njpeg_quality = [80, 90]\n')
    scenario = load_scenario(str(path))
    assert (scenario.name, scenario.azimuth_deg, scenario.elevation_deg) == ("mine", (15.0, 35.0), (20.0, 30.0))
    assert scenario.sensor.jpeg_quality == (80, 90)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("elevation_deg = [60, 20]", "elevation_deg"),
        ("elevation_deg = [10, 200]", "elevation_deg"),
        ("distance = [1, 2]", "distance: no field of a scenario has this name; did you mean distance_m?"),
        ("distance_m = [1.0]", "distance_m"),
        ('age_years = "old"', "age_years: must be numbers in brackets, got 'old'; such as [1, 2]"),
        ("width = 0", "width: must be greater than or equal to 64, got 0"),
        ("bystander_weights = [0, 0]", "bystander_weights"),
        ('like = "Z"', "like"),
        ("elevation_deg = [10, 20", "TOML"),
        ("[camera]\nwidth = 640", "camera"),
        ("[sensor]\njpeg_quality = [90, 60]", "jpeg_quality"),
        ('body = "golem"', "body: no body model is called 'golem'"),
        ('like = ["C", "D"]', "like: must be one name, got ['C', 'D']"),
        ('[like]\nname = "C"', "like: must be one name, got {'name': 'C'}"),
        ("bystander_weights = [nan, 1.0]", "bystander_weights.0: must be a finite number"),
        ("[posture_weights]\nsupine = inf", "posture_weights.supine: must be a finite number"),
        ("distance_m = [nan, 3]", "distance_m.0"),
        ("plates = 3", "plates: must be a list of folders, got 3; such as"),
        ("[camera]\nwidth = 640", "camera: KeyError('height')"),
        (
            "[camera]\nwidth = 640\nheight = 360\nfx = 500\nfy = 500\ncx = 320\ncy = 180\ndistortion = [1, 2, 3]",
            "camera: distortion has 3 coefficients",
        ),
        ("x = " + "[" * 5000, "nested too deeply"),
        ('body = "smplx"', "body: the body smplx needs"),
        ('body = "smplx"\nbody_file = "wrong.toml"', "body_file"),
        ('body_file = "SMPLX_MALE.npz"', "body_file: the body anny takes no file"),
        ('pose_bank = "none.npz"', "pose_bank"),
        ('pose_folder = "mocap"', "pose_folder goes with"),
        ('pose_source = "amass"', "pose_source: motion recordings need a folder"),
        ('pose_source = "bvh"\npose_folder = "nowhere"', "pose_folder"),
        ("age_years = [1, 40]", "age_years"),
        ("[light_presets]\ncandle = 1.0", "light_presets: no light preset is called 'candle'"),
        ("[light_presets]\nnight = -1.0", "light_presets"),
        ("[parts.far]\ndistance_m = [4, 5]", "parts.far.share: must be given"),
        (
            "[parts.far]\nshare = 0.5\ndistance = [4, 5]",
            "parts.far.distance: no field of a part has",
        ),
        ("[parts.far]\nshare = 0.5\nwidth = 320", "parts.far.width: no field of a part has this name"),
        ("[parts.far]\nshare = 0.5\ndistance_m = [5, 4]", "parts.far.distance_m"),
        ("[parts.far]\nshare = 0.6\n[parts.near]\nshare = 0.6", "parts: their shares must not come to more than 1"),
        ("parts = 3", "parts"),
    ],
)
def test_an_impossible_file_is_refused_in_one_line_naming_file_and_field(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(WardposeError) as caught:
        load_scenario(str(path))
    assert named in str(caught.value)
    assert "wrong.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_and_folders_are_looked_for_beside_the_scenarios_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "C"\nbackgrounds = "rooms"\nplates = ["first", "/plates/second"]\n')
    scenario = load_scenario(str(path))
    assert scenario.backgrounds == str(tmp_path / "rooms")
    assert scenario.plates == (str(tmp_path / "first"), "/plates/second")


@pytest.mark.parametrize("encode", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_and_one_plate_in_words_do_no_harm(tmp_path: Path, encode: str) -> None:
    """As in python/cpython#157201 and hukkin/tomli#304."""
    (tmp_path / "mine.toml").write_text('like = "C"\nplates = "room1"\nelevation_deg = [20, 30]\n', encoding=encode)
    scenario = load_scenario(str(tmp_path / "mine.toml"))
    assert scenario.plates == (str(tmp_path / "room1"),) and scenario.elevation_deg == (20, 30)


@pytest.mark.parametrize(("encode", "says"), [("utf-16", "written in UTF-16; save it as UTF-8"), ("latin-1", "0xfc")])
def test_a_file_of_another_encoding_says_so(tmp_path: Path, encode: str, says: str) -> None:
    (tmp_path / "mine.toml").write_bytes('name = "Krankenhaus Süd"\nlike = "C"\n'.encode(encode))
    with pytest.raises(WardposeError, match=says):
        load_scenario(str(tmp_path / "mine.toml"))


def test_a_folder_in_the_place_of_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "room.toml").mkdir()
    with pytest.raises(WardposeError, match=r"room\.toml: cannot be read: is a directory"):
        load_scenario(str(tmp_path / "room.toml"))


PLAIN = {
    "like": "C", "width": 320, "height": 180, "elevation_deg": [20, 30], "bystander_weights": [1.0, 0.5],
    "posture_weights": {"supine": 1.0}, "plates": ["room1"], "parts": {"near": {"share": 0.2, "distance_m": [1, 2]}},
    "camera": {"width": 640, "height": 360, "fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 180.0,
               "distortion": [0.1] * 5},
}  # fmt: skip


def toml_of(values: dict[str, Any]) -> str:
    """The values as inline TOML; what TOML has no word for is left out."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            inside = (f"{json.dumps(str(k))} = {text(v)}" for k, v in value.items() if v is not None)
            return "{" + ", ".join(inside) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(text(each) for each in value if each is not None) + "]"
        if isinstance(value, float):
            return {"nan": "nan", "inf": "inf", "-inf": "-inf"}.get(str(value), repr(value))
        return json.dumps(value)

    return "\n".join(f"{json.dumps(str(k))} = {text(v)}" for k, v in values.items() if v is not None) + "\n"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_scenario_is_one_that_can_be_drawn_from_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    text = toml_of(data.draw(damaged(PLAIN)))
    content = text.encode(errors="surrogatepass")
    path = tmp_path / "mine.toml"
    path.write_bytes(data.draw(broken_bytes(content)) if data.draw(st.booleans()) else content)
    try:
        scenario = load_scenario(str(path))
        rng = np.random.default_rng(0)
        camera, pose = draw_view(scenario, draw_plan(scenario, rng), rng)
    except WardposeError as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(pose).all() and (camera.width, camera.height) == (scenario.width, scenario.height)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(WardposeError, match="site, B, C, D, base"):
        load_scenario("E")


def test_light_presets_are_drawn_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    weights = Scenario(name="dark", light_presets={"night": 3.0, "lamp": 1.0}).light_presets
    drawn = [draw_preset(rng, weights) for _ in range(400)]
    assert set(drawn) == {"night", "lamp"}
    assert drawn.count("night") / 400 == pytest.approx(0.75, abs=0.08)


def test_the_set_up_prepares_bodies_and_blankets_whatever_it_draws() -> None:
    from synth.warm_up import occupied_bed

    plans = [draw_plan(occupied_bed(), np.random.default_rng(seed)) for seed in range(40)]
    assert all(plan.has_patient for plan in plans)
