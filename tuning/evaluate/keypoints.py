"""How well skeletons lie on people: COCO's figures, and each person's own similarity."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linear_sum_assignment

from runtime.detections import Detections, iou_matrix
from runtime.skeleton import OKS_SIGMAS, Skeletons
from tuning.coco_folder import Picture
from tuning.confidence import FEWEST_JOINTS, Joints, expected_calibration_error, held_against, joined
from tuning.evaluate.coco import score_keypoints
from tuning.evaluate.joint_errors import errors_cm, true_joints

# A box that overlaps a person less is somebody else's.
_SAME_PERSON_IOU = 0.3
_SURE = 0.2  # as in the paper


class PostureFigures(BaseModel):
    """Mean similarity of the people of one posture."""

    mean_oks: float = Field(title="Mean OKS, labelled joints")
    mean_oks_visible: float | None = Field(title="Mean OKS, visible joints")
    people: int = Field(title="People")


class KeypointFigures(BaseModel):
    """AP, AP50, AR: COCO's, 0…1. mean_oks: mean over people of the similarity of their labelled joints, whatever the
    skeleton's confidence; one whom no box was found for counts 0. mean_oks_visible: of their visible joints (COCO's
    visibility 2) alone. AP_hidden_right, AP_visible_right, AP_all_right: what AP would be if such joints were right,
    which tells where it is lost: under blankets, in plain sight, or with whom no box was found for. oks, seen: each
    person's own, by the annotation's id."""

    model_config = ConfigDict(extra="forbid")

    AP: float = Field(title="AP over OKS 0.50:0.95")
    AP50: float = Field(title="AP at OKS 0.50")
    AR: float = Field(title="AR over OKS 0.50:0.95")
    AP_visible: float | None = Field(default=None, title="AP over OKS 0.50:0.95 of visible joints alone")
    AP_hidden_right: float | None = Field(default=None, title="AP if of whoever is found the hidden joints lay right")
    AP_visible_right: float | None = Field(default=None, title="AP if of whoever is found the visible joints lay right")
    AP_all_right: float | None = Field(default=None, title="AP if of whoever is found all joints lay right")
    mean_oks: float = Field(title="Mean OKS, labelled joints")
    mean_oks_visible: float | None = Field(default=None, title="Mean OKS, visible joints")
    people: int = Field(title="People with labelled joints")
    images: int = Field(default=0, title="Pictures")
    error_cm: float | None = Field(default=None, title="Median error of a visible joint (cm), where space is known")
    within_10_cm: float | None = Field(default=None, title="Share of visible joints within 10 cm")
    postures: dict[str, PostureFigures] = Field(default_factory=dict, title="By posture, where the file knows it")
    oks: dict[int, float] = Field(default_factory=dict, title="OKS of each person with labelled joints")
    seen: dict[int, float] = Field(default_factory=dict, title="OKS of the visible joints of each who shows any")
    cm: dict[int, float] = Field(default_factory=dict, title="Mean error of each one's visible joints (cm)")
    confidence_error: float | None = Field(
        default=None, title="Expected calibration error of a joint's confidence, where there are enough joints"
    )
    confidence_joints: int = Field(default=0, title="Joints it is of")

    def figures(self) -> dict[str, float]:
        """The figures a model card keeps."""
        kept = {"keypoints_AP": self.AP, "keypoints_AP50": self.AP50, "keypoints_mean_oks": self.mean_oks}
        return {name: round(value, 4) for name, value in kept.items()} | {"people": self.people}


def similarity(
    found: NDArray[np.floating], truth: NDArray[np.floating], area: float, counted: NDArray[np.bool_]
) -> float:
    """OKS of one skeleton (17, 2) with the truth (17, 2), over the joints `counted` (17,), at least one; area in
    pixels². COCO's definition: mean of exp(-d² / (2 area (2 sigma)²))."""
    squared = ((np.asarray(found, np.float64) - truth) ** 2).sum(1)
    variance = (2 * OKS_SIGMAS) ** 2
    return float(np.exp(-squared / (2 * variance * (area + np.spacing(1))))[counted].mean())


