"""Groups of people, their intervals, joints in centimetres, and the page that says it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.camera import CameraModel
from tests.tuning.drawn import draw_people
from tuning.coco_folder import Space, read_people
from tuning.evaluate.fairness import EVERYBODY, group_table, paired_tests
from tuning.evaluate.groups import people_groups, thin_groups
from tuning.evaluate.joint_errors import errors_cm, true_joints
from tuning.evaluate.page import Pair, Report, page
from tuning.evaluate.plots import curves_figure, densities_figure, groups_figure
from tuning.evaluate.reading import sentence, verdict

CAMERA = CameraModel(160, 120, 150.0, 150.0, 79.5, 59.5, (0.1, -0.05, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0))
SAID: tuple[dict[str, Any], ...] = (
    {"age": 1, "bmi": 16.0, "skin_tone": 1, "sex": "female", "posture": "supine", "blanket_coverage": 0.0},
    {"age": 17, "bmi": 31.0, "skin_tone": 4, "sex": "male", "posture": "arm_over_head", "blanket_coverage": 0.5},
    {"age": 40, "bmi": 18.5, "skin_tone": 8, "sex": "female", "posture": "supine", "blanket_coverage": 0.2},
    {"age": 65, "bmi": 31.0, "skin_tone": 10, "sex": "male"},
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with two people each, of whom the file says what ours do; they stand 2 m from the camera."""
    file = draw_people(tmp_path_factory.mktemp("said") / "data", 2, people=2) / "annotations.json"
    content = json.loads(file.read_bytes())
    bed = np.eye(4)
    bed[:3, 3] = 0.3, -0.2, 1.0
    for image in content["images"]:
        image |= {"camera": CAMERA.to_dict(), "camera_from_bed": bed.tolist(), "scene": image["id"]}
    for row, said in zip(content["annotations"], SAID, strict=True):
        pixels = np.reshape(row["keypoints"], (17, 3))[:, :2]
        row |= said | {"joints3d": (2 * CAMERA.unproject(pixels) - bed[:3, 3]).tolist()}
    file.write_text(json.dumps(content))
    return file


def test_people_are_sorted_by_what_the_file_says_and_where_they_stand(file: Path) -> None:
    pictures = read_people(file)
    groups = people_groups(pictures, {1: 0.1, 2: 0.7})
    assert {kind: {name: sorted(ids) for name, ids in found.items()} for kind, found in groups.items()} == {
        "posture": {"arm over head": [2], "supine": [1, 3]},
        "cover": {"none": [1], "up to a half": [3], "more than a half": [2]},
        "skin tone": {"1 to 3 (light)": [1], "4 to 7 (medium)": [2], "8 to 10 (dark)": [3, 4]},
        "age": {"under 2": [1], "2 to 17": [2], "18 to 64": [3], "65 and over": [4]},
        "BMI": {"18.5 to 25": [3], "30 and over": [4]},
        "sex": {"female": [1, 3], "male": [2, 4]},
        "light": {"dim": [1, 2], "bright": [3, 4]},
        "distance": {"2 to 3 m": [1, 2, 3, 4]},
        "people in the picture": {"two": [1, 2, 3, 4]},
    }


def test_a_group_with_few_people_or_nobody_is_named(file: Path) -> None:
    thin = thin_groups(people_groups(read_people(file)), 2)
    assert thin["BMI"] == ["under 18.5", "18.5 to 25", "25 to 30", "30 and over"]
    assert thin["skin tone"] == ["1 to 3 (light)", "4 to 7 (medium)"] and thin["posture"] == ["arm over head"]
    assert "sex" not in thin


def test_a_file_that_says_nothing_puts_nobody_into_a_group(drawn_people: Path) -> None:
    assert set(people_groups(read_people(drawn_people / "annotations.json"))) == {"people in the picture"}


def test_a_joint_is_off_by_as_many_centimetres_as_it_was_moved(file: Path) -> None:
    """Moved in the room and projected back, whatever the lens bends."""
    picture = read_people(file, keypoints=True)[0]
    joints = true_joints(picture)
    assert joints is not None and picture.space is not None
    moved = joints[0] + (0.06, 0.08, 0.0)
    errors = errors_cm(CAMERA.project(moved), picture.keypoints[0], joints[0], picture.space)
    assert errors == pytest.approx(np.full(17, 10.0), abs=1e-3)
    hidden = picture.keypoints[0].copy()
    hidden[:5, 2] = 1
    assert np.isnan(errors_cm(CAMERA.project(moved), hidden, joints[0], picture.space)[:5]).all()


def test_depth_tells_where_joints_are_where_the_labels_do_not(file: Path, tmp_path: Path) -> None:
    picture = read_people(file, keypoints=True)[0]
    assert picture.space is not None
    depth = tmp_path / "depth.png"
    cv2.imwrite(str(depth), np.full((120, 160), 2000, np.uint16))
    unknown = Space(CAMERA, np.full_like(picture.space.joints, np.nan), depth)
    seen = true_joints(replace(picture, space=unknown))
    assert seen is not None
    np.testing.assert_allclose(seen, picture.space.joints, atol=1e-6)
    assert true_joints(replace(picture, space=None)) is None


