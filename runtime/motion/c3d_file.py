"""Skeletons as C3D, the format of motion laboratories (c3d.org): a marker for each joint of each person.

Written plainly: Intel byte order, real numbers, one block of parameters. Where joints were measured, they are metres in
the bed frame; else pixels of the frame, with z = 0, and the file says so in POINT:UNITS.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from runtime.motion.motion import EvenMotion, Motion
from runtime.skeleton import KEYPOINTS

_BLOCK, _INTEL, _MOST_FRAMES = 512, 84, 65535
_LABELS_A_PARAMETER = 255
_UNSEEN = -1.0


def write_c3d(motion: Motion, file: Path) -> None:
    """Write `file` anew. Raises WardposeError where there is nobody, or more than the format can hold."""
    even = motion.evenly()
    frames = len(even.joints)
    if not frames or not even.people:
        raise WardposeError("there is nobody in it", where=str(file), mend="choose another recording")
    if frames > _MOST_FRAMES:
        raise WardposeError(
            f"C3D holds {_MOST_FRAMES} frames, this has {frames}", where=str(file), mend="export it as csv or bids"
        )
    points, units = _points(even, metres=motion.in_metres)
    labels = [f"P{person}_{joint}" for person in even.people for joint in KEYPOINTS]
    if len(labels) > _LABELS_A_PARAMETER:
        raise WardposeError(
            f"C3D holds {_LABELS_A_PARAMETER // len(KEYPOINTS)} people, this has {len(even.people)}", where=str(file),
            mend="export one person with --person",
        )  # fmt: skip
    parameters = _parameters(labels, units, even.rate, frames)
    data = points.astype("<f4").tobytes()
    write_bytes(
        file, _header(len(labels), frames, even.rate, 2 + len(parameters) // _BLOCK) + parameters + _padded(data)
    )


def _points(even: EvenMotion, *, metres: bool) -> tuple[NDArray[np.float64], str]:
    """(F, P · 17, 4) x, y, z and residual, −1 where a joint was not seen; and their unit."""
    frames = len(even.joints)
    places = even.joints_m[..., :3] if metres else np.insert(even.joints[..., :2], 2, 0, axis=-1)
    seen = np.isfinite(places).all(-1, keepdims=True)
    points = np.concatenate([np.where(seen, places, 0), np.where(seen, 0, _UNSEEN)], -1)
    return points.reshape(frames, -1, 4), "m" if metres else "px"


def _header(markers: int, frames: int, rate: float, data_block: int) -> bytes:
    head = struct.pack("<BB5H", 2, 0x50, markers, 0, 1, frames, 10) + struct.pack("<fHHf", -1.0, data_block, 0, rate)
    return head.ljust(_BLOCK, b"\0")


def _parameters(labels: list[str], units: str, rate: float, frames: int) -> bytes:
    told = [
        _group(1, "POINT", "joints of COCO's skeleton"),
        _parameter(1, "USED", 2, (), struct.pack("<H", len(labels))),
        _parameter(1, "FRAMES", 2, (), struct.pack("<H", frames)),
        _parameter(1, "SCALE", 4, (), struct.pack("<f", -1.0)),
        _parameter(1, "RATE", 4, (), struct.pack("<f", rate)),
        _parameter(1, "UNITS", -1, (len(units),), units.encode()),
        _texts(1, "LABELS", labels),
        _texts(1, "DESCRIPTIONS", labels),
        _group(2, "ANALOG", "none"),
        _parameter(2, "USED", 2, (), struct.pack("<H", 0)),
        _parameter(2, "RATE", 4, (), struct.pack("<f", rate)),
        _parameter(2, "GEN_SCALE", 4, (), struct.pack("<f", 1.0)),
        _group(3, "MANUFACTURER", "who wrote it"),
        _parameter(3, "SOFTWARE", -1, (8,), b"wardpose"),
    ]
    # A parameter block starts with its place, a fixed number, its blocks and the processor; the last entry points on 0.
    size = 4 + sum(map(len, told)) + 2
    blocks = -(-(size + 512) // _BLOCK)
    start = 1 + 1 + blocks
    told.insert(2, _parameter(1, "DATA_START", 2, (), struct.pack("<H", start)))
    body = struct.pack("<BBBB", 1, 0x50, blocks, _INTEL) + b"".join(told) + b"\0\0"
    return body.ljust(blocks * _BLOCK, b"\0")


def _group(number: int, name: str, told: str) -> bytes:
    return _entry(name, -number, b"", told)


def _parameter(group: int, name: str, kind: int, sides: tuple[int, ...], data: bytes) -> bytes:
    return _entry(name, group, struct.pack("<bB", kind, len(sides)) + bytes(sides) + data, "")


def _texts(group: int, name: str, texts: list[str]) -> bytes:
    longest = max(map(len, texts))
    data = b"".join(text.ljust(longest).encode("ascii") for text in texts)
    return _parameter(group, name, -1, (longest, len(texts)), data)


def _entry(name: str, group: int, body: bytes, told: str) -> bytes:
    """A group or a parameter: name, where the next one stands, what it is, and a description."""
    after = body + bytes([len(told)]) + told.encode("ascii")
    return struct.pack("<bb", len(name), group) + name.encode("ascii") + struct.pack("<H", 2 + len(after)) + after


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)
