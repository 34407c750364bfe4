"""The default body: anny (code Apache-2.0; data MakeHuman CC0 and SOMA Apache-2.0), from infants to elders.

The only module that imports anny. anny gives the resting body and its bones; posing is ours (`retarget`), one sparse
product, so that clothes and hair move by the very transforms of the skin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from calibration.errors import WardposeError
from synth.body.body_model import Pose, PosedBody, RestBody, Shape, Topology
from synth.body.builds import draw_bmi, usual_bmi
from synth.body.coarsen import coarsened
from synth.body.joint_skin import joint_skin
from synth.body.measure import height_and_bmi
from synth.body.phenotypes import kinds_of
from synth.body.retarget import Retargeter

# Age in years against anny's own age axis: the anchors of its WHO-calibrated shape distribution.
_YEARS = (0.0, 1.0, 4.0, 11.0, 16.0, 18.0, 64.0, 110.0)
_ANNY_AGE = (0.0, 0.05, 0.215, 0.415, 0.67, 0.77, 0.83, 1.0)
# Beta parameters of its height axis for boys and girls at the same ages (the last holds from sixteen years on).
_HEIGHT_AGE = (0.0, 0.05, 0.22, 0.42, 0.67)
_HEIGHT_BETA = {
    "male": ((21.60, 51.98, 22.15, 13.40, 16.50), (58.60, 57.36, 45.86, 22.10, 25.66)),
    "female": ((29.52, 66.28, 31.82, 21.26, 13.68), (96.72, 74.54, 59.49, 23.98, 25.75)),
}
# Least and most of its weight axis. Beyond 0…1, where it is anny's own, thin men and heavy women and infants are met;
# further out than this, bodies stop looking like anybody's.
_WEIGHTS = (-0.25, 1.6)
AVERAGE_ADULT = Shape(
    45.0, "female",
    {"gender": 0.5, "age": 0.8, "muscle": 0.45, "weight": 0.5, "height": 0.4, "proportions": 0.5, "cupsize": 0.4,
     "firmness": 0.5, "african": 0.33, "asian": 0.33, "caucasian": 0.34},
)  # fmt: skip


def _shortest_edges(
    names: tuple[str, ...], weights: NDArray[np.float32], vertices: NDArray[np.float32], heads: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(V,) metres below which an edge at each vertex is too short to be worth its triangles: anny has three quarters
    of them in head, hands and feet, smaller than the pixels of a camera that sees a whole bed."""

    def moved_by(*parts: str) -> NDArray[np.bool_]:
        return np.asarray(weights[:, [any(part in name for part in parts) for name in names]].sum(1) > 0.5)

    eyes = heads[[names.index("eye.L"), names.index("eye.R")]].mean(0)
    shortest = np.full(len(vertices), 0.018, np.float32)
    shortest[moved_by("head", "foot", "toe")] = 0.010
    shortest[moved_by("wrist", "finger", "metacarpal")] = 0.008
    shortest[np.linalg.norm(vertices - (eyes - [0.0, 0.02, 0.03]), axis=1) < 0.075] = 0.0042  # the face
    shortest[moved_by("eye.")] = 0.0
    return shortest


def _carried_over(
    regressor: NDArray[np.float64], whole: NDArray[np.float32], kept: NDArray[np.intp]
) -> sparse.csr_array:
    """A keypoint regressor (17, V) for the kept vertices alone: each weight goes to the nearest of them, and the least
    change to the weights makes the keypoints of `whole` (V, 3) exactly what they were."""
    nearest = cKDTree(whole[kept]).query(whole)[1]
    found = np.zeros((len(regressor), len(kept)))
    np.add.at(found.T, nearest, regressor.T)
    points = whole.astype(np.float64)
    for row, before in zip(found, regressor, strict=True):
        used = np.flatnonzero(row)
        affine = np.column_stack([points[kept[used]], np.ones(len(used))])
        missing = np.append(before @ points, before.sum()) - row[used] @ affine
        row[used] += np.linalg.lstsq(affine.T, missing, rcond=None)[0]
    return sparse.csr_array(found)


def anny_cache() -> Path:
    """Where anny keeps its prepared data (about 900 MB, made once)."""
    return Path(os.environ.setdefault("ANNY_CACHE_DIR", str(Path(sys.prefix) / "share" / "wardpose" / "anny")))


