"""A camera like any other, looking at a simulated ward.

The ward has one room, one bed and one viewpoint, which the product is not told: it calibrates from the tag sheet as at
a real bedside. Every frame is a full rendering through the Kinect's own lens, held while the patient lies still, with
fresh noise; new postures are rendered ahead on a thread of their own.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Annotated, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.tag_sheet import TagSheet
from calibration.viewpoint import Viewpoint
from runtime.capture.source import StaleFrame, split_options
from runtime.frames import Frame, ImuSample, Origin
from synth.dataset import DatasetSpec, generate_sample
from synth.kept_stills import KeptStills, Still
from synth.labels import Annotation
from synth.render.mesh import Mesh
from synth.render.renderer import Scene
from synth.scenario import KINECT_COLOR, Scenario
from synth.sensor import Exposure, SensorSettings, draw_exposure, expose, lens_of, metered, sensor_noise

# The same Kinect's depth camera (narrow field of view, unbinned) and where it sits: factory calibration.
KINECT_DEPTH = CameraModel(
    640, 576, 504.608, 504.733, 332.781, 348.829,
    (0.547940, -0.0209714, 0.0000205575, -0.0000721042, -0.00265220, 0.889679, 0.0861302, -0.0139104),
)  # fmt: skip
KINECT_COLOR_FROM_DEPTH = np.array(
    [
        [0.99999923, 0.00118176, -0.00044814, -0.03208343],
        [-0.00113875, 0.99628061, 0.08616032, -0.00220537],
        [0.00054829, -0.08615975, 0.99628121, 0.00388369],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
KINECT_COLOR_FROM_IMU = np.array(
    [
        [0.00251067, -0.99999533, -0.00173974, -0.02848081],
        [0.02241927, -0.00168302, 0.99974724, -0.00238397],
        [-0.9997455, -0.00254904, 0.02241494, -0.04710749],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
_GRAVITY_M_S2 = 9.80665
# One reading of the Kinect's motion sensor (LSM6DSM): white noise of the factory calibration over its bandwidth.
_ACCELERATION_NOISE, _TURN_NOISE = 0.02, 0.002

# The ward's own camera settles on one exposure, unlike the pictures a model is tuned on.
_SENSOR = SensorSettings(
    exposure_ev=(-0.12, 0.12), white_balance=(0.98, 1.03), contrast=(0.98, 1.02), noise=(0.006, 0.009),
    shot_noise=(0.004, 0.008), blur_px=(0.25, 0.35), sharpening=(0.2, 0.3), motion_blur_share=0.0,
    jpeg_quality=(88, 92),
)  # fmt: skip
_SHEET_LIFT_M = 0.002  # paper lies on the mattress, not in it
_NOISE_MARGIN = 64
_LIVE, _HELD_OUT = 1, 2  # which of the ward's independent random streams


class SimulatedCameraConfig(BaseModel):
    """One simulated ward and its camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["ward", "tag_sheet", "empty"] = Field(
        default="ward", title="What lies in the bed: a patient, the tag sheet, or nobody"
    )
    seed: int = Field(default=0, title="Seed of the ward", ge=0, le=2**31 - 1)
    fps: float = Field(default=10.0, title="Frames a second", gt=0, le=30)
    width: Annotated[Literal[1280, 640], BeforeValidator(int)] = Field(default=1280, title="Picture width (px)")
    posture_s: float = Field(default=4.0, title="Seconds a posture is held", ge=0.5, le=600)
    postures: int = Field(default=10, title="Postures until they repeat", ge=1, le=100)
    nurse_share: float = Field(default=0.3, title="Share of postures with somebody beside the bed", ge=0, le=1)
    depth: bool = Field(default=True, title="Deliver depth")
    bystanders: int | None = Field(default=None, title="So many people beside the bed, always", ge=0, le=4)
    prepared: bool = Field(default=False, title="Render every posture before the first picture, not beside the show")
    sway_px: int = Field(default=0, title="Every other picture is shifted so far (px): nothing rests", ge=0, le=20)


@dataclass(frozen=True)
class LabelledFrame:
    """color (H, W, 3) uint8 RGB and the COCO annotations of its people, without ids."""

    color: NDArray[np.uint8]
    annotations: list[Annotation]


