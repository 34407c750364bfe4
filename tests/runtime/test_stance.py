"""In the bed, on its edge or out of it, told from joints; the truth is that of drawn people in drawn wards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.bed import Bed
from calibration.camera import CameraModel
from runtime.bed_view import BedView
from runtime.skeleton import Skeletons
from runtime.stance import PLACES, place_evidence

# Labels of `wardpose synth`: postures, joints (x, y, COCO visibility), cameras and beds, from three sites' images.
DRAWN = json.loads((Path(__file__).parent / "golden" / "places.json").read_text())


def _seen(person: dict[str, Any]) -> tuple[BedView, Skeletons, np.ndarray]:
    camera = CameraModel.from_dict(person["camera"])
    view = BedView(camera, np.array(person["camera_from_bed"]), Bed(**person["bed"]))
    points = np.array(person["keypoints"], np.float32).reshape(17, 3)
    score = np.array([0.0, 0.5, 0.9], np.float32)[points[:, 2].astype(int)]
    x, y, w, h = person["box"]
    return view, Skeletons(points[None, :, :2], score[None]), np.array([[x, y, x + w, y + h]])


def _place(person: dict[str, Any], noise: float = 0.0) -> str:
    view, skeletons, box = _seen(person)
    rng = np.random.default_rng(len(person["posture"]))
    side = float(np.sqrt((box[0, 2:] - box[0, :2]).prod()))
    moved = skeletons.keypoints + rng.normal(0, noise * side, skeletons.keypoints.shape).astype(np.float32)
    evidence = place_evidence(view, Skeletons(moved, skeletons.score), box, view.camera.width, view.camera.height)
    assert evidence is not None
    return PLACES[int(evidence[0].argmax())]


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.9), (0.04, 0.85)])
def test_drawn_people_are_where_they_are(noise: float, least: float) -> None:
    for place in PLACES:
        told = [_place(person, noise) == place for person in DRAWN if person["place"] == place]
        assert np.mean(told) >= least, place


def test_a_picture_of_another_shape_tells_nothing() -> None:
    view, skeletons, box = _seen(DRAWN[0])
    assert place_evidence(view, skeletons, box, 500, 500) is None


def test_nobody_gives_no_evidence_and_a_box_alone_gives_some() -> None:
    view, _, box = _seen(next(person for person in DRAWN if person["posture"] == "supine"))
    size = (view.camera.width, view.camera.height)
    nobody = place_evidence(view, Skeletons.empty(), np.empty((0, 4)), *size)
    assert nobody is not None
    assert nobody.shape == (0, 3)
    alone = place_evidence(view, Skeletons.empty(), box, *size)
    assert alone is not None
    assert np.isfinite(alone).all()


def test_joints_anywhere_give_finite_evidence() -> None:
    view, skeletons, box = _seen(DRAWN[0])
    for far in (-1e5, 0.0, 1e5):
        wild = Skeletons(np.full((1, 17, 2), far, np.float32), skeletons.score)
        told = place_evidence(view, wild, box, view.camera.width, view.camera.height)
        assert told is not None
        assert np.isfinite(told).all()
