"""One frame in, one result out: detect, track, estimate poses, say who is where, smooth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.appearance import appearance
from runtime.bed_view import BedView
from runtime.belief import counted, least_score
from runtime.cadence import DetectionCadence
from runtime.detect import PersonDetector
from runtime.detect_beside import DetectorBeside, Found, Hung
from runtime.detections import Detections
from runtime.distinct import distinct_people, without_strays
from runtime.engines.engine import open_engine
from runtime.engines.verdicts import cores
from runtime.frames import Frame, Origin
from runtime.lift import joints_in_bed_frame
from runtime.one_patient import merged_in_bed
from runtime.patient import PatientState, PatientWatch, Roles
from runtime.pose import PoseEstimator
from runtime.skeleton import Skeletons
from runtime.smooth import OneEuroSmoother
from runtime.stance import place_evidence
from runtime.track import Tracker
from runtime.turn_memory import TurnMemory

# Frames that come faster than so many seconds apart leave no time to look for people in each before their poses.
_FAST_S = 0.06
# Boxes older than so many seconds are nobody's any more; and how long a detector may be silent until it counts as hung.
_OLDEST_S, _HUNG_S = 0.5, 3.0


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What one frame showed.

    captured_at: the frame's own time; finished_at: `time.monotonic()` when the last stage ended, both in seconds.
    detections and skeletons have the same people in the same order (no skeletons without a pose model). stages_ms:
    milliseconds of each stage, in the order they ran; `detect` is a frame's before this one where people are looked for
    beside the poses, and no part of this one's time. origin: what the frame is of. roles, patient: who is the patient
    and where, None without a calibrated bed in the picture. joints_m: (people, 17, 4) of `joints_in_bed_frame`, None
    without depth.
    """

    frame_index: int
    captured_at: float
    finished_at: float
    width: int
    height: int
    detections: Detections
    skeletons: Skeletons
    stages_ms: dict[str, float] = field(default_factory=dict)
    origin: Origin = "unknown"
    roles: Roles | None = None
    patient: PatientState | None = None
    joints_m: NDArray[np.float64] | None = None


