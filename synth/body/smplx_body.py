"""The SMPL-X body (Pavlakos et al. 2019), from the site's own licensed model file.

Read and skinned here, with no package beside numpy: the file alone is under a licence. Its ten first shape parameters
are drawn as in the paper: normal, within ±1. Poses need no retargeting, since the project's currency is SMPL-X's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINTS, Pose, PosedBody, RestBody, Shape, Topology
from synth.body.joint_skin import joint_skin
from synth.body.measure import height_and_bmi
from synth.body.retarget import ANNY_FROM_SMPLX, BONE_OF_JOINT, finger_bones
from synth.npz import npz_shapes, read_npz

_VERTICES, _JOINTS, _BETAS = 10475, 55, 10
_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (_VERTICES, 3), "shapedirs": (_VERTICES, 3, _BETAS), "posedirs": (_VERTICES, 3, 9 * (_JOINTS - 1)),
    "f": (0, 3), "weights": (_VERTICES, _JOINTS), "J_regressor": (_JOINTS, _VERTICES), "kintree_table": (2, _JOINTS),
}  # fmt: skip
_HEIGHTS_M = (0.9, 2.5)
_AT_LEAST = {"shapedirs", "f"}  # arrays that may be longer along the last or first axis
# Vertices at the nose, the eyes and the ears, COCO's first five keypoints (the numbering is the model's, not a file's).
_FACE_VERTICES = (9120, 9448, 9929, 6, 616)
_LIMB_KEYPOINTS = tuple(
    1 + JOINTS.index(f"{side}_{joint}")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
# The looks find their way by anny's bone names, whatever the body.
_BONE_NAMES = (
    "root", *(BONE_OF_JOINT[joint] for joint in JOINTS), "head.jaw", "eye.L", "eye.R",
    *finger_bones("L"), *finger_bones("R"),
)  # fmt: skip


def _matches(name: str, shape: tuple[int, ...]) -> bool:
    wanted = _SHAPES[name]
    if len(shape) != len(wanted):
        return False
    return all(a == b or (name in _AT_LEAST and a > b) for a, b in zip(shape, wanted, strict=True))


def _arrays_of(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a model file, whose numbers are those of a body; WardposeError says what is wrong with them."""
    arrays = read_npz(file, _SHAPES)
    height = float(np.ptp(arrays["v_template"][:, 1]))
    weights, triangles, parents = arrays["weights"], arrays["f"], arrays["kintree_table"][0, 1:]
    wrong = {
        f"a template of {height:.2f} m": not _HEIGHTS_M[0] <= height <= _HEIGHTS_M[1],
        "weights that do not add up to 1": (weights < 0).any() or not np.allclose(weights.sum(1), 1, atol=0.05),
        "joints that are no mean of vertices": not np.allclose(arrays["J_regressor"].sum(1), 1, atol=0.05),
        "f out of range": triangles.min() < 0 or triangles.max() >= _VERTICES,
        "kintree_table out of range": any(not 0 <= parent <= bone for bone, parent in enumerate(parents.tolist())),
    }
    if problems := [what for what, is_so in wrong.items() if is_so]:
        raise WardposeError(
            f"is no SMPL-X body ({problems[0]})", where=str(file), mend="give an SMPLX_*.npz file as it was downloaded"
        )
    return arrays


