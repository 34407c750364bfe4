"""A file in SMPL-X's format, made from anny's (free) body: ten thousand vertices, its bones, its shapes. No licensed
file can be had for a test; the format and everything that reads it are the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.body.anny_body import AVERAGE_ADULT, AnnyBody
from synth.body.body_model import JOINTS, Pose, Shape
from synth.body.retarget import BONE_OF_JOINT, finger_bones

VERTICES = 10475
T_POSE = Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)))
BODY_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
FACE_VERTICES = {"nose": 9120, "left_eye": 9448, "right_eye": 9929, "left_ear": 6, "right_ear": 616}


def _hand_parents(wrist: int, first: int) -> list[int]:
    return [wrist if k % 3 == 0 else first + k - 1 for k in range(15)]


PARENTS = BODY_PARENTS + _hand_parents(20, 25) + _hand_parents(21, 40)


def _merged(vertices: NDArray[np.float64], triangles: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each vertex the one it is merged into, so that `VERTICES` are left: the shortest edges are collapsed."""
    edges = np.unique(np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]]), axis=1), axis=0)
    order = np.argsort(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1), kind="stable")
    into, touched, left = np.arange(len(vertices)), np.zeros(len(vertices), bool), len(vertices) - VERTICES
    for a, b in edges[order]:
        if left and not touched[a] and not touched[b]:
            into[b], touched[a], touched[b], left = a, True, True, left - 1
    assert left == 0
    return into


@cache
def smplx_arrays() -> dict[str, Any]:
    """The arrays of the file."""
    body = AnnyBody(whole=True)
    topology = body.topology

    def t_posed(**changes: float) -> NDArray[np.float64]:
        rest = body.rest(Shape(40.0, "female", AVERAGE_ADULT.parameters | changes))
        return body.pose(rest, T_POSE).vertices.astype(np.float64)

    whole = t_posed()
    into = _merged(whole, topology.triangles)
    kept = np.flatnonzero(into == np.arange(len(into)))
    keypoints = body.pose(body.rest(AVERAGE_ADULT), T_POSE).keypoints[:5]
    # SMPL-X numbers its vertices so that five known ones lie at nose, eyes and ears.
    for at, point in zip(FACE_VERTICES.values(), keypoints, strict=True):
        nearest = int(np.linalg.norm(whole[kept] - point, axis=1).argmin())
        kept[[at, nearest]] = kept[[nearest, at]]
    number = np.full(len(into), -1)
    number[kept] = np.arange(VERTICES)
    triangles = number[into[topology.triangles]]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]

    names = [BONE_OF_JOINT[joint] for joint in ("pelvis", *JOINTS)]
    names += ["jaw", "eye.L", "eye.R", *finger_bones("L"), *finger_bones("R")]
    bones = {name: index for index, name in enumerate(topology.bone_names)}
    positions = body._retargeter.bone_transforms(body.rest(AVERAGE_ADULT).heads, T_POSE)[1]
    joint_of_bone = np.zeros(len(bones), int)
    for bone, parent in enumerate(topology.bone_parents):
        name = topology.bone_names[bone]
        joint_of_bone[bone] = names.index(name) if name in names else joint_of_bone[parent] if parent >= 0 else 0
    weights = np.zeros((VERTICES, 55))
    np.add.at(weights.T, joint_of_bone, topology.weights[kept].T.astype(float))
    joints = np.array([positions[bones[name]] if name in bones else positions[bones["head"]] for name in names])

    template = whole[kept]
    regressor = np.zeros((55, VERTICES))
    for joint, point in enumerate(joints):
        near = np.argsort(np.linalg.norm(template - point, axis=1))[:60]
        system = np.vstack([template[near].T, np.ones(60)])
        regressor[joint, near] = np.linalg.lstsq(system, np.append(point, 1.0), rcond=None)[0]

    tree = np.stack([np.array(PARENTS), np.arange(55)]).astype(np.uint32).astype(np.int64)
    rng = np.random.default_rng(0)
    shapes = np.zeros((VERTICES, 3, 20))
    for k, (name, step) in enumerate((("height", 0.15), ("weight", 0.25), ("muscle", 0.2), ("proportions", 0.2))):
        middle = AVERAGE_ADULT.parameters[name]
        shapes[:, :, k] = (t_posed(**{name: middle + step}) - t_posed(**{name: middle - step}))[kept] / 2
    for k in range(4, 20):
        shapes[:, :, k] = template @ rng.normal(0, 0.004, (3, 3))
    return {
        "v_template": template, "shapedirs": shapes, "f": triangles.astype(np.uint32), "weights": weights,
        "posedirs": rng.normal(0, 2e-4, (VERTICES, 3, 486)), "J_regressor": regressor,
        "kintree_table": tree,
        "lmk_faces_idx": np.arange(51), "lmk_bary_coords": np.full((51, 3), 1 / 3),
        "hands_componentsl": np.eye(45), "hands_componentsr": np.eye(45),
        "hands_meanl": np.zeros(45), "hands_meanr": np.zeros(45),
    }  # fmt: skip


def write_smplx_file(folder: Path, **changes: Any) -> Path:
    """Write the file, with some arrays changed (None leaves one out)."""
    path = folder / "SMPLX_NEUTRAL.npz"
    arrays = {name: value for name, value in (smplx_arrays() | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path
