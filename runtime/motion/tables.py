"""Skeletons as CSV and as a BIDS-motion folder (bids-specification, modality-specific files, motion)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.atomic import whole_folder, write_text
from calibration.errors import WardposeError
from runtime.motion.motion import EvenMotion, Motion
from runtime.skeleton import KEYPOINTS

_BIDS_VERSION = "1.10.0"
_TASK, _SYSTEM = "ward", "wardpose"
_CHANNELS = ("name", "component", "type", "tracked_point", "units", "reference_frame")


def write_csv(motion: Motion, file: Path) -> None:
    """One row a person, frame and joint, with a header: the long form that statistics programs want."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["time_s", "person", "role", "place", "joint", "x_px", "y_px", "score", "x_m", "y_m", "z_m", "error_m"]
    )
    for row in range(len(motion.time_s)):
        who = [f"{motion.time_s[row]:.6f}", int(motion.person[row]), motion.role[row], motion.place[row]]
        for joint, name in enumerate(KEYPOINTS):
            numbers = [*motion.joints[row, joint], *motion.joints_m[row, joint]]
            writer.writerow([*who, name, *(_number(value, "") for value in numbers)])
    write_text(file, text.getvalue())


def write_bids(motion: Motion, folder: Path) -> list[Path]:
    """A BIDS data set with one subject for each person; returns its motion files. Raises WardposeError where there is
    nobody, or something at `folder`.

    Positions are metres in the bed frame where joints were measured, else pixels of the frame. Times are the latencies
    of each sample; who is not seen has n/a.
    """
    if folder.exists() and any(folder.iterdir()):
        raise WardposeError("there is something in it", where=str(folder), mend="name a folder that isn't there")
    even, metres = motion.evenly(), motion.in_metres
    if not even.people:
        raise WardposeError("there is nobody in it", where=str(folder), mend="choose another recording")
    with whole_folder(folder, mode=0o700) as workplace:
        return [folder / path for path in _write_bids(motion, even, workplace, metres=metres)]


def _write_bids(motion: Motion, even: EvenMotion, folder: Path, *, metres: bool) -> list[Path]:
    """The motion files, relative to the folder."""
    axes, units, frame = ("xyz", "m", "bed") if metres else ("xy", "px", "picture")
    channels = [("latency", "n/a", "LATENCY", "n/a", "s", "n/a")]
    for joint in KEYPOINTS:
        channels += [(f"{joint}_{axis}", axis, "POS", joint, units, frame) for axis in axes]
        channels.append((f"{joint}_score", "n/a", "MISC", joint, "n/a", "n/a"))
    files, scans = [], {}
    for who, person in enumerate(even.people):
        place = folder / f"sub-{person}" / "motion"
        place.mkdir(parents=True, exist_ok=True)
        stem = f"sub-{person}_task-{_TASK}_tracksys-{_SYSTEM}"
        where = even.joints_m[:, who, :, :3] if metres else even.joints[:, who, :, :2]
        values = np.concatenate([where, even.joints[:, who, :, 2:3]], -1).reshape(len(where), -1)
        lines = [
            "\t".join([f"{step / even.rate:.6f}", *(_number(value, "n/a") for value in row)])
            for step, row in enumerate(values)
        ]
        motion_file = place / f"{stem}_motion.tsv"
        write_text(motion_file, "\n".join(lines) + "\n")
        write_text(place / f"{stem}_channels.tsv", "\n".join("\t".join(row) for row in [_CHANNELS, *channels]) + "\n")
        _write_json(place / f"{stem}_channels.json", {"reference_frame": {"Levels": {frame: _frame(metres=metres)}}})
        _write_json(place / f"{stem}_motion.json", _sidecar(even.rate, len(lines), channels, metres=metres))
        scans[person] = motion_file.relative_to(folder / f"sub-{person}").as_posix()
        files.append(motion_file.relative_to(folder))
    for person, name in scans.items():
        began = motion.began.removesuffix("+00:00").removesuffix("Z")
        write_text(folder / f"sub-{person}" / f"sub-{person}_scans.tsv", f"filename\tacq_time\n{name}\t{began}\n")
    write_text(folder / "participants.tsv", "".join(["participant_id\n", *(f"sub-{p}\n" for p in even.people)]))
    about = {"Name": "skeletons of a bedside", "BIDSVersion": _BIDS_VERSION, "DatasetType": "raw"}
    _write_json(folder / "dataset_description.json", about)
    write_text(
        folder / "README", "Joints of people beside and in a bed, as wardpose saw them. A subject is whoever kept one "
        "track number, so that one person may be several subjects. No picture was kept.\n",
    )  # fmt: skip
    return files


def _sidecar(rate: float, samples: int, channels: Sequence[tuple[str, ...]], *, metres: bool) -> dict[str, Any]:
    kinds = [row[2] for row in channels]
    return {
        "TaskName": _TASK, "TaskDescription": "whatever happens in and beside a hospital bed",
        "SamplingFrequency": rate, "MotionChannelCount": len(channels), "POSChannelCount": kinds.count("POS"),
        "MISCChannelCount": kinds.count("MISC"), "LATENCYChannelCount": 1, "TrackedPointsCount": len(KEYPOINTS),
        "TrackingSystemName": _SYSTEM, "RecordingDuration": round(samples / rate, 6), "RecordingType": "continuous",
        "MissingValues": "n/a", "Manufacturer": "wardpose",
        "SoftwareFilters": "One-Euro filter of each joint in the picture",
        "SubjectArtefactDescription": "joints that are hidden are guessed; score tells how likely each is right",
        **({} if metres else {"Comment": "no depth was measured: positions are pixels"}),
    }  # fmt: skip


def _frame(*, metres: bool) -> dict[str, str]:
    if metres:
        return {
            "SpatialAxes": "FLU", "RotationRule": "n/a", "RotationOrder": "n/a",
            "Description": "origin at the mattress-top centre; x to the foot end, y to the patient's left, z up",
        }  # fmt: skip
    return {
        "SpatialAxes": "RD", "RotationRule": "n/a", "RotationOrder": "n/a",
        "Description": "the camera's picture; origin at the middle of its first pixel, x to the right, y down",
    }  # fmt: skip


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def _number(value: float, absent: str) -> str:
    return f"{float(value):.6g}" if np.isfinite(value) else absent