class SmplxBody:
    """SMPL-X behind the `BodyModel` protocol. Adults only; the model knows no age."""

    name = "smplx"

    @staticmethod
    def check(file: Path | None) -> None:
        """Raise WardposeError where it is no SMPL-X body: by the file's headers, then by its numbers."""
        if file is None:
            raise WardposeError(
                "the body smplx needs the site's own model file",
                mend='give it, such as body_file = "SMPLX_NEUTRAL.npz"',
            )  # fmt: skip
        shapes = npz_shapes(file)
        missing = [name for name in _SHAPES if name not in shapes]
        wrong = [name for name in _SHAPES if name in shapes and not _matches(name, shapes[name])]
        if missing or wrong:
            reason = f"{', '.join(missing)} missing" if missing else f"{wrong[0]} is {shapes[wrong[0]]}"
            raise WardposeError(f"is no SMPL-X body ({reason})", where=str(file), mend="give an SMPLX_*.npz file")
        _arrays_of(file)

    @classmethod
    def open(cls, file: Path | None) -> Self:
        """The body of a model file. Raises WardposeError as `check`."""
        cls.check(file)
        assert file is not None
        return cls(file)

    def __init__(self, file: Path) -> None:
        arrays = _arrays_of(file)
        sex = [word for word in ("female", "male") if word in file.stem.lower()]
        self._sex = sex[0] if sex else None
        self._template = arrays["v_template"].astype(np.float64)
        self._shape_basis = np.ascontiguousarray(arrays["shapedirs"][:, :, :_BETAS].astype(np.float64))
        self._pose_basis = np.ascontiguousarray(arrays["posedirs"].astype(np.float32).reshape(3 * _VERTICES, -1))
        self._regressor = sparse.csr_array(arrays["J_regressor"].astype(np.float64))
        self._parents = (-1, *(int(parent) for parent in arrays["kintree_table"][0, 1:]))
        weights = arrays["weights"].astype(np.float32)
        self._weights = sparse.csr_array(weights / weights.sum(1, keepdims=True))
        triangles = np.ascontiguousarray(arrays["f"].astype(np.int32))
        average = self._rest_arrays(np.zeros(_BETAS))
        self._topology = Topology(triangles, _BONE_NAMES, self._parents, np.asarray(self._weights.toarray()), *average)
        vertices, heads = average
        self._joint_skin = joint_skin(
            self._topology, np.concatenate([vertices[list(_FACE_VERTICES)], heads[list(_LIMB_KEYPOINTS)]])
        )

    @property
    def topology(self) -> Topology:
        return self._topology

    def sample_shape(self, rng: np.random.Generator, age_years: float) -> Shape:
        """Ten normal betas within ±1, as in the paper. Age only dresses the person: SMPL-X's bodies are adults'."""
        betas = rng.standard_normal(_BETAS)
        while (outside := np.abs(betas) > 1.0).any():
            betas[outside] = rng.standard_normal(int(outside.sum()))
        sex = self._sex or ("female", "male")[int(rng.integers(2))]
        return Shape(max(age_years, 18.0), sex, {f"beta{k}": float(beta) for k, beta in enumerate(betas)})

    def _rest_arrays(self, betas: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Vertices and joints at rest, z up and facing −y."""
        shaped = self._template + self._shape_basis @ betas
        turn = ANNY_FROM_SMPLX.T
        return (shaped @ turn).astype(np.float32), np.asarray(self._regressor @ shaped @ turn)

    def rest(self, shape: Shape) -> RestBody:
        vertices, heads = self._rest_arrays(np.array([shape.parameters[f"beta{k}"] for k in range(_BETAS)]))
        return RestBody(shape, vertices, heads, *height_and_bmi(vertices, self._topology.triangles))

    def pose(self, rest: RestBody, pose: Pose) -> PosedBody:
        local = np.tile(np.eye(3), (_JOINTS, 1, 1))
        local[1:22] = Rotation.from_rotvec(pose.joints).as_matrix()
        local[25:] = Rotation.from_rotvec(pose.hands.reshape(30, 3)).as_matrix()
        # What skinning gets wrong at bent joints, corrected before it: linear in the rotations' difference from none.
        change = (local[1:] - np.eye(3)).ravel().astype(np.float32)
        corrected = (self._pose_basis @ change).reshape(-1, 3) @ ANNY_FROM_SMPLX.T.astype(np.float32)
        c = ANNY_FROM_SMPLX
        rotation, position = np.empty_like(local), np.empty((_JOINTS, 3))
        rotation[0], position[0] = pose.root @ c.T, pose.pelvis
        for bone, parent in enumerate(self._parents[1:], start=1):
            rotation[bone] = rotation[parent] @ (c @ local[bone] @ c.T)
            position[bone] = position[parent] + rotation[parent] @ (rest.heads[bone] - rest.heads[parent])
        shift = position - np.einsum("bij,bj->bi", rotation, rest.heads)
        bones = np.concatenate([rotation, shift[:, :, None]], axis=2).reshape(-1, 12).astype(np.float32)
        blend = (self._weights @ bones).reshape(-1, 3, 4)
        blend[:, :, 3] += np.einsum("vij,vj->vi", blend[:, :, :3], corrected)
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], rest.vertices) + blend[:, :, 3]
        keypoints = np.concatenate([vertices[list(_FACE_VERTICES)], position[list(_LIMB_KEYPOINTS)]])
        return PosedBody(vertices, keypoints, blend, pose)

    def joint_positions(self, rest: RestBody) -> dict[str, NDArray[np.float64]]:
        relative = (rest.heads - rest.heads[0]) @ ANNY_FROM_SMPLX
        return {joint: relative[bone] for bone, joint in enumerate(("pelvis", *JOINTS))}

    @property
    def joint_skin(self) -> NDArray[np.bool_]:
        return self._joint_skin
