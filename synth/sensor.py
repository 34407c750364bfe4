"""From an ideal picture to what the camera delivers: lens distortion, exposure, white balance, blur, noise, JPEG.

Renderers draw through an undistorted pinhole. `Lens` makes that pinhole large enough to cover every ray of the real
camera and bends its picture, so that synthetic images look like raw live frames and the live path never resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from calibration.camera import CameraModel
from synth.render.renderer import Rendering

Span = tuple[float, float]
Scalar = TypeVar("Scalar", bound=np.generic)
Window = tuple[slice, slice]  # rows and columns
EVERYWHERE: Window = (slice(None), slice(None))

# The pinhole may have at most this many times the picture's pixels; only a broken calibration asks for more.
_LARGEST_OVERSIZE = 4.0
_GRID_STEP_PX = 8
_ONE_SURFACE = 0.03  # share by which the depths of neighbouring pixels on one surface may differ
# Mean linear light that automatic exposure aims at, and how far it can go.
_METER_TARGET, _METER_LIMITS = 0.25, (0.4, 6.0)


class Lens:
    """The look-up tables between a distorted camera and the pinhole that is rendered in its stead."""

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera
        self.pinhole = camera
        self._maps: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._nearest: NDArray[np.intp] | None = None
        if not camera.distorted:
            return
        u, v = _pinhole_offsets(camera)
        # One pixel of margin on each side, for the bilinear look-up.
        left, right = np.ceil(-u.min()) + 1, np.ceil(u.max()) + 1
        top, bottom = np.ceil(-v.min()) + 1, np.ceil(v.max()) + 1
        width, height = int(left + right) + 1, int(top + bottom) + 1
        if width * height > _LARGEST_OVERSIZE * camera.width * camera.height:
            raise ValueError(f"the distortion would need a {width}×{height} rendering; check the intrinsics")
        self.pinhole = CameraModel(width, height, camera.fx, camera.fy, float(left), float(top))
        map_x, map_y = u + left, v + top
        self._maps = (map_x.astype(np.float32), map_y.astype(np.float32))
        # Whole pixels and thirty-seconds, which OpenCV would make of the maps for every picture.
        self._fixed = cv2.convertMaps(*self._maps, cv2.CV_16SC2)
        rows, columns = np.rint(map_y).astype(np.intp), np.rint(map_x).astype(np.intp)
        self._nearest = rows * width + columns
        self._columns, self._rows = (columns.min(0), columns.max(0)), (rows.min(1), rows.max(1))

    def rays(self) -> NDArray[np.float64]:
        """Camera-frame rays (H, W, 3), z = 1, through the centres of the distorted picture's pixels."""
        camera, pinhole = self.camera, self.pinhole
        x, y = self._maps or np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (camera.width, camera.height)))
        rays = np.ones((camera.height, camera.width, 3))
        rays[..., 0], rays[..., 1] = (x - pinhole.cx) / pinhole.fx, (y - pinhole.cy) / pinhole.fy
        return rays

    def bend_color(self, color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A pinhole picture (h, w, 3) as the lens shows it (H, W, 3)."""
        if self._maps is None:
            return color
        return np.asarray(cv2.remap(color, *self._fixed, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def bend_plane(self, plane: NDArray[Scalar], window: Window = EVERYWHERE) -> NDArray[Scalar]:
        """Depth or ids (h, w), nearest pixel: neither may be mixed across an edge. window: the part of the bent plane
        to work out."""
        return plane[window] if self._nearest is None else plane.ravel()[self._nearest[window]]

    def reach(self, box: list[int]) -> list[int]:
        """A box [x, y, width, height] of the bent plane with every pixel that is looked up within `box` of the plane;
        without size where none is."""
        if self._nearest is None:
            return box
        x, width = _between(*self._columns, box[0], box[0] + box[2])
        y, height = _between(*self._rows, box[1], box[1] + box[3])
        return [x, y, width, height]

    def bend_depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth (h, w), smooth on surfaces, where `bend_plane` steps by half a pixel; as that does at edges."""
        nearest = self.bend_plane(depth)
        if self._maps is None:
            return nearest
        with np.errstate(divide="ignore", invalid="ignore"):
            # A plane's inverse depth is linear over the picture.
            inverse = cv2.remap(np.where(depth > 0, 1 / depth, 0).astype(np.float32), *self._maps, cv2.INTER_LINEAR)
            smooth = np.abs(inverse * nearest - 1) < _ONE_SURFACE
            return np.where(smooth, 1 / inverse, nearest).astype(np.float32)

    def bend(self, rendering: Rendering) -> Rendering:
        return Rendering(
            self.bend_color(rendering.color),
            self.bend_plane(rendering.depth),
            self.bend_plane(rendering.instance),
            self.bend_plane(rendering.part),
        )


def _between(least: NDArray[np.intp], greatest: NDArray[np.intp], begin: int, end: int) -> tuple[int, int]:
    """First and number of the lines (N,) from `least` to `greatest` that touch begin … end − 1."""
    touching = np.flatnonzero((least < end) & (greatest >= begin))
    return (int(touching[0]), int(touching[-1] - touching[0]) + 1) if len(touching) else (0, 0)


def _pinhole_offsets(camera: CameraModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each pixel's ray meets the undistorted picture: (H, W) px right of and below the optical axis.

    Inverting the distortion takes iterations for each point, and the answer is smooth: it is worked out on a coarse
    grid and interpolated by a cubic spline, within 0.001 px of the truth.
    """
    xs = np.linspace(0, camera.width - 1, max(camera.width // _GRID_STEP_PX, 4) + 1)
    ys = np.linspace(0, camera.height - 1, max(camera.height // _GRID_STEP_PX, 4) + 1)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    rays = camera.unproject(grid)
    if not np.isfinite(rays).all() or np.abs(camera.project(rays) - grid).max() > 0.01:
        raise ValueError("the distortion cannot be inverted over the whole picture; check the intrinsics")
    u, v = (
        _on_pixels(ys, xs, (focal * ray).reshape(len(ys), len(xs)), camera)
        for focal, ray in ((camera.fx, rays[:, 0]), (camera.fy, rays[:, 1]))
    )
    return u, v


def _on_pixels(
    ys: NDArray[np.float64], xs: NDArray[np.float64], values: NDArray[np.float64], camera: CameraModel
) -> NDArray[np.float64]:
    """The cubic spline through values (R, C) at rows (R,) and columns (C,), at every pixel (H, W): a product with the
    basis along each axis, which takes a quarter of the time that the spline's own evaluation does."""
    from scipy.interpolate import BSpline, RectBivariateSpline  # takes long to load, and a scenario is read without

    spline = RectBivariateSpline(ys, xs, values)
    knots = spline.get_knots()
    down, across = (
        BSpline.design_matrix(np.arange(float(count)), along, 3)
        for count, along in zip((camera.height, camera.width), knots, strict=True)
    )
    coefficients = spline.get_coeffs().reshape(down.shape[1], across.shape[1])
    return np.asarray((across @ (down @ coefficients).T).T)


@lru_cache(maxsize=8)
def lens_of(camera: CameraModel) -> Lens:
    """The lens of a camera; its tables are kept, since a data set uses few cameras many times."""
    return Lens(camera)


class SensorSettings(BaseModel):
    """How far a camera's pictures may differ from ideal ones; every pair is (least, most), drawn uniformly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exposure_ev: Span = Field(default=(-0.8, 0.7), title="Exposure (stops)")
    auto_exposure: float = Field(default=0.7, title="How far the camera evens out bright and dark rooms", ge=0, le=1)
    white_balance: Span = Field(default=(0.9, 1.12), title="Gain of red and of blue over green")
    contrast: Span = Field(default=(0.85, 1.15), title="Exponent of the tone curve")
    noise: Span = Field(default=(0.002, 0.014), title="Read noise (standard deviation, of full scale)")
    shot_noise: Span = Field(default=(0.0, 0.012), title="Shot noise at full scale (standard deviation, of full scale)")
    blur_px: Span = Field(default=(0.1, 0.55), title="Defocus at 640 px width (standard deviation, px)")
    sharpening: Span = Field(default=(0.2, 1.1), title="Gain of the camera's own sharpening of fine detail")
    motion_blur_share: float = Field(default=0.15, ge=0, le=1, title="Share of pictures with motion blur")
    motion_blur_px: Span = Field(default=(2.0, 7.0), title="Length of motion blur at 640 px width (px)")
    jpeg_quality: tuple[int, int] = Field(default=(82, 96), title="JPEG quality")

    @model_validator(mode="after")
    def _check_spans(self) -> SensorSettings:
        limits = {
            "exposure_ev": (-4, 4), "white_balance": (0.4, 2.5), "contrast": (0.4, 2.5), "noise": (0, 0.2),
            "shot_noise": (0, 0.2), "blur_px": (0, 8), "sharpening": (0, 3), "motion_blur_px": (0, 40),
            "jpeg_quality": (5, 100),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            least, most = getattr(self, name)
            if not low <= least <= most <= high:
                raise ValueError(f"{name} must be two numbers, least first, within {low} … {high}; got {least}, {most}")
        return self


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one picture was taken with; `grain` seeds its noise."""

    gain: tuple[float, float, float]
    contrast: float
    noise: float
    shot_noise: float
    blur_px: float
    motion_px: tuple[float, float]
    jpeg_quality: int
    grain: int
    sharpening: float = 0.0


def draw_exposure(rng: np.random.Generator, settings: SensorSettings) -> Exposure:
    """One picture's settings. Always takes the same number of draws, so that what follows does not shift."""
    brightness = 2.0 ** rng.uniform(*settings.exposure_ev)
    red, blue = rng.uniform(*settings.white_balance, size=2)
    contrast, noise, shot, blur, sharpening = (
        float(rng.uniform(*getattr(settings, name)))
        for name in ("contrast", "noise", "shot_noise", "blur_px", "sharpening")
    )
    moving = rng.random() < settings.motion_blur_share
    length, angle = rng.uniform(*settings.motion_blur_px), rng.uniform(0, np.pi)
    motion = (float(length * np.cos(angle)), float(length * np.sin(angle))) if moving else (0.0, 0.0)
    quality = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1], endpoint=True))
    grain = int(rng.integers(2**63))
    gain = (float(brightness * red), float(brightness), float(brightness * blue))
    return Exposure(gain, contrast, noise, shot, blur, motion, quality, grain, sharpening)


