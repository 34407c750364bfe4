"""A package of a site's own: what it declares is used by every command once it is installed, by nobody's leave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.site.folder import REPOSITORY
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint
from tests.tuning.drawn import draw_people

# A detector that always says the same: where people stood on average in the pictures it was tuned on.
FAMILY = """
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.model_info import ModelInfo
from tuning.coco_folder import read_people
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.save import save_model
from tuning.store.weights import read_weights, write_safetensors


class Habit:
    name = "habit"

    def recognise(self, foreign, wish, folder):
        if foreign.state is None or set(foreign.state) != {"habit"}:
            return None
        write_safetensors(folder / WEIGHTS_FILE, foreign.state)
        return ModelCard(name=wish.name, task="detect", architecture="habit", layout="yolo", width=wish.width or 160,
                         height=wish.height or 128, sha256="0" * 64)

    def knows(self, card):
        return card.architecture == "habit"

    def describe(self, card, width, height):
        return ModelInfo(name=card.name, task="detect", layout="yolo", width=width, height=height)

    def export(self, folder, card, draft, width, height):
        x1, y1, x2, y2 = read_weights(folder, card)["habit"] * (width / 160)
        answer = np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0.9], np.float32).reshape(1, 5, 1)
        nodes = [
            helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "nought"], ["none"]),
            helper.make_node("Reshape", ["none", "shape"], ["zero"]),
            helper.make_node("Add", ["zero", "answer"], ["output"]),
        ]
        constants = {"axes": np.array([1, 2, 3]), "nought": np.zeros((), np.float32), "shape": np.array([1, 1, 1]),
                     "answer": answer}
        graph = helper.make_graph(
            nodes, "habit", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 5, 1])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(draft))
        return lambda batch: [answer]

    def tune(self, folder, data_dir, out_dir, settings, progress):
        card = read_card(folder)
        boxes = np.concatenate([picture.boxes for picture in read_people(data_dir / "annotations.json")])
        # A picture of 160 by 120 stands in the middle of an input of 160 by 128.
        habit = (boxes.mean(0) + [0, 4, 0, 4]).astype(np.float32)
        return save_model(out_dir, {"habit": habit}, card.model_copy(update={"parent": card.name}))
"""


# One of every other kind: little more than a shipped one under another name, with a mark that can be seen.
OTHERS = """
import time

import numpy as np

from calibration.camera import CameraModel
from calibration.manual import calibrate_manual
from calibration.viewpoint import Viewpoint
from runtime.capture.source import CaptureSource
from runtime.engines.onnx_engine import OnnxEngine
from runtime.frames import Frame
from synth.body.anny_body import AnnyBody
from synth.pose.clinical_poses import ClinicalPoses
from synth.render.numba_renderer import NumbaRenderer
from synth.render.renderer import Rendering
from synth.simulated_camera import SimulatedCamera


class Plain(CaptureSource):
    name, live, origin = "plain", True, "generated"

    def __init__(self, grey):
        self.grey, self.index = grey, 0

    @classmethod
    def from_argument(cls, argument):
        return cls(int(argument or 90))

    def open(self):
        pass

    def read(self, timeout_s=1.0):
        time.sleep(0.05)
        self.index += 1
        picture = np.full((120, 160, 3), self.grey, np.uint8)
        return Frame(picture, time.monotonic(), self.index, self.name, CameraModel(160, 120, 130, 130, 79.5, 59.5))

    def close(self):
        pass


class Theatre(SimulatedCamera):
    @classmethod
    def from_argument(cls, argument):
        return super().from_argument({"": "ward", "sheet": "tag_sheet", "bare": "empty"}[argument])

    def with_target(self):
        return "sheet"

    def emptied(self):
        return "bare"