def scores(people: int, seed: int = 0) -> dict[int, float]:
    return dict(enumerate(np.random.default_rng(seed).uniform(0, 1, people).tolist()))


def table(lost: bool) -> Any:
    before = scores(80)
    groups = {"sex": {"female": frozenset(range(40)), "male": frozenset(range(40, 80))}}
    after = {p: min(1.0, s + 0.3) if p < 40 or not lost else s * 0.5 for p, s in before.items()}
    scenes = {person: person // 2 for person in before}
    rows = group_table(groups, {"person score": after}, scenes, {"person score": before})
    return rows, paired_tests("person score", before, after, scenes)


def test_a_group_is_shown_with_its_people_scenes_interval_and_corrected_p() -> None:
    rows, tests = table(lost=True)
    everybody, female, male = rows
    assert (everybody.kind, everybody.people, everybody.scenes) == (EVERYBODY, 80, 40)
    assert female.change.mean > 0 > male.change.mean and female.change.low > 0 > male.change.high
    assert male.p <= male.holm <= male.bonferroni < 0.001
    assert tests.paired_t[0] < tests.difference < tests.paired_t[1] and tests.bootstrap[0] < tests.bootstrap[1]


def test_a_group_is_no_surer_for_a_scene_that_shows_its_people_twice() -> None:
    before = scores(12)
    after = {person: score + 0.01 * (person - 3) for person, score in before.items()}
    group = {"sex": {"female": frozenset(before)}}
    once = group_table(group, {"s": after}, {p: p for p in before}, {"s": before})[1]
    twice = [{p: said[p % 12] for p in range(24)} for said in (after, before)]
    group = {"sex": {"female": frozenset(range(24))}}
    again = group_table(group, {"s": twice[0]}, {p: p % 12 for p in range(24)}, {"s": twice[1]})[1]
    assert (again.people, again.scenes) == (24, 12)
    assert again.p == pytest.approx(once.p)
    by_themselves = group_table(group, {"s": twice[0]}, {p: p for p in range(24)}, {"s": twice[1]})[1]
    assert once.p is not None and by_themselves.p is not None and by_themselves.p < once.p / 2


def test_all_or_none_of_a_few_is_no_certainty() -> None:
    rows = group_table({}, {"found": dict.fromkeys(range(4), 1.0)}, {p: p for p in range(4)})
    assert rows[0].after["found"].high == 1.0
    assert rows[0].after["found"].low == pytest.approx(0.398, abs=1e-3)  # Clopper & Pearson's 95 % for 4 of 4


def test_the_first_screen_says_what_the_figures_say() -> None:
    rows, tests = table(lost=False)
    told, why, tone = verdict(tests, rows, "person score")
    assert (told, tone) == ("Better.", "better") and "No group with 20 people or more" in why
    rows, tests = table(lost=True)
    assert verdict(tests, rows, "person score")[2] == "worse" and "sex male" in verdict(tests, rows, "person score")[0]
    same = scores(40)
    alike = paired_tests("person score", same, same, {p: p for p in same})
    assert verdict(alike, [], "person score")[0] == "No difference shown."
    assert verdict(None, [], "person score")[2] == "open"
    rows, tests = table(lost=False)
    told, why, tone = verdict(tests, rows, "person score", (0.2, 0.4), allowed=0.05)
    assert tone == "open" and "more who are not there" in told and "from 0.20 to 0.40" in why
    assert verdict(tests, rows, "person score", (0.2, 0.24), allowed=0.05)[0] == "Better."
    found = group_table({}, {"found": dict.fromkeys(range(30), 1.0)}, {p: p for p in range(30)})[0]
    assert sentence("new", None, found, (None, None)) == "new finds 100 of 100 people (88 to 100)."
    assert sentence("new", None, found, (None, None), (None, 0.07)).endswith("it shows 7 people who are not there.")


def test_the_page_opens_without_a_network_and_hides_nothing_of_a_name() -> None:
    rows, tests = table(lost=True)
    told, why, tone = verdict(tests, rows, "person score")
    report = Report(
        model="new<script>", against="old", data="held-out", images=40, people=80, scenes=40, simulated=True,
        sentence="It finds people.", verdict=told, why=why, tone=tone, figures={"AP": (0.5, 0.6)}, tests=[tests],
        groups=rows,
    )  # fmt: skip
    curve = np.linspace(1, 0, 101).tolist()
    drawings = {
        "Precision and recall": curves_figure({"50 %": {"old": curve, "new": curve}, "75 %": {"new": curve}}),
        "Spread": densities_figure({"person score": {"old": [0.1, 0.9], "new": [0.5]}}),
    }
    picture: NDArray[np.uint8] = np.zeros((8, 8, 3), np.uint8)
    content = cv2.imencode(".jpg", picture)[1].tobytes()
    html = page(
        report, groups_figure(rows, "person score", "person score", ("old", "new")), drawings,
        [Pair(caption="1.jpg", before=content, after=content)],
    )  # fmt: skip
    assert html.index("It finds people.") < html.index("<img") < html.index("<table")
    assert "new<script>" not in html and "new&lt;script&gt;" in html
    assert not re.findall(r"(?:src|href)=\"(?!data:)|https?://|@import|url\(", html)
    assert html.count("<img") == 1 + 2 + 2
