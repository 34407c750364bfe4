"""One frame in, one result out: detect, track, estimate poses, say who is where, smooth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.appearance import appearance
from runtime.bed_view import BedView
from runtime.belief import counted, least_score
from runtime.cadence import DetectionCadence
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.distinct import distinct_people, without_strays
from runtime.engines.engine import open_engine
from runtime.frames import Frame, Origin
from runtime.lift import joints_in_bed_frame
from runtime.one_patient import merged_in_bed
from runtime.patient import PatientState, PatientWatch, Roles
from runtime.pose import PoseEstimator
from runtime.skeleton import Skeletons
from runtime.smooth import OneEuroSmoother
from runtime.stance import place_evidence
from runtime.track import Tracker
from runtime.turn import Aims, TurnMemory


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What one frame showed.

    captured_at: the frame's own time; finished_at: `time.monotonic()` when the last stage ended, both in seconds.
    detections and skeletons have the same people in the same order (no skeletons without a pose model). stages_ms:
    milliseconds of each stage, in the order they ran. origin: what the frame is of. roles, patient: who is the patient
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
    """The live path. It owns no thread: `process` blocks its caller until the result is there.

    bed: where the bed is in the picture, which tells how somebody lies who was not tracked before, who is the patient,
    and where the patient is.
    """

    def __init__(
        self,
        detector: PersonDetector,
        pose: PoseEstimator | None = None,
        tracker: Tracker | None = None,
        smoother: OneEuroSmoother | None = None,
        bed: BedView | None = None,
    ) -> None:
        self.detector, self.pose, self.bed = detector, pose, bed
        self.tracker, self.smoother = tracker or Tracker(), smoother or OneEuroSmoother()
        self.turns, self.watch, self.cadence = TurnMemory(), PatientWatch(), DetectionCadence()

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

        if self.cadence.due(frame.index):
            detections = self.detector.detect(frame.color)
            lap("detect")
            looks = appearance(frame.color, detections)
            detections = self.tracker.update(detections, frame.timestamp_s, looks)
        else:
            detections = self.tracker.between(frame.timestamp_s, width, height)
        lap("track")
        skeletons = Skeletons.empty()
        if self.pose is not None:
            skeletons = self.pose.estimate(frame.color, detections, self._aims(detections, width, height))
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

    def _aims(self, detections: Detections, width: int, height: int) -> Aims:
        if self.bed is None:
            return self.turns.aims(detections.track_id, np.full(len(detections), np.nan))
        return self.turns.aims(detections.track_id, self.bed.turns(detections.xyxy, width, height))