def summarise_keypoints(
    pictures: Sequence[Picture],
    found: Mapping[int, Skeletons],
    people: Mapping[int, Detections],
    ranks: Mapping[int, NDArray[np.float64]],
) -> KeypointFigures:
    """The figures of the skeletons found in each picture, by its id. people: the boxes they were found in, in their
    order; ranks: what each skeleton is ranked by."""
    figures = score_keypoints(pictures, found, ranks)
    partners = {picture.id: _partners(picture, people[picture.id]) for picture in pictures}

    def ap_with(*visibility: int) -> float:
        righted = {p.id: _righted(p, found[p.id], partners[p.id], visibility) for p in pictures}
        return score_keypoints(pictures, righted, ranks).AP

    seen = [_of_visible_joints(picture) for picture in pictures]
    labelled = [
        person for picture in pictures for person in _similarities(picture, found[picture.id], partners[picture.id])
    ]
    joints = np.concatenate([person.cm for person in labelled]) if labelled else np.empty(0)
    joints = joints[np.isfinite(joints)]
    believed = joined([person.believed for person in labelled])
    by_posture: dict[str, list[_Similarity]] = {}
    for person in labelled:
        if person.posture:
            by_posture.setdefault(person.posture, []).append(person)
    return KeypointFigures(
        AP=figures.AP, AP50=figures.AP50, AR=figures.AR, people=len(labelled), images=len(pictures),
        AP_visible=score_keypoints(seen, found, ranks).AP,
        AP_hidden_right=ap_with(1), AP_visible_right=ap_with(2), AP_all_right=ap_with(1, 2),
        mean_oks=_mean([person.labelled for person in labelled]) or 0.0,
        mean_oks_visible=_mean([person.visible for person in labelled]),
        postures={
            posture: PostureFigures(
                mean_oks=_mean([person.labelled for person in rows]) or 0.0,
                mean_oks_visible=_mean([person.visible for person in rows]),
                people=len(rows),
            )
            for posture, rows in sorted(by_posture.items())
        },
        oks={person.id: person.labelled for person in labelled},
        seen={person.id: person.visible for person in labelled if person.visible is not None},
        error_cm=float(np.median(joints)) if len(joints) else None,
        within_10_cm=float((joints <= 10).mean()) if len(joints) else None,
        cm={person.id: float(np.nanmean(person.cm)) for person in labelled if np.isfinite(person.cm).any()},
        confidence_error=(
            expected_calibration_error(believed.score, believed.right)
            if len(believed.score) >= FEWEST_JOINTS
            else None
        ),
        confidence_joints=len(believed.score),
    )  # fmt: skip


def _of_visible_joints(picture: Picture) -> Picture:
    """The picture as if a joint under a blanket had no label, as where a person who labels can't tell its place."""
    keypoints = np.where(picture.keypoints[..., 2:] == 2, picture.keypoints, 0.0)
    return replace(picture, keypoints=keypoints)


def _righted(
    picture: Picture, skeletons: Skeletons, partners: Mapping[int, int], visibility: Collection[int]
) -> Skeletons:
    """The skeletons, of whoever has a box, with the joints of such a visibility where they truly are."""
    keypoints = skeletons.keypoints.copy()
    for person, box in partners.items():
        truth = picture.keypoints[person]
        told = np.isin(truth[:, 2], [*visibility])
        keypoints[box, told] = truth[told, :2]
    return replace(skeletons, keypoints=keypoints)


def mean_confidence(skeletons: Skeletons) -> NDArray[np.float64]:
    """(N,) mean confidence of the keypoints a skeleton is sure of, which COCO's figures rank it by."""
    sure = skeletons.score >= _SURE
    total = np.where(sure, skeletons.score, 0.0).sum(1)
    mean: NDArray[np.float64] = total / np.maximum(sure.sum(1), 1)
    return mean


@dataclass(frozen=True, slots=True)
class _Similarity:
    """Of the person of the annotation `id`: OKS of the labelled and of the visible joints, None where none is; cm:
    (17,) errors, NaN where unknown; believed: the joints beside their confidence, of whom a box was found for."""

    id: int
    posture: str
    labelled: float
    visible: float | None
    cm: NDArray[np.float64]
    believed: Joints


def _similarities(picture: Picture, skeletons: Skeletons, partner: Mapping[int, int]) -> list[_Similarity]:
    """How well the skeletons lie on each person of a picture who has labelled joints."""
    joints = true_joints(picture)
    rows: list[_Similarity] = []
    for person in _labelled(picture).tolist():
        truth, area = picture.keypoints[person], float(picture.areas[person])
        visible = truth[:, 2] == 2
        who = int(picture.ids[person]), picture.postures[person]
        if person not in partner:
            rows.append(_Similarity(*who, 0.0, 0.0 if visible.any() else None, np.full(len(truth), np.nan), joined(())))
            continue
        skeleton = skeletons.keypoints[partner[person]]
        rows.append(
            _Similarity(
                *who,
                similarity(skeleton, truth[:, :2], area, truth[:, 2] > 0),
                similarity(skeleton, truth[:, :2], area, visible) if visible.any() else None,
                np.full(len(truth), np.nan)
                if joints is None or picture.space is None
                else errors_cm(skeleton, truth, joints[person], picture.space),
                # Of drawn people each joint in the picture is labelled.
                held_against(truth, skeleton, skeletons.score[partner[person]], every_joint_labelled=picture.drawn),
            )
        )
    return rows


def _labelled(picture: Picture) -> NDArray[np.intp]:
    """Indices of the people who count and have labelled joints."""
    return np.flatnonzero(~picture.ignored & (picture.keypoints[..., 2] > 0).any(1))


def _partners(picture: Picture, boxes: Detections) -> dict[int, int]:
    """The box of each person with labelled joints who has one, by their indices."""
    counted = _labelled(picture)
    if not len(counted) or not len(boxes):
        return {}
    overlap = iou_matrix(picture.boxes[counted], boxes.xyxy)
    return {
        int(counted[person]): int(box)
        for person, box in zip(*linear_sum_assignment(-overlap), strict=True)
        if overlap[person, box] >= _SAME_PERSON_IOU
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
