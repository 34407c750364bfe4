"""One frame in, one result out: detect, track, estimate poses, say who is where, smooth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.appearance import appearance
from runtime.attention import Attention, FrameTime
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
# Frames farther apart (s) tell nothing of how fast they come: the source was away, or is another one.
_AWAY_S = 2.0


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What one frame showed.

    captured_at: the frame's own time; finished_at: `time.monotonic()` when the last stage ended, both in seconds.
    detections and skeletons have the same people in the same order (no skeletons without a pose model). stages_ms:
    milliseconds of each stage, in the order they ran; `detect` is a frame's before this one where people are looked for
    beside the poses, and no part of this one's time. origin: what the frame is of. roles, patient: who is the patient
    and where, None without a calibrated bed in the picture. joints_m: (people, 17, 4) of `joints_in_bed_frame`, None
    without depth. skeletons_age_s: (people,) how much older than the frame each skeleton is, which was then moved on
    with its box; 0 also where nothing has moved since; None where all are of this frame.
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
    skeletons_age_s: NDArray[np.float64] | None = None


class LivePipeline:
    """The live path. `process` blocks its caller until the result is there.

    bed: where the bed is in the picture, which tells how somebody lies who was not tracked before, who is the patient,
    and where the patient is. at_pace: keep up with the source, as the live process does: as many poses a frame as its
    time holds (`Attention`), nothing done again where nothing has moved, how somebody new is turned found over several
    frames, and where frames come fast and there is a second core, a thread looks for people beside the poses, in the
    newest frame that it has time for (`end` ends it). Else each frame is worked on for itself.
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
        self.attention, self._beside = Attention(), DetectorBeside()
        self._detected_s, self._last = -np.inf, (-np.inf, 0)
        self._apart_s = self._since_s = np.inf

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

    def forget_frames(self) -> None:
        """Let go of what is still being found in a frame: the site is paused."""
        self._beside.forget()
        self.attention.forget()
        self.cadence.forget()

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
        began = clock = time.perf_counter()
        self._pace(frame)

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            stages_ms[stage] = (now - clock) * 1e3
            clock = now

        detections = self._detections(frame, stages_ms, lap)
        lap("track")
        skeletons = Skeletons.empty()
        if self.pose is not None:
            skeletons, looked_at = self._skeletons(self.pose, frame, detections, began)
            believed = counted(self.detector.engine.info, detections, skeletons)
            skeletons = without_strays(detections, skeletons)
            self.turns.learn(skeletons[looked_at], detections.track_id)
            detections, skeletons = detections[believed], skeletons[believed]
            people = distinct_people(detections, skeletons)
            detections, skeletons = detections[people], skeletons[people]
            self.attention.believe(detections.track_id)
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
            self.attention.age_s(skeletons.track_id, frame.timestamp_s),
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
        due = self.cadence.due(frame.index, self._apart_s, frame.color if self.at_pace else None)
        if self._overlapping:
            self._look_beside(frame, stages_ms, due=due)
            return self.tracker.between(frame.timestamp_s, width, height)
        if not due:
            return self.tracker.between(frame.timestamp_s, width, height)
        self.cadence.detected(frame.index, frame.color if self.at_pace else None)
        detections = self.detector.detect(frame.color)
        lap("detect")
        self._detected_s = frame.timestamp_s
        return self.tracker.update(detections, frame.timestamp_s, appearance(frame.color, detections))

    def _pace(self, frame: Frame) -> None:
        """Note how fast frames come, and how fast they are worked on."""
        (before_s, index), self._last = self._last, (frame.timestamp_s, frame.index)
        since_s = frame.timestamp_s - before_s
        self._since_s = since_s if 0 < since_s < _AWAY_S else np.inf
        self._apart_s = self._since_s / max(frame.index - index, 1)

    @property
    def _overlapping(self) -> bool:
        """Whether people are looked for beside a frame: where its source is fast, and a core is free for it."""
        return self.at_pace and self.pose is not None and self._apart_s < _FAST_S and cores() > 1

    def _look_beside(self, frame: Frame, stages_ms: dict[str, float], *, due: bool) -> None:
        """Take in whom the detector has found meanwhile, and give it this frame when it has time."""
        self._take_in(self._beside.take(), frame, stages_ms)
        old = not 0 <= frame.timestamp_s - self._detected_s <= _OLDEST_S
        if (due or old) and self._beside.offer(self.detector, frame):
            self.cadence.detected(frame.index, frame.color)
        if old:
            self._beside.wait(_HUNG_S)
            self._take_in(self._beside.take(), frame, stages_ms)
            if self._beside.busy:
                raise Hung(f"the detector has not answered for {_HUNG_S:.0f} s", mend="the live process begins anew")

    def _take_in(self, found: Found | None, frame: Frame, stages_ms: dict[str, float]) -> None:
        if found is None or found.detector is not self.detector or found.shape != frame.color.shape:
            return
        stages_ms["detect"] = found.ms
        self._detected_s = found.time_s
        self.tracker.update(found.detections, found.time_s, found.looks)

    def _skeletons(
        self, pose: PoseEstimator, frame: Frame, detections: Detections, began: float
    ) -> tuple[Skeletons, NDArray[np.intp]]:
        """Everybody's skeleton, and the indices of those whose pose was estimated in this frame, on which work began at
        `began` (`time.perf_counter()`)."""
        height, width = frame.color.shape[:2]
        tracks, now_s = detections.track_id, frame.timestamp_s
        hint = np.full(len(detections), np.nan)
        if self.bed is not None:
            hint = self.bed.turns(detections.xyxy, width, height)
        if not self.at_pace or tracks is None or not pose.one_by_one:
            aims = self.turns.aims(tracks, hint)
            return pose.estimate(frame.color, detections, aims), np.arange(len(detections))
        turned = pose.engine.info.turned_to_body
        clock = time.perf_counter()
        has = FrameTime(self._apart_s, self._since_s, clock - began)
        searching = turned and self.turns.searching(tracks)
        share = self.attention.share(frame.color, tracks, now_s, has, searching=searching)
        aims, views = self.turns.aims_at_pace(tracks, hint, share.further)
        seen = pose.estimate(frame.color, detections[share.people], aims[share.people])
        if len(views):
            self.turns.take(pose.look(frame.color, detections, views), tracks, detections.xyxy)
        self.attention.took(len(share.people) + len(views), time.perf_counter() - clock)
        return self.attention.everybody(frame.color, detections, seen, share.people, now_s), share.people