class LivePipeline:
    """The live path. `process` blocks its caller until the result is there.

    bed: where the bed is in the picture, which tells how somebody lies who was not tracked before, who is the patient,
    and where the patient is. at_pace: keep up with the source, as the live process does: how somebody new is turned is
    found over several frames, and where frames come fast and there is a second core, a thread looks for people beside
    the poses, in the newest frame that it has time for (`end` ends it). Else each frame is worked on for itself.
    """

    def __init__(
        self,
        detector: PersonDetector,
        pose: PoseEstimator | None = None,
        tracker: Tracker | None = None,
        smoother: OneEuroSmoother | None = None,
        bed: BedView | None = None,
        *,
        at_pace: bool = False,
    ) -> None:
        self.detector, self.pose, self.bed, self.at_pace = detector, pose, bed, at_pace
        self.tracker, self.smoother = tracker or Tracker(), smoother or OneEuroSmoother()
        self.turns, self.watch, self.cadence = TurnMemory(), PatientWatch(), DetectionCadence()
        self._beside = DetectorBeside()
        self._detected_s, self._last = -np.inf, (-np.inf, 0)

    @classmethod
    def open(
        cls,
        detector: Path,
        pose: Path | None = None,
        *,
        prefer: str | None = None,
        threads: int | None = None,
        confidence: float | None = None,
        bed: BedView | None = None,
    ) -> LivePipeline:
        """The pipeline for ONNX files, each on the best engine that qualifies here. Raises what `open_engine` does.

        confidence: least score of a person, where the detector's own is not wanted.
        """
        engine = open_engine(detector, prefer=prefer, threads=threads)
        least = least_score(engine.info, pose is not None) if confidence is None else confidence
        finder = PersonDetector(engine, confidence=least)
        estimator = None if pose is None else PoseEstimator(open_engine(pose, prefer=prefer, threads=threads))
        return cls(finder, estimator, bed=bed)

    def use(self, detector: PersonDetector, pose: PoseEstimator | None) -> None:
        """Work with these models from the next frame on; whom it follows, it follows on. Not while `process` runs."""
        self.detector, self.pose = detector, pose

    def end(self) -> None:
        """Let the thread that looks for people end."""
        self._beside.end()

    @property
    def models(self) -> str:
        """The models' names, the detector's first."""
        pose = "no pose model" if self.pose is None else self.pose.engine.info.name
        return f"{self.detector.engine.info.name}, {pose}"

    @property
    def engine(self) -> str:
        """The name of the engine the detector runs on."""
        return self.detector.engine.name

    def process(self, frame: Frame) -> LiveResult:
        """Everything about one frame. Frames must come in order of their time."""
        height, width = frame.color.shape[:2]
        stages_ms: dict[str, float] = {}
        clock = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            stages_ms[stage] = (now - clock) * 1e3
            clock = now

        detections = self._detections(frame, stages_ms, lap)
        lap("track")
        skeletons = Skeletons.empty()
        if self.pose is not None:
            skeletons = self._skeletons(self.pose, frame, detections)
            believed = counted(self.detector.engine.info, detections.score, skeletons.score)
            skeletons = without_strays(detections, skeletons)
            self.turns.learn(skeletons)
            detections, skeletons = detections[believed], skeletons[believed]
            people = distinct_people(detections, skeletons)
            detections, skeletons = detections[people], skeletons[people]
            lap("pose")
        detections, skeletons, roles, patient = self._places(detections, skeletons, frame.timestamp_s, width, height)
        if self.bed is not None:
            lap("place")
        if self.pose is not None:
            skeletons = self.smoother.update(skeletons, frame.timestamp_s)
            lap("smooth")
        joints_m = None
        if self.bed is not None and frame.depth is not None and len(skeletons):
            joints_m = joints_in_bed_frame(self.bed, frame, skeletons)
            lap("lift")
        return LiveResult(
            frame.index,
            frame.timestamp_s,
            time.monotonic(),
            width,
            height,
            detections,
            skeletons,
            stages_ms,
            frame.origin,
            roles,
            patient,
            joints_m,
        )

    def _places(
        self, detections: Detections, skeletons: Skeletons, now_s: float, width: int, height: int
    ) -> tuple[Detections, Skeletons, Roles | None, PatientState | None]:
        """The people, the one patient's parts put together, with who is the patient and where."""
        if self.bed is None:
            return detections, skeletons, None, None
        evidence = place_evidence(self.bed, skeletons, detections.xyxy, width, height)
        if evidence is None:
            return detections, skeletons, None, None
        detections, skeletons, kept = merged_in_bed(detections, skeletons, evidence)
        roles, patient = self.watch.update(detections, evidence[kept], now_s)
        return detections, skeletons, roles, patient

    def _detections(self, frame: Frame, stages_ms: dict[str, float], lap: Callable[[str], None]) -> Detections:
        """The people in a frame, tracked: found in it, or in one before and moved on."""
        height, width = frame.color.shape[:2]
        due = self.cadence.due(frame.index)
        if self._overlapping(frame):
            self._look_beside(frame, stages_ms, due=due)
            return self.tracker.between(frame.timestamp_s, width, height)
        if not due:
            return self.tracker.between(frame.timestamp_s, width, height)
        detections = self.detector.detect(frame.color)
        lap("detect")
        self._detected_s = frame.timestamp_s
        return self.tracker.update(detections, frame.timestamp_s, appearance(frame.color, detections))

    def _overlapping(self, frame: Frame) -> bool:
        """Whether people are looked for beside this frame: where its source is fast, and a core is free for it."""
        (before_s, index), self._last = self._last, (frame.timestamp_s, frame.index)
        apart_s = (frame.timestamp_s - before_s) / max(frame.index - index, 1)
        fast = 0 <= apart_s < _FAST_S
        return self.at_pace and self.pose is not None and fast and cores() > 1

    def _look_beside(self, frame: Frame, stages_ms: dict[str, float], *, due: bool) -> None:
        """Take in whom the detector has found meanwhile, and give it this frame when it has time."""
        self._take_in(self._beside.take(), frame, stages_ms)
        old = not 0 <= frame.timestamp_s - self._detected_s <= _OLDEST_S
        if due or old:
            self._beside.offer(self.detector, frame)
        if old:
            self._beside.wait(_HUNG_S)
            self._take_in(self._beside.take(), frame, stages_ms)
            if self._beside.busy:
                raise Hung(f"the detector has not answered for {_HUNG_S:.0f} s", mend="the live process begins anew")

    def _take_in(self, found: Found | None, frame: Frame, stages_ms: dict[str, float]) -> None:
        if found is None or found.detector is not self.detector or found.frame.color.shape != frame.color.shape:
            return
        stages_ms["detect"] = found.ms
        self._detected_s = found.frame.timestamp_s
        self.tracker.update(found.detections, found.frame.timestamp_s, found.looks)

    def _skeletons(self, pose: PoseEstimator, frame: Frame, detections: Detections) -> Skeletons:
        height, width = frame.color.shape[:2]
        hint = np.full(len(detections), np.nan)
        if self.bed is not None:
            hint = self.bed.turns(detections.xyxy, width, height)
        if not self.at_pace or detections.track_id is None or not pose.engine.info.turned_to_body:
            return pose.estimate(frame.color, detections, self.turns.aims(detections.track_id, hint))
        aims, views = self.turns.aims_at_pace(detections.track_id, hint)
        skeletons = pose.estimate(frame.color, detections, aims)
        if len(views):
            looks = pose.look(frame.color, detections, views)
            self.turns.take(looks, detections.track_id, detections.xyxy)
        return skeletons
