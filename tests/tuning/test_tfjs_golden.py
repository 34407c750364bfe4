"""The converted models against the originals: TensorFlow.js computed `golden/*.json`, as tfjs_golden.mjs says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.models.store import FETCHED
from runtime.codecs import decode_movenet
from runtime.detector_layouts import decode_boxes
from runtime.engines.onnx_engine import OnnxEngine
from tuning.pretrained import PRETRAINED
from tuning.store.card import ONNX_FILE

GOLDEN = Path(__file__).parent / "golden"
# Limbs of a figure in a 64 × 64 field: x, y of both ends, half width, colour.
SKIN, SHIRT, TROUSERS = (205, 160, 135), (60, 90, 150), (50, 50, 60)
FIGURE = (
    (32, 10, 32, 12, 5, SKIN), (32, 20, 32, 36, 7, SHIRT), (26, 19, 19, 32, 2, SHIRT), (38, 19, 46, 31, 2, SHIRT),
    (19, 32, 20, 41, 2, SKIN), (46, 31, 44, 40, 2, SKIN), (29, 37, 27, 49, 3, TROUSERS), (35, 37, 38, 49, 3, TROUSERS),
    (27, 49, 26, 60, 3, TROUSERS), (38, 49, 39, 60, 3, TROUSERS),
)  # fmt: skip
HEADS = {"nanodet": 6, "movenet-thunder": 4, "movenet-lightning": 4}
MOVENETS = ("movenet-thunder", "movenet-lightning")


def draw(size: int, turn: int) -> NDArray[np.uint8]:
    """The picture (size, size, 3) RGB that tfjs_golden.mjs draws, bit by bit: a tiled wall, a figure, quarter turns."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    shade = 120 + np.floor(70 * y / size) + ((np.floor(12 * x / size) + np.floor(9 * y / size)) % 2) * 14
    color = np.stack([shade, shade - 8, shade - 20], axis=-1)
    u, v = 64 * x, 64 * y
    for _ in range(turn):
        u, v = v, 64 * (size - 1) - u
    for ax, ay, bx, by, half, limb in FIGURE:
        dx, dy, px, py = (bx - ax) * size, (by - ay) * size, u - ax * size, v - ay * size
        length = dx * dx + dy * dy
        along = np.clip(px * dx + py * dy, 0, length)
        ex, ey, reach = px * length - along * dx, py * length - along * dy, float(half * size * length)
        color[ex * ex + ey * ey <= reach * reach] = limb
    return color.astype(np.uint8)


def answers(name: str) -> list[tuple[dict[str, Any], dict[str, NDArray[np.float32]]]]:
    """For each golden picture what TensorFlow.js said and what our heads say, by name."""
    file = FETCHED / name / ONNX_FILE
    if not file.is_file():
        pytest.skip("the pretrained models are not on this machine: ./wardpose models fetch")
    golden, engine, pairs = json.loads((GOLDEN / f"{name}.json").read_text()), OnnxEngine(file), []
    info = engine.info
    for picture in golden["pictures"]:
        color = draw(golden["size"], picture["turn"]).astype(np.float64)[..., :: -1 if info.channels == "bgr" else 1]
        batch = ((color - info.mean) / info.std).transpose(2, 0, 1)[None].astype(np.float32)
        pairs.append((picture, dict(zip(picture["heads"], engine.run(batch), strict=True))))
    return pairs


@pytest.mark.parametrize("name", HEADS)
def test_every_head_answers_as_the_original_does(name: str) -> None:
    for picture, heads in answers(name):
        assert len(heads) == HEADS[name]
        for head, answer in heads.items():
            said = picture["heads"][head]
            seen = np.moveaxis(answer, 1, -1)  # the original has its channels last
            assert list(seen.shape) == said["shape"]
            # Raw numbers reach ±40: what is left is the order in which each library sums in single precision.
            np.testing.assert_allclose(seen.ravel()[:: said["step"]], said["values"], rtol=0, atol=5e-4, err_msg=head)


@pytest.mark.parametrize("name", MOVENETS)
def test_movenet_finds_the_keypoints_that_the_original_finds(name: str) -> None:
    for picture, heads in answers(name):
        (keypoints,), (score,) = decode_movenet(*heads.values(), input_size=(1, 1))
        said = np.array(picture["keypoints"])
        # The original divides by the side in half precision: 1/48 is then 2.4e-4 too small.
        side = heads["heatmap"].shape[-1]
        said[:, :2] *= (1 / side) / float(np.float16(1 / side))
        np.testing.assert_allclose(keypoints, said[:, 1::-1], rtol=0, atol=1e-4)
        np.testing.assert_allclose(score, said[:, 2], rtol=0, atol=1e-4)


def test_nanodets_best_boxes_are_those_of_the_original() -> None:
    for picture, heads in answers("nanodet"):
        boxes, scores = decode_boxes(list(heads.values()), PRETRAINED["nanodet"].info)
        best = np.argsort(-scores)[: len(picture["found"])]
        np.testing.assert_allclose(scores[best], [found["score"] for found in picture["found"]], rtol=0, atol=1e-4)
        np.testing.assert_allclose(boxes[best], [found["box"] for found in picture["found"]], rtol=0, atol=0.01)