class SimulatedCamera:
    """The simulated ward's camera; a `CaptureSource` that lays its tag sheet, empties its bed, knows the truth and
    holds out frames.

    Threads: `open` starts one thread that renders postures ahead, `close` ends it. `open` renders the first picture
    (seconds), where this ward has not been shown before. `read` waits for the next tick of the clock.
    """

    live = True
    origin: Origin = "simulation"

    def __init__(self, config: SimulatedCameraConfig | None = None) -> None:
        self.config = config or SimulatedCameraConfig()
        self.name = f"simulated:{self.config.mode}"
        self.camera = KINECT_COLOR.resized(self.config.width, self.config.width * 9 // 16)
        rng = np.random.default_rng(np.random.SeedSequence(self.config.seed))
        self.bed = Bed(height=float(rng.uniform(0.5, 0.7)))
        side = float(rng.choice([-1.0, 1.0]))
        self._viewpoint = Viewpoint(
            azimuth_deg=side * float(rng.uniform(48, 80)),
            elevation_deg=float(rng.uniform(30, 40)),
            distance=float(rng.uniform(2.2, 2.7)),
            roll_deg=float(rng.uniform(-1.5, 1.5)),
            look_at=(float(rng.normal(0, 0.08)), float(rng.normal(0, 0.08)), 0.05),
        )
        self._look_seed = int(rng.integers(2**31))
        self._exposure = draw_exposure(rng, _SENSOR)
        self._noise_rng = np.random.default_rng(rng.integers(2**63))
        self._stills: list[Still] = []
        self._kept: KeptStills | None = None
        self._failure: Exception | None = None
        self._painter: threading.Thread | None = None
        self._stop = threading.Event()
        self._grain: NDArray[np.int16] | None = None
        self._depth_grain: NDArray[np.int16] | None = None
        self._began = self._next = 0.0
        self._index = 0

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """`ward`, `tag_sheet`, `empty` or nothing, with options: `ward#seed=3&fps=15`."""
        mode, options = split_options(argument, SimulatedCameraConfig)
        try:
            return cls(SimulatedCameraConfig.model_validate({"mode": mode or "ward", **options}))
        except ValidationError as error:
            first = error.errors()[0]
            raise WardposeError(
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=f"simulated:{argument}"
            ) from None

    def with_target(self) -> str:
        return self._argument("tag_sheet")

    def emptied(self) -> str:
        return self._argument("empty" if self.config.mode == "ward" else self.config.mode)

    def true_calibration(self) -> CalibrationEstimate:
        """The hidden truth, for tests and for saying how good a calibration is; nothing else may use it."""
        return CalibrationEstimate(
            camera=self.camera, bed=self.bed, camera_from_bed=self._viewpoint.camera_from_bed,
            covariance=np.eye(6) * 1e-12, reprojection_px=0.0, method="truth", confirmed=True,
        )  # fmt: skip

    def held_out_spec(self, count: int, *, width: int = 640) -> DatasetSpec:
        """The data set of labelled frames of this ward: its room, its camera, people nobody has seen."""
        return DatasetSpec(scenario=self._scenario(width), count=count, seed=self._stream(_HELD_OUT))

    def held_out(self, count: int, *, width: int = 640) -> list[LabelledFrame]:
        """`count` labelled frames of this ward."""
        samples = (generate_sample(self.held_out_spec(count, width=width), index) for index in range(count))
        return [LabelledFrame(sample.color, sample.annotations) for sample in samples]

    def open(self) -> None:
        """Render the first picture and begin."""
        if self._painter is not None:
            return
        self._stop.clear()
        first = self._wanted if self.config.prepared else 1
        self._kept = self._keeping()
        self._failure, self._stills = None, [self._still(index) for index in range(first)]
        self._grain, self._depth_grain = self._make_grain(), self._make_depth_grain()
        self._began = self._next = time.monotonic()
        self._index = 0
        self._painter = threading.Thread(target=self._paint_ahead, name="simulated-ward", daemon=True)
        self._painter.start()

    def read(self, timeout_s: float = 1.0) -> Frame:
        """The next frame, at the camera's own pace. Raises StaleFrame where it is due only after `timeout_s`."""
        if self._painter is None or self._grain is None:
            raise WardposeError("is not open", where=self.name, mend="open the source first")
        if self._failure is not None:
            raise WardposeError(
                f"rendering failed: {self._failure}", where=self.name, mend="open it again"
            ) from self._failure
        now = time.monotonic()
        # Ticks nobody waited for are dropped, as a camera drops frames.
        due = self._next if self._next > now - 1 / self.config.fps else now
        if due - now > timeout_s:
            time.sleep(timeout_s)
            raise StaleFrame(f"no frame within {timeout_s:g} s", where=self.name)
        if due > now:
            time.sleep(due - now)
        self._next = due + 1 / self.config.fps
        still, taken_s = self._stills[self._turn(time.monotonic())], time.monotonic()
        frame = Frame(
            color=self._noisy(self._swaying(still.color)), timestamp_s=taken_s, index=self._index, source=self.name,
            camera=self.camera, depth=None if still.depth is None else self._noisy_depth(still.depth),
            depth_camera=None if still.depth is None else KINECT_DEPTH,
            color_from_depth=None if still.depth is None else KINECT_COLOR_FROM_DEPTH,
            imu=self._felt(taken_s), color_from_imu=KINECT_COLOR_FROM_IMU,
        )  # fmt: skip
        self._index += 1
        return frame

    def close(self) -> None:
        """Stop rendering."""
        if self._painter is not None:
            self._stop.set()
            self._painter.join(timeout=10)
            self._painter = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _swaying(self, color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shift = self.config.sway_px * (self._index % 2)
        return np.roll(color, shift, axis=1) if shift else color

    def _turn(self, now: float) -> int:
        """Which still is shown: the one whose turn it is, or the newest while that one is not yet rendered."""
        turn = int((now - self._began) / self.config.posture_s)
        return min(turn % self._wanted, len(self._stills) - 1)

    @property
    def _wanted(self) -> int:
        return self.config.postures if self.config.mode == "ward" else 1

    def _paint_ahead(self) -> None:
        try:
            while len(self._stills) < self._wanted:
                # At most one posture ahead of the one on show, so that rendering never takes more than its share.
                turn = int((time.monotonic() - self._began) / self.config.posture_s)
                if len(self._stills) > turn + 1:
                    if self._stop.wait(0.2):
                        return
                    continue
                if self._stop.is_set():
                    return
                self._stills.append(self._still(len(self._stills)))
        except Exception as error:  # whatever it is, the reader must hear of it
            self._failure = error

    def _argument(self, mode: str) -> str:
        options = self.config.model_dump(exclude_defaults=True, exclude={"mode"})
        return f"{mode}#{'&'.join(f'{name}={value}' for name, value in options.items())}" if options else mode

    def _stream(self, which: int) -> int:
        return int(np.random.SeedSequence(entropy=self.config.seed, spawn_key=(which,)).generate_state(1)[0])

    def _scenario(self, width: int) -> Scenario:
        return Scenario(
            name="simulated ward", width=width, height=width * 9 // 16, calibration=self.true_calibration().to_dict(),
            posterior_scale=0.0, views_per_scene=1, bed_length_m=self.bed.length, bed_width_m=self.bed.width,
            bed_height_m=(self.bed.height, self.bed.height), look_seed=self._look_seed, patient_share=1.0,
            bystander_weights=self._bystander_weights(), blanket_share=0.5, sensor=_SENSOR,
        )  # fmt: skip

    def _bystander_weights(self) -> tuple[float, ...]:
        if self.config.bystanders is None:
            return 1 - self.config.nurse_share, self.config.nurse_share
        return (*[0.0] * self.config.bystanders, 1.0)

    def _keeping(self) -> KeptStills | None:
        """Where its pictures are kept; nowhere those of a plug-in that draws otherwise."""
        if type(self) is not SimulatedCamera:
            return None
        ward = self.config.model_dump_json(exclude={"fps", "posture_s", "postures", "prepared", "sway_px"})
        depth_size = (KINECT_DEPTH.height, KINECT_DEPTH.width) if self.config.depth else None
        return KeptStills(ward, (self.camera.height, self.camera.width), depth_size)

    def _still(self, index: int) -> Still:
        kept = self._kept and self._kept.get(index)
        if kept:
            return kept
        still = self._paint(index)
        if self._kept:
            self._kept.keep(index, still)
        return still

    def _paint(self, index: int) -> Still:
        # Imported here: they bring the body model, which opening the tag sheet does without.
        from synth.render.numba_renderer import NumbaRenderer, render_depth_ids

        scene = self._ward_scene(index) if self.config.mode == "ward" else self._empty_scene()
        camera_from_bed = self._viewpoint.camera_from_bed
        lens = lens_of(self.camera)
        pinhole = lens.pinhole
        if self.config.mode == "tag_sheet":
            # The tags' edges are measured to a fraction of a pixel: draw them finer than the renderer's textures are.
            fine = NumbaRenderer().render(
                scene, camera_from_bed, pinhole.resized(2 * pinhole.width, 2 * pinhole.height)
            )
            ideal = np.asarray(
                cv2.resize(fine.color, (pinhole.width, pinhole.height), interpolation=cv2.INTER_AREA), np.uint8
            )
        else:
            ideal = NumbaRenderer().render(scene, camera_from_bed, pinhole).color
        bent = lens.bend_color(ideal)
        color = expose(bent, _without_noise(metered(bent, self._exposure, _SENSOR)))
        if not self.config.depth:
            return Still(color, None)
        depth_lens = lens_of(KINECT_DEPTH)
        depth_from_bed = np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ camera_from_bed
        metres, _, _ = render_depth_ids(scene.meshes, depth_from_bed, depth_lens.pinhole)
        millimetres = np.clip(np.rint(depth_lens.bend_plane(metres) * 1000), 0, 65535).astype(np.uint16)
        # The time-of-flight range of this mode; beyond it the real camera has no reading.
        millimetres[(millimetres < 500) | (millimetres > 5460)] = 0
        return Still(color, millimetres)

    def _ward_scene(self, index: int) -> Scene:
        from synth.sample import build_scene, make_staging
        from synth.ward.look import sample_look

        sequence = np.random.SeedSequence(entropy=self._stream(_LIVE), spawn_key=(index,))
        staging_sequence, room_sequence = sequence.spawn(2)
        staging = make_staging(self._scenario(self.config.width), staging_sequence)
        look = sample_look(np.random.default_rng(self._look_seed))
        room_rng = np.random.default_rng(room_sequence)
        return build_scene(staging, look, room_rng, self._viewpoint.camera_from_bed)

    def _empty_scene(self) -> Scene:
        """The ward with nobody in it, and with the tag sheet on the bed where that is asked for."""
        from synth.ward.look import sample_look
        from synth.ward.scene import compose

        look = sample_look(np.random.default_rng(self._look_seed))
        extra: tuple[Mesh, ...] = ()
        if self.config.mode == "tag_sheet":
            # Whoever lays the sheet takes the pillow away and lets the rails down.
            look = replace(look, bed=replace(look.bed, pillows=0, rails="none"))
            extra = (sheet_mesh(TagSheet.for_bed(self.bed)),)
        rng = np.random.default_rng(self._look_seed)
        return compose(rng, self.bed, None, (), look, extra=extra, camera_centre=self._viewpoint.centre)

    def _make_grain(self) -> NDArray[np.int16]:
        """A tile of noise larger than a picture; each frame shows another part of it."""
        shape = (self.camera.height + _NOISE_MARGIN, self.camera.width + _NOISE_MARGIN)
        noise = sensor_noise(int(self._noise_rng.integers(2**63)), shape, self.camera.width / 640)
        sigma = 255 * float(np.hypot(self._exposure.noise, self._exposure.shot_noise * 0.7))
        return np.rint(noise * sigma).astype(np.int16)

    def _make_depth_grain(self) -> NDArray[np.int16]:
        """As for the picture; millimetres."""
        shape = (KINECT_DEPTH.height + _NOISE_MARGIN, KINECT_DEPTH.width + _NOISE_MARGIN)
        return np.rint(self._noise_rng.normal(0, 2.0, shape)).astype(np.int16)

    def _window(self, height: int, width: int) -> NDArray[np.int16]:
        assert self._grain is not None
        y, x = self._noise_rng.integers(_NOISE_MARGIN, size=2)
        return self._grain[y : y + height, x : x + width]

    def _noisy(self, color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.add(color, self._window(*color.shape[:2]), dtype=cv2.CV_8U), dtype=np.uint8)

    def _felt(self, taken_s: float) -> ImuSample:
        """What a motion sensor at rest measures: the force against gravity, no turning, and its noise."""
        up = (KINECT_COLOR_FROM_IMU[:3, :3].T @ self._viewpoint.camera_from_bed[:3, :3])[:, 2]
        acceleration = _GRAVITY_M_S2 * up + self._noise_rng.normal(0, _ACCELERATION_NOISE, 3)
        return ImuSample(acceleration, self._noise_rng.normal(0, _TURN_NOISE, 3), taken_s)

    def _noisy_depth(self, depth: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """About 2 mm of noise, and nothing where there was no reading."""
        assert self._depth_grain is not None
        y, x = self._noise_rng.integers(_NOISE_MARGIN, size=2)
        noise = self._depth_grain[y : y + depth.shape[0], x : x + depth.shape[1]]
        noisy = np.asarray(cv2.add(depth, noise, dtype=cv2.CV_16U), np.uint16)
        noisy[depth == 0] = 0
        return noisy


def sheet_mesh(sheet: TagSheet, px_per_metre: float = 800.0) -> Mesh:
    """The printed sheet, lying centred on the mattress with its head mark toward the head."""
    x, y, z = sheet.width / 2, sheet.height / 2, _SHEET_LIFT_M
    vertices = np.array([[-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]], np.float32)
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)  # the picture's top row is the patient's left
    texture = np.repeat(sheet.image(px_per_metre)[..., None], 3, axis=2)
    colors = np.full((4, 3), 0.9, np.float32)
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), colors, uv=uv, texture=texture)


def _without_noise(exposure: Exposure) -> Exposure:
    return replace(exposure, noise=0.0, shot_noise=0.0, motion_px=(0.0, 0.0))
