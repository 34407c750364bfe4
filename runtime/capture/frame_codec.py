"""A frame as bytes: a JSON description and the raw planes that follow it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.json_text import parse_json
from runtime.frames import Frame, ImuSample, known_origin

_PLANES: dict[str, np.dtype[Any]] = {
    "color": np.dtype("<u1"), "depth": np.dtype("<u2"), "infrared": np.dtype("<u2"), "jpeg": np.dtype("<u1"),
}  # fmt: skip


def encode_frame(frame: Frame) -> tuple[bytes, list[memoryview]]:
    """The description (JSON, UTF-8) and the planes' bytes in the order it lists them; planes are not copied
    where they are contiguous already."""
    planes: list[dict[str, Any]] = []
    blobs: list[memoryview] = []
    for name, dtype in _PLANES.items():
        plane = getattr(frame, name)
        if plane is not None:
            planes.append({"name": name, "shape": list(plane.shape)})
            # A flat byte view: memoryviews of several dimensions can't be cast where one of them is 0.
            blobs.append(memoryview(np.ascontiguousarray(plane, dtype=dtype).reshape(-1).view(np.uint8).data))
    description: dict[str, Any] = {
        "timestamp_s": float(frame.timestamp_s),
        "index": int(frame.index),
        "source": frame.source,
        "origin": frame.origin,
        "planes": planes,
        "camera": frame.camera and frame.camera.to_dict(),
        "depth_camera": frame.depth_camera and frame.depth_camera.to_dict(),
        "color_from_depth": _listed(frame.color_from_depth),
        "color_from_imu": _listed(frame.color_from_imu),
        "imu": None
        if frame.imu is None
        else {
            "acceleration": np.asarray(frame.imu.acceleration).tolist(),
            "angular_velocity": np.asarray(frame.imu.angular_velocity).tolist(),
            "timestamp_s": float(frame.imu.timestamp_s),
        },
    }
    return json.dumps(description, separators=(",", ":")).encode(), blobs


def decode_frame(description: bytes, payload: NDArray[np.uint8]) -> Frame:
    """The frame of a description and its payload, a flat uint8 array; the planes are views into it.

    Raises `ValueError` where they don't belong together or are damaged.
    """
    try:
        values = parse_json(description)
        planes = _split(values["planes"], payload)
        imu = values["imu"]
        return Frame(
            color=planes["color"],
            depth=planes.get("depth"),
            infrared=planes.get("infrared"),
            timestamp_s=float(values["timestamp_s"]),
            index=int(values["index"]),
            source=str(values["source"]),
            origin=known_origin(values["origin"]),
            camera=_camera(values["camera"]),
            depth_camera=_camera(values["depth_camera"]),
            jpeg=planes.get("jpeg"),
            color_from_depth=_matrix(values["color_from_depth"]),
            color_from_imu=_matrix(values["color_from_imu"]),
            imu=None
            if imu is None
            else ImuSample(
                np.array(imu["acceleration"], dtype=np.float64),
                np.array(imu["angular_velocity"], dtype=np.float64),
                float(imu["timestamp_s"]),
            ),
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"frame description is damaged: {type(error).__name__}: {error}") from None


def _listed(matrix: NDArray[np.float64] | None) -> list[Any] | None:
    return None if matrix is None else np.asarray(matrix).tolist()


def _matrix(values: list[Any] | None) -> NDArray[np.float64] | None:
    return None if values is None else np.array(values, dtype=np.float64)


def _camera(values: Mapping[str, Any] | None) -> CameraModel | None:
    return None if values is None else CameraModel.from_dict(values)


def _split(planes: list[dict[str, Any]], payload: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    offset = 0
    for plane in planes:
        name, shape = plane["name"], tuple(int(n) for n in plane["shape"])
        dtype = _PLANES[name]
        if any(n < 0 for n in shape):
            raise ValueError(f"{name} has a negative size: {shape}")
        count = 1
        for n in shape:
            count *= n
        end = offset + count * dtype.itemsize
        if end > len(payload):
            raise ValueError(f"{name} needs {end - offset} bytes, {len(payload) - offset} are there")
        found[name] = payload[offset:end].view(dtype).reshape(shape)
        offset = end
    if offset != len(payload):
        raise ValueError(f"planes need {offset} bytes, the payload has {len(payload)}")
    return found
