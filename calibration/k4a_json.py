"""Writing a camera's intrinsics and extrinsics as an Azure Kinect's calibration JSON: `read_k4a_calibration` undone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.intrinsics import COLOR_MODES, DEPTH_MODES, MODEL, Modes

# Used where a camera has no depth: the format wants one. Narrow field of view, lens without distortion.
NOMINAL_DEPTH = CameraModel(640, 576, 504.0, 504.0, 319.5, 287.5)


def k4a_calibration_json(
    color: CameraModel,
    depth: CameraModel | None = None,
    color_from_depth: NDArray[np.float64] | None = None,
    color_from_imu: NDArray[np.float64] | None = None,
    *,
    serial: str = "",
) -> bytes:
    """The JSON (UTF-8) of one colour and one depth camera and a motion sensor; transforms (4, 4), metres.

    What is None stands as a nominal part at the colour camera's place. Raises WardposeError for a picture size that an
    Azure Kinect does not have.
    """
    identity = np.eye(4)
    color_from_depth = identity if color_from_depth is None else color_from_depth
    imu_from_color = identity if color_from_imu is None else np.linalg.inv(color_from_imu)
    imu_from_depth = np.asarray(imu_from_color @ color_from_depth, dtype=np.float64)
    depth = depth or NOMINAL_DEPTH
    information = {
        "Cameras": [
            _camera("D0", "Depth", depth, DEPTH_MODES, identity, (1024, 1024)),
            _camera("PV0", "PhotoVideo", color, COLOR_MODES, color_from_depth, (4096, 3072)),
        ],
        "InertialSensors": [_inertial("Gyro", imu_from_depth), _inertial("Accelerometer", imu_from_depth)],
        "Metadata": {"SerialId": serial, "Version": {"Major": 1, "Minor": 2}, "DeviceName": "wardpose", "Notes": ""},
    }
    return json.dumps({"CalibrationInformation": information}, separators=(",", ":")).encode()


def _camera(
    location: str, purpose: str, camera: CameraModel, modes: Modes, from_depth: NDArray[np.float64],
    sensor: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    size = (camera.width, camera.height)
    if size not in modes:
        known = ", ".join(f"{width}×{height}" for width, height in modes)
        raise WardposeError(
            f"an Azure Kinect's {purpose.lower()} camera has no mode {size[0]}×{size[1]}",
            where="Azure Kinect calibration", mend=f"use one of: {known}",
        )  # fmt: skip
    (width, height), (left, top) = modes[size]
    if len(camera.distortion) > 8:
        raise WardposeError(
            "an Azure Kinect's calibration has no thin prism", where="Azure Kinect calibration",
            mend="calibrate the lens with eight coefficients",
        )  # fmt: skip
    k1, k2, p1, p2, k3, k4, k5, k6 = camera.distortion
    parameters = [
        (camera.cx + 0.5 + left) / width, (camera.cy + 0.5 + top) / height, camera.fx / width, camera.fy / height,
        k1, k2, k3, k4, k5, k6, 0, 0, p2, p1,
    ]  # fmt: skip
    return {
        "Intrinsics": {"ModelParameterCount": 14, "ModelParameters": parameters, "ModelType": MODEL},
        "Location": f"CALIBRATION_CameraLocation{location}", "Purpose": f"CALIBRATION_CameraPurpose{purpose}",
        "MetricRadius": 0, "Rt": _rt(from_depth), "SensorHeight": sensor[1], "SensorWidth": sensor[0],
        "Shutter": "CALIBRATION_ShutterTypeUndefined", "ThermalAdjustmentParams": {"Params": [0] * 12},
    }  # fmt: skip


def _inertial(kind: str, from_depth: NDArray[np.float64]) -> dict[str, Any]:
    """A sensor whose readings need no correction."""
    unmixed = [float(row == column and term == 0) for row in range(3) for column in range(3) for term in range(4)]
    return {
        "BiasTemperatureModel": [0] * 12, "BiasUncertainty": [0] * 3, "Id": "CALIBRATION_InertialSensorId_LSM6DSM",
        "MixingMatrixTemperatureModel": unmixed, "ModelTypeMask": 0, "Noise": [0] * 6, "Rt": _rt(from_depth),
        "SecondOrderScaling": [0] * 9, "SensorType": f"CALIBRATION_InertialSensorType_{kind}",
        "TemperatureBounds": [5, 60], "TemperatureC": 0,
    }  # fmt: skip


def _rt(transform: NDArray[np.float64]) -> dict[str, list[float]]:
    return {"Rotation": transform[:3, :3].ravel().tolist(), "Translation": transform[:3, 3].tolist()}
