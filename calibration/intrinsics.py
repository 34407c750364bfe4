"""Where a camera's intrinsics come from: an Azure Kinect's factory calibration, or pictures of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.board import Board, BoardView, detect_board
from calibration.camera import CameraModel, Distortion
from calibration.errors import WardposeError
from calibration.json_text import parse_json

# The picture's size: the size to which the normalised intrinsics scale, and the crop's upper left corner in it.
# Source: Azure Kinect Sensor SDK, the camera modes' table (MIT).
Modes = dict[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]
COLOR_MODES: Modes = {
    (1280, 720): ((1280, 960), (0, 120)),
    (1920, 1080): ((1920, 1440), (0, 180)),
    (2560, 1440): ((2560, 1920), (0, 240)),
    (2048, 1536): ((2048, 1536), (0, 0)),
    (3840, 2160): ((3840, 2880), (0, 360)),
    (4096, 3072): ((4096, 3072), (0, 0)),
}
DEPTH_MODES: Modes = {
    (640, 576): ((1024, 1024), (192, 180)),
    (320, 288): ((512, 512), (96, 90)),
    (1024, 1024): ((1024, 1024), (0, 0)),
    (512, 512): ((512, 512), (0, 0)),
}
MODEL = "CALIBRATION_LensDistortionModelBrownConrady"
MEND = "copy the calibration from the camera or the recording again"
FEWEST_VIEWS = 6


@dataclass(frozen=True)
class K4aCalibration:
    """An Azure Kinect's factory calibration for one colour and one depth picture size.

    color_from_depth, accelerometer_from_depth, gyroscope_from_depth: (4, 4), metres; the last two are None where the
    file does not hold them. depth_radius: the largest distance from the axis on z = 1 at which depth is valid, or inf.
    """

    color: CameraModel
    depth: CameraModel
    color_from_depth: NDArray[np.float64]
    depth_radius: float = float("inf")
    accelerometer_from_depth: NDArray[np.float64] | None = None
    gyroscope_from_depth: NDArray[np.float64] | None = None

    @property
    def color_from_accelerometer(self) -> NDArray[np.float64] | None:
        """(4, 4), metres; None where the file does not say where the accelerometer sits."""
        if self.accelerometer_from_depth is None:
            return None
        return np.asarray(self.color_from_depth @ np.linalg.inv(self.accelerometer_from_depth), dtype=np.float64)


def read_k4a_calibration(
    source: bytes | str | Mapping[str, Any],
    color_size: tuple[int, int] = (1280, 720),
    depth_size: tuple[int, int] = (640, 576),
) -> K4aCalibration:
    """The calibration in an Azure Kinect's JSON, as the camera and its recordings carry it.

    source: the file's content or its parsed value. Sizes are (width, height) px. Raises WardposeError that names the
    field for anything that is not such a file, and for a size that the camera does not have.
    """
    root = _parse(source)
    cameras = _listed(root, "Cameras", "Location")
    depth_entry = _camera(cameras, "CALIBRATION_CameraLocationD0")
    color_entry = _camera(cameras, "CALIBRATION_CameraLocationPV0")
    inertial = _listed(root, "InertialSensors", "SensorType") if "InertialSensors" in root else {}
    radius = _numbers([depth_entry.get("MetricRadius") or 0], 1, "depth camera: MetricRadius")[0]
    reference = np.asarray(np.linalg.inv(_transform(depth_entry, "depth camera")), dtype=np.float64)
    return K4aCalibration(
        color=_model(color_entry, "color camera", COLOR_MODES, color_size),
        depth=_model(depth_entry, "depth camera", DEPTH_MODES, depth_size),
        color_from_depth=_transform(color_entry, "color camera") @ reference,
        depth_radius=float(radius) if radius > 0 else float("inf"),
        accelerometer_from_depth=_inertial(inertial, "CALIBRATION_InertialSensorType_Accelerometer", reference),
        gyroscope_from_depth=_inertial(inertial, "CALIBRATION_InertialSensorType_Gyro", reference),
    )


def _refusal(what: str) -> WardposeError:
    return WardposeError(what, where="Azure Kinect calibration", mend=MEND)


def _parse(source: bytes | str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, bytes | str):
        try:
            # The attachment of a recording ends in a NUL byte.
            text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
            source = parse_json(text.rstrip("\0\r\n\t "))
        except ValueError as error:
            raise _refusal(f"not JSON ({error})") from None
    root = source.get("CalibrationInformation") if isinstance(source, Mapping) else None
    if not isinstance(root, Mapping):
        raise _refusal("has no field CalibrationInformation")
    return root


def _listed(root: Mapping[str, Any], field: str, key: str) -> dict[str, Mapping[str, Any]]:
    entries = root.get(field)
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise _refusal(f"CalibrationInformation.{field} is no list of objects")
    return {str(entry.get(key)): entry for entry in entries}


def _camera(cameras: Mapping[str, Mapping[str, Any]], location: str) -> Mapping[str, Any]:
    if location not in cameras:
        raise _refusal(f"no camera at {location}")
    return cameras[location]


def _numbers(value: Any, count: int, field: str) -> NDArray[np.float64]:
    if not isinstance(value, list) or len(value) < count:
        raise _refusal(f"{field} needs {count} numbers, got {len(value) if isinstance(value, list) else 'none'}")
    try:
        numbers = np.array(value[:count], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _refusal(f"{field} holds something that is no number") from None
    if not np.isfinite(numbers).all():
        raise _refusal(f"{field} holds a number that is not finite")
    return numbers


def _model(entry: Mapping[str, Any], name: str, modes: Modes, size: tuple[int, int]) -> CameraModel:
    if size not in modes:
        known = ", ".join(f"{width}×{height}" for width, height in modes)
        raise WardposeError(
            f"the {name} has no mode {size[0]}×{size[1]}",
            where="Azure Kinect calibration",
            mend=f"choose one of: {known}",
        )
    intrinsics = entry.get("Intrinsics")
    if not isinstance(intrinsics, Mapping):
        raise _refusal(f"{name}: no field Intrinsics")
    if intrinsics.get("ModelType") != MODEL:
        raise _refusal(f"{name}: lens model {intrinsics.get('ModelType')!r} is not {MODEL}")
    cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, codx, cody, p2, p1 = _numbers(
        intrinsics.get("ModelParameters"), 14, f"{name}: Intrinsics.ModelParameters"
    ).tolist()
    if codx or cody:
        raise _refusal(f"{name}: a distortion centre off the principal point ({codx}, {cody}) is not supported")
    (scaled_width, scaled_height), (left, top) = modes[size]
    distortion: Distortion = (k1, k2, p1, p2, k3, k4, k5, k6)
    # The file's pixel corners lie at whole numbers, OpenCV's centres do: hence the half pixel.
    try:
        return CameraModel(
            size[0], size[1], fx * scaled_width, fy * scaled_height,
            cx * scaled_width - left - 0.5, cy * scaled_height - top - 0.5, distortion,
        )  # fmt: skip
    except ValueError as error:
        raise _refusal(f"{name}: {error}") from None


def _transform(entry: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """sensor_from_reference (4, 4), the rotation made exactly orthonormal (the file rounds it to single precision)."""
    rt = entry.get("Rt")
    if not isinstance(rt, Mapping):
        raise _refusal(f"{name}: no field Rt")
    rotation = _numbers(rt.get("Rotation"), 9, f"{name}: Rt.Rotation").reshape(3, 3)
    left, scales, right = np.linalg.svd(rotation)
    if not np.allclose(scales, 1, atol=1e-3) or np.linalg.det(rotation) < 0:
        raise _refusal(f"{name}: Rt.Rotation is no rotation")
    transform = np.eye(4)
    transform[:3, :3] = left @ right
    transform[:3, 3] = _numbers(rt.get("Translation"), 3, f"{name}: Rt.Translation")
    return transform


def _inertial(
    sensors: Mapping[str, Mapping[str, Any]], kind: str, reference: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    return _transform(sensors[kind], kind) @ reference if kind in sensors else None


@dataclass(frozen=True)
class IntrinsicsFit:
    """camera; rms_px over all corners; sigmas: one σ of fx, fy, cx, cy in px; views: how many pictures were used;
    left_out: indices of pictures in which the board was not found well enough."""

    camera: CameraModel
    rms_px: float
    sigmas: tuple[float, float, float, float]
    views: int
    left_out: tuple[int, ...] = ()


def calibrate_intrinsics(images: Sequence[NDArray[np.uint8]], board: Board) -> IntrinsicsFit:
    """Intrinsics from pictures (H, W) or (H, W, 3) RGB of one board, seen from several sides, all of one size.

    Raises WardposeError when the sizes differ or the board is found in fewer than six pictures.
    """
    sizes = {(image.shape[1], image.shape[0]) for image in images}
    if len(sizes) > 1:
        raise WardposeError("the pictures differ in size", where="intrinsics", mend="use pictures of one resolution")
    views, left_out = [], []
    for index, image in enumerate(images):
        view = detect_board(image, board)
        if view is None or len(view.pixels) < 12:
            left_out.append(index)
        else:
            views.append(view)
    if len(views) < FEWEST_VIEWS:
        raise WardposeError(
            f"the board is found in {len(views)} of {len(images)} pictures, {FEWEST_VIEWS} are needed",
            where="intrinsics",
            mend="take more pictures: sharp, the board filling a third of them, tilted, in every corner",
        )
    return fit_intrinsics(views, sizes.pop(), left_out=tuple(left_out))


def fit_intrinsics(
    views: Sequence[BoardView], size: tuple[int, int], *, left_out: tuple[int, ...] = ()
) -> IntrinsicsFit:
    """The rational model that explains the board's corners in every view; size is (width, height) px.

    With fewer than 15 views k4…k6 and the tangential terms stay 0: they would fit noise.
    """
    flags = cv2.CALIB_RATIONAL_MODEL if len(views) >= 15 else cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
    # Without a guess of ours OpenCV's is taken, which needs planar boards: the Board's points are planar.
    points = [view.points.astype(np.float32).reshape(-1, 1, 3) for view in views]
    pixels = [view.pixels.astype(np.float32).reshape(-1, 1, 2) for view in views]
    start = np.array([[size[0] * 0.8, 0, size[0] / 2 - 0.5], [0, size[0] * 0.8, size[1] / 2 - 0.5], [0, 0, 1.0]])
    try:
        rms, matrix, coefficients, _, _, deviations, _, _ = cv2.calibrateCameraExtended(
            points, pixels, size, start, np.zeros(8), flags=flags | cv2.CALIB_USE_INTRINSIC_GUESS
        )
    except cv2.error as error:
        raise WardposeError(
            f"no intrinsics fit the pictures ({error.err})", where="intrinsics", mend="take tilted views of the board"
        ) from None
    values = np.zeros(8)
    found = np.ravel(coefficients)[:8]
    values[: len(found)] = found
    distortion: Any = tuple(values.tolist())
    fx, fy, cx, cy = (float(matrix[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    camera = CameraModel(size[0], size[1], fx, fy, cx, cy, distortion)
    sigma_fx, sigma_fy, sigma_cx, sigma_cy = np.ravel(deviations)[:4].tolist()
    if rms > 2.0 * size[1] / 720:
        raise WardposeError(
            f"the best intrinsics miss the corners by {rms:.1f} px",
            where="intrinsics",
            mend="check the board's measures, take sharp pictures of a flat board",
        )
    return IntrinsicsFit(camera, float(rms), (sigma_fx, sigma_fy, sigma_cx, sigma_cy), len(views), left_out)