def metered(color: NDArray[np.uint8], exposure: Exposure, settings: SensorSettings) -> Exposure:
    """The exposure after the camera's automatic one has looked at the ideal picture; amplifying adds noise."""
    mean = float(_TO_LINEAR[color[::8, ::8]].mean())
    gain = float(np.clip((_METER_TARGET / max(mean, 1e-3)) ** settings.auto_exposure, *_METER_LIMITS))
    red, green, blue = exposure.gain
    noise = exposure.noise * float(np.clip(np.sqrt(gain), 0.8, 2.5))
    return replace(exposure, gain=(red * gain, green * gain, blue * gain), noise=noise)


def expose(color: NDArray[np.uint8], exposure: Exposure) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 sRGB the sensor makes of an ideal one.

    Light is scaled and blurred where it adds up, in linear values; noise, which a viewer sees after the tone curve,
    is added there with a variance of read noise plus a part growing with brightness. Demosaicing and denoising leave
    it correlated: mostly brightness, a little colour in coarser grains, as an Azure Kinect's pictures have it.
    """
    from synth.develop import develop, expand  # numba, which reading a scenario's sensor settings does not need

    scale = color.shape[1] / 640
    if exposure.sharpening > 0.02:
        fine = cv2.GaussianBlur(color, (0, 0), scale)
        color = np.asarray(cv2.addWeighted(color, 1 + exposure.sharpening, fine, -exposure.sharpening, 0), np.uint8)
    curves = np.stack([_TO_LINEAR * gain for gain in exposure.gain], axis=-1).astype(np.float32)
    linear: NDArray[np.float32] = np.empty(color.shape, np.float32)
    expand(color, curves, linear)
    if exposure.blur_px * scale > 0.15:
        cv2.GaussianBlur(linear, (0, 0), exposure.blur_px * scale, dst=linear)
    if any(exposure.motion_px):
        kernel = _motion_kernel(exposure.motion_px, scale)
        linear = np.asarray(cv2.filter2D(linear, -1, kernel, borderType=cv2.BORDER_REPLICATE), np.float32)
    picture = np.empty(color.shape, np.uint8)
    grain = sensor_noise(exposure.grain, (color.shape[0], color.shape[1]), scale)
    develop(
        linear, _tone_curve(exposure.contrast), grain, np.float32(exposure.noise**2),
        np.float32(exposure.shot_noise**2), picture,
    )  # fmt: skip
    return picture


# Measured on an Azure Kinect's frame, brought to 640 px: brightness noise of 1.15/255 with a correlation of 0.36 to the
# next pixel, colour noise of 0.4/255 with one of 0.62.
_BRIGHTNESS_SHARE, _COLOR_SHARE, _GRAIN_PX = 0.92, 0.39, 0.5


_GRAIN_MARGIN = 256  # pixels by which the kept noise reaches beyond a picture, each way


def sensor_noise(seed: int, shape: tuple[int, int], scale: float) -> NDArray[np.float32]:
    """Noise (H, W, 3) of unit variance in each channel, to be read only; `scale` is the picture's width over 640 px.

    A piece of a larger field that is kept: two seeds' pieces lie, or are turned, differently.
    """
    rng = np.random.Generator(np.random.SFC64(seed))
    top, left, turn = (int(rng.integers(n)) for n in (_GRAIN_MARGIN, _GRAIN_MARGIN, 4))
    field = _noise_field((shape[0] + _GRAIN_MARGIN, shape[1] + _GRAIN_MARGIN), scale)
    return field[top : top + shape[0], left : left + shape[1]][:: 1 - 2 * (turn & 1), :: 1 - (turn & 2)]


@lru_cache(maxsize=2)
def _noise_field(shape: tuple[int, int], scale: float) -> NDArray[np.float32]:
    rng = np.random.Generator(np.random.SFC64(16))
    sigma = _GRAIN_PX * float(np.sqrt(max(scale, 0.25)))
    kernel = cv2.getGaussianKernel(5, sigma, cv2.CV_32F)
    kernel *= _BRIGHTNESS_SHARE**0.5 / np.linalg.norm(kernel)
    brightness = cv2.sepFilter2D(rng.standard_normal(shape, dtype=np.float32), -1, kernel, kernel)
    coarse = rng.standard_normal(((shape[0] + 1) // 2, (shape[1] + 1) // 2, 3), dtype=np.float32)
    # Linear interpolation to twice the size leaves 0.625 of the standard deviation.
    coarse *= np.float32(_COLOR_SHARE / 0.625)
    colored = cv2.resize(coarse, (2 * coarse.shape[1], 2 * coarse.shape[0]), interpolation=cv2.INTER_LINEAR)
    field = np.asarray(colored[: shape[0], : shape[1]] + brightness[..., None], dtype=np.float32)
    field.flags.writeable = False
    return field


def encode_png(plane: NDArray[np.generic]) -> bytes:
    """PNG bytes of a plane (H, W), uint8 or uint16."""
    ok, data = cv2.imencode(".png", plane)
    if not ok:
        raise ValueError(f"OpenCV could not encode a plane of shape {plane.shape}")
    return data.tobytes()


def encode_jpeg(color: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB picture (H, W, 3)."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(color, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"OpenCV could not encode a picture of shape {color.shape}")
    return data.tobytes()


def _srgb_to_linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _linear_to_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0) ** (1 / 2.4) - 0.055)


_TO_LINEAR = _srgb_to_linear(np.arange(256) / 255.0)
# Fine enough that neighbouring dark sRGB values stay apart (their slope is 12.92).
_CURVE_STEPS = 16383
_TO_SRGB = _linear_to_srgb(np.arange(_CURVE_STEPS + 1) / _CURVE_STEPS)


@lru_cache(maxsize=64)
def _tone_curve(contrast: float) -> NDArray[np.float32]:
    return np.asarray(_TO_SRGB**contrast, np.float32)


def _motion_kernel(motion_px: tuple[float, float], scale: float) -> NDArray[np.float32]:
    """A line of unit weight through the centre, drawn with sub-pixel ends."""
    x, y = motion_px[0] * scale / 2, motion_px[1] * scale / 2
    radius = int(np.ceil(max(abs(x), abs(y)))) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    for t in np.linspace(-1, 1, 8 * radius + 1):
        px, py = radius + t * x, radius + t * y
        left, top = int(px), int(py)
        for dy, wy in ((0, top + 1 - py), (1, py - top)):
            for dx, wx in ((0, left + 1 - px), (1, px - left)):
                kernel[top + dy, left + dx] += wx * wy
    return kernel / kernel.sum()