class Night(NumbaRenderer):
    name = "night"

    def render(self, scene, camera_from_bed, camera):
        seen = super().render(scene, camera_from_bed, camera)
        return Rendering(seen.color // 16, seen.depth, seen.instance, seen.part)


class Doll(AnnyBody):
    name = "doll"


class Rigid(ClinicalPoses):
    name = "rigid"

    def shares(self, backrest_deg, age_years):
        return {"prone": 1.0}


class Known:
    name, looks, target = "known", 2, False

    def __init__(self, elevation):
        self.elevation = elevation

    @classmethod
    def from_argument(cls, argument, bed):
        return cls(float(argument))

    def calibrate(self, sights, bed, progress=None):
        assert len(sights) == 2 and sights[0].color.shape == (120, 160, 3)
        return calibrate_manual(Viewpoint(20, self.elevation, 2.7), sights[0].camera, bed), sights[1]


class Slow(OnnxEngine):
    def __init__(self, onnx, info):
        super().__init__(onnx)
        self.name = "slow"
"""
ENTRY_POINTS = """
[wardpose.model_families]
habit = habit_family:Habit
[wardpose.capture_sources]
plain = bedside_others:Plain
theatre = bedside_others:Theatre
[wardpose.renderers]
night = bedside_others:Night
[wardpose.body_models]
doll = bedside_others:Doll
[wardpose.pose_sources]
rigid = bedside_others:Rigid
[wardpose.calibrators]
known = bedside_others:Known
[wardpose.inference_engines]
slow = bedside_others:Slow
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed package that declares one of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "habit_family.py").write_text(FAMILY)
    (folder / "bedside_others.py").write_text(OTHERS)
    described = folder / "bedside-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: bedside\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture
def wardpose(installed: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The command line on a site of its own; the answer of `--json`."""

    def run(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", *arguments, "--json"], cwd=REPOSITORY, capture_output=True, text=True,
            timeout=200, check=False,
            env=dict(
                os.environ, WARDPOSE_HOME=str(tmp_path / "site"),
                PYTHONPATH=os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH")))),
            ),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


def test_the_page_names_every_kind_and_no_other() -> None:
    """A site's package is found by the groups that ARCHITECTURE.md tells of, and each is shown here at work."""
    told = set(re.findall(r"`wardpose\.([a-z_]+)`", (REPOSITORY / "ARCHITECTURE.md").read_text()))
    declared = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"])
    shown = set(re.findall(r"\[wardpose\.([a-z_]+)\]", ENTRY_POINTS))
    assert told == shown and {f"wardpose.{kind}" for kind in told} >= declared


def test_a_body_poses_and_a_renderer_are_named_to_synth(
    wardpose: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    scenario = tmp_path / "mine.toml"
    scenario.write_text(
        'like = "B"\nbody = "doll"\npose_source = "rigid"\nraised_share = 0.0\nwidth = 160\nheight = 120\n'
    )
    out = tmp_path / "set"
    wardpose("synth", "--scenario", str(scenario), "--count", "1", "--renderer", "night", "--out", str(out))
    spec = json.loads((out / "dataset.json").read_text())["spec"]
    assert (spec["scenario"]["body"], spec["scenario"]["pose_source"], spec["renderer"]) == ("doll", "rigid", "night")
    patients = [a for a in json.loads((out / "annotations.json").read_text())["annotations"] if a["posture"] == "prone"]
    assert len(patients) == 1
    [picture] = (out / "images").iterdir()
    assert cv2.imread(str(picture)).mean() < 40


def test_a_camera_and_a_calibration_method_are_named_to_calibrate(wardpose: Callable[..., dict[str, Any]]) -> None:
    assert "plain" in {camera["name"] for camera in wardpose("camera", "list")["cameras"]}
    found = wardpose("calibrate", "with", "known:41", "--source", "plain:70", "--confirm", "yes")
    assert found["elevation_deg"] == pytest.approx(41) and found["confirmed"]


# Which source a plate is taken from, and what evaluation is held against, where the site's camera is the theatre.
WHAT_IT_CAN_DO = """
import json, sys
from appliance.bedside.plates import plate_source
from appliance.jobs import datasets
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from runtime.capture.abilities import KnowsTruth
from runtime.capture.source import ability_of

site = SiteFolder.open(sys.argv[1])
set_value(site, "camera", "source", "theatre")
held_out = datasets.held_out(site, lambda *_: None, count=1)
truth = ability_of("theatre", KnowsTruth).true_calibration()
made = json.loads((held_out.parent / "dataset.json").read_text())["spec"]["scenario"]["calibration"]
print(json.dumps([plate_source(site), held_out.parent.name, made == truth.to_dict(),
                  ability_of("plain", KnowsTruth) is None, plate_source(site, "plain:70")]))
"""


def test_what_a_camera_can_do_is_asked_of_it_and_not_of_its_name(
    wardpose: Callable[..., dict[str, Any]], installed: Path, tmp_path: Path
) -> None:
    found = wardpose("calibrate", "tags", "--source", "theatre", "--confirm", "yes")
    assert found["confirmed"] and found["reprojection_px"] < 1
    asked = subprocess.run(
        [sys.executable, "-c", WHAT_IT_CAN_DO, str(tmp_path / "site")], cwd=REPOSITORY, capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH=f"{installed}{os.pathsep}{os.environ['PYTHONPATH']}"), check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    plate_of, held_out, true, plain_knows_nothing, plain = json.loads(asked.stdout)
    assert plate_of == "theatre:bare" and held_out.startswith("held-out-theatre-") and true
    assert plain_knows_nothing and plain == "plain:70"


def test_shipped_methods_are_of_that_kind_too(wardpose: Callable[..., dict[str, Any]]) -> None:
    pose, lens = Viewpoint(20, 32, 2.7).camera_from_bed, CameraModel(160, 120, 130, 130, 79.5, 59.5)
    corners = lens.project(Bed().corners @ pose[:3, :3].T + pose[:3, 3])
    clicks = "corners:" + " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
    for method in ("manual:azimuth=20&elevation=32&distance=2.7", clicks):
        found = wardpose("calibrate", "with", method, "--source", "plain", "--confirm", "no")
        assert found["method"] == method.partition(":")[0] and found["elevation_deg"] == pytest.approx(32, abs=0.2)


def test_an_engine_is_named_to_run(wardpose: Callable[..., dict[str, Any]]) -> None:
    ran = wardpose("run", "--headless", "--seconds", "1", "--source", "plain", "--engine", "slow")
    assert ran["frames"] > 0 and ran["engine"] == "slow"


def test_a_model_family_is_used_by_import_tune_evaluate_export_and_run(
    wardpose: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from tuning.store.weights import write_safetensors

    data = draw_people(tmp_path / "data", 12)
    write_safetensors(tmp_path / "mine.safetensors", {"habit": np.array([0, 0, 8, 8], np.float32)})
    assert wardpose("models", "import", str(tmp_path / "mine.safetensors"))["architecture"] == "habit"
    [listed] = [model for model in wardpose("models", "list")["models"] if model["name"] == "mine"]
    assert (listed["family"], listed["width"], listed["height"]) == ("habit", 160, 128)

    annotations = str(data / "annotations.json")
    before = wardpose("evaluate", "--model", "mine", "--data", annotations)
    tuned = wardpose("tune", "--model", "mine", "--data", str(data), "--name", "tuned", "--task", "detect")
    assert (tuned["name"], tuned["task"], tuned["images"]) == ("tuned", "detect", 12)
    after = wardpose("evaluate", "--model", "tuned", "--data", annotations)
    assert before["AP"] == 0 < after["AR"] and (after["width"], after["height"]) == (160, 128)

    other = wardpose("export", "--model", "tuned", "--size", "320x256")
    assert (other["width"], other["height"]) == (320, 256) and Path(other["onnx"]).is_file()
    run = wardpose("run", "--headless", "--seconds", "1", "--detector", "tuned",
                   "--source", f"video:{data / 'images'}#loop=true&photos_per_s=20")  # fmt: skip
    assert run["frames"] > 0
