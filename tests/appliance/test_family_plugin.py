"""A model family of a site's own: a package that is merely installed is used by every command, by nobody's leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.site_folder import REPOSITORY
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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed package that declares the family."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "habit_family.py").write_text(FAMILY)
    described = folder / "habit_family-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: habit-family\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[wardpose.model_families]\nhabit = habit_family:Habit\n")
    return folder


def test_a_family_that_is_installed_is_used_by_import_tune_evaluate_export_and_run(
    installed: Path, tmp_path: Path
) -> None:
    import numpy as np

    from tuning.store.weights import write_safetensors

    home = tmp_path / "site"

    def wardpose(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", *arguments, "--json"], cwd=REPOSITORY, capture_output=True, text=True,
            timeout=200, check=False,
            env=dict(os.environ, WARDPOSE_HOME=str(home), PYTHONPATH=str(installed)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

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