class AnnyBody:
    """anny behind the `BodyModel` protocol. Making one takes a second from a warm cache, minutes from a cold one."""

    name = "anny"

    @staticmethod
    def check(file: Path | None) -> None:
        """anny brings its own data: naming a file is a mistake."""
        if file is not None:
            raise WardposeError(
                "the body anny takes no file", where="body_file", mend='leave it out, or body = "smplx"'
            )

    @classmethod
    def open(cls, file: Path | None) -> Self:
        """The body model, without a file. Raises WardposeError as `check`."""
        cls.check(file)
        return cls()

    def __init__(self, *, whole: bool = False) -> None:
        """whole: with every vertex of anny's, which bodies in pictures have too many of."""
        anny_cache()
        try:
            import anny
            import torch
            from anny.models.model_data import PHENOTYPE_VARIATIONS
        except ImportError as error:
            raise WardposeError(
                f"the body model anny cannot be imported ({error.name} is missing)", mend="run ./wardpose setup"
            ) from error
        torch.set_num_threads(1)  # measured: a second thread makes one body slower
        self._torch = torch
        with torch.no_grad():
            # Plain skinning is asked for because the default compiles kernels into the home directory; we skin anyway.
            self._model: Any = anny.Anny(phenotypes="all", skinning_method="lbs", extrapolate_phenotypes=True).to(
                dtype=torch.float32
            )
            regressor = anny.KeypointsRegressor.coco(self._model)
            parts = self._model.stacked_phenotype_blend_shapes_mask  # which kinds each of anny's blend shapes is of
            self._parts, self._no_parts = parts, 1 - parts
        self._anchors = {axis: self._model.anchors[axis].numpy() for axis in PHENOTYPE_VARIATIONS if axis != "race"}
        names = tuple(self._model.bone_labels)
        parents = tuple(int(parent) for parent in self._model.bone_parents)
        indices, values = self._model.vertex_bone_indices.numpy(), self._model.vertex_bone_weights.numpy()
        weights = np.zeros((len(indices), len(names)), np.float32)
        np.add.at(weights, (np.arange(len(indices))[:, None], indices), values)
        weights /= weights.sum(1, keepdims=True)
        self._retargeter = Retargeter(names, parents)
        vertices, heads = self._rest_arrays(AVERAGE_ADULT.parameters)
        shortest = _shortest_edges(names, weights, vertices, heads)
        kept, self._triangles = coarsened(
            vertices, self._model.faces.numpy().astype(np.int32), np.zeros_like(shortest) if whole else shortest
        )
        self._model.blendshapes = self._model.blendshapes[:, kept].contiguous()
        for name in ("template_vertices", "vertex_bone_weights", "vertex_bone_indices", "dense_vertex_bone_weights"):
            setattr(self._model, name, getattr(self._model, name)[kept].contiguous())
        # The first seventeen labels are COCO's, in COCO's order; the rest are feet.
        self._regressor = _carried_over(regressor.regression_weights.numpy()[:17].astype(np.float64), vertices, kept)
        vertices, weights = vertices[kept], weights[kept]
        self._weights = sparse.csr_array(weights)
        self._topology = Topology(self._triangles, names, parents, weights, vertices, heads)
        self._joint_skin = joint_skin(self._topology, self._regressor @ vertices.astype(np.float64))

    @property
    def topology(self) -> Topology:
        return self._topology

    def sample_shape(self, rng: np.random.Generator, age_years: float) -> Shape:
        """A person. Height follows WHO curves, weight `draw_bmi`."""
        sex = ("female", "male")[int(rng.integers(2))]
        age = float(np.interp(age_years, _YEARS, _ANNY_AGE))
        alpha, beta = (float(np.interp(age, _HEIGHT_AGE, column)) for column in _HEIGHT_BETA[sex])
        bmi = draw_bmi(rng, age_years)
        # Little muscle at either end: the starved have none left, and anny's muscles make the heaviest lighter.
        fit = float(np.interp(bmi / usual_bmi(age_years), (0.55, 0.8, 1.0, 1.25), (0.1, 1.0, 1.0, 0.05)))
        ancestry = rng.dirichlet((0.7, 0.7, 0.7))
        shape = Shape(
            age_years,
            sex,
            {
                "gender": float(rng.uniform(0.75, 1.0) if sex == "female" else rng.uniform(0.0, 0.25)),
                "age": age,
                "muscle": float(rng.uniform(0.0, 0.7)) * fit * min(age_years / 6.0, 1.0),
                "weight": 0.5,
                "height": min(float(rng.beta(alpha, beta)), 0.55),  # a taller adult outgrows a two-metre mattress
                "proportions": float(rng.uniform(0.25, 0.75)),
                "cupsize": float(rng.uniform(0.2, 0.8)),
                "firmness": float(rng.uniform(0.2, 0.7)),
                "african": float(ancestry[0]),
                "asian": float(ancestry[1]),
                "caucasian": float(ancestry[2]),
            },
        )
        return self.with_bmi(shape, bmi)

    def with_bmi(self, shape: Shape, bmi: float) -> Shape:
        """The same person, so thin or heavy as to have this body mass index, kg/m², or as near it as anny's bodies go.

        Muscle is given up where it is in the way. On either side of anny's average weight of 0.5 every vertex moves
        along a straight line.
        """
        weights = (0.0, 0.5, 1.0)
        thin, average, heavy = self._coefficients(*(shape.parameters | {"weight": weight} for weight in weights))
        start = self._rest_vertices(average)
        middle = height_and_bmi(start, self._triangles)[1]
        end, furthest = (thin, _WEIGHTS[0]) if bmi < middle else (heavy, _WEIGHTS[1])
        change = self._rest_vertices(end) - start
        steps = np.array([0.0, 1.0, 2.0 * abs(furthest - 0.5)])  # from the average to anny's end, and beyond
        bmis = [middle, *(height_and_bmi(start + step * change, self._triangles)[1] for step in steps[1:])]
        # Three points on a slightly bent line: a parabola through them, read the other way round.
        step = float(np.clip(np.polynomial.Polynomial.fit(bmis, steps, 2)(bmi), 0.0, steps[2]))
        if step > 1.0 and shape.parameters["muscle"] > 0.0:
            return self.with_bmi(replace(shape, parameters=shape.parameters | {"muscle": 0.0}), bmi)
        return replace(shape, parameters=shape.parameters | {"weight": 0.5 + step * (furthest - 0.5) / steps[2]})

    def _coefficients(self, *people: Mapping[str, float]) -> Any:
        """(B, K) tensor: how much of each blend shape the bodies with these parameters have."""
        kinds = self._torch.from_numpy(np.stack([kinds_of(person, self._anchors) for person in people]))
        shares = self._torch.prod(kinds[:, None] * self._parts + self._no_parts, dim=-1)
        return shares @ self._model.phenotype_blendshape_projection

    def _rest_vertices(self, coefficients: Any) -> NDArray[np.float32]:
        return np.asarray(self._model.get_rest_vertices(coefficients[None])[0].numpy())

    def _rest_arrays(self, parameters: Mapping[str, float]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        # Not by `get_rest_model`, which also works out how bones are turned: that takes long, and `retarget` knows.
        (coefficients,) = self._coefficients(parameters)
        heads = self._model.template_bone_heads + self._torch.einsum(
            "cpd, c -> pd", self._model.bone_heads_blendshapes, coefficients
        )
        return self._rest_vertices(coefficients), heads.numpy().astype(np.float64)

    def rest(self, shape: Shape) -> RestBody:
        vertices, heads = self._rest_arrays(shape.parameters)
        return RestBody(shape, vertices, heads, *height_and_bmi(vertices, self._triangles))

    def pose(self, rest: RestBody, pose: Pose) -> PosedBody:
        rotation, position = self._retargeter.bone_transforms(rest.heads, pose)
        shift = position - np.einsum("bij,bj->bi", rotation, rest.heads)
        bones = np.concatenate([rotation, shift[:, :, None]], axis=2).reshape(-1, 12).astype(np.float32)
        blend = (self._weights @ bones).reshape(-1, 3, 4)
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], rest.vertices) + blend[:, :, 3]
        return PosedBody(vertices, self._regressor @ vertices.astype(np.float64), blend, pose)

    def joint_positions(self, rest: RestBody) -> dict[str, NDArray[np.float64]]:
        return self._retargeter.joint_positions(rest.heads)

    @property
    def joint_skin(self) -> NDArray[np.bool_]:
        return self._joint_skin


@cache
def anny_body() -> AnnyBody:
    """The one instance of this process."""
    return AnnyBody()
