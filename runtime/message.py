"""What the live process says on its socket, and how to read it.

One message: `version`, `state` (starting, live, no-signal, paused), `message` (why, in one line), `captured_at` and
`finished_at` (this machine's monotonic clock, seconds; null where nothing was ever seen), `frame_index`, `width`,
`height`, `people` [{`id`, `box` [x1, y1, x2, y2], `score`, `keypoints` [[x, y, score] × 17], `shown` (skeleton, or box
where too little of one is sure)}], `sure` and `doubtful` (joint scores from which a limb is drawn solid and dashed),
`fps`, `stages_ms`, and `engines`, `models` and `engines_refused` of the pipeline. Pixels never travel.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from runtime.belief import DOUBTFUL, SURE, shows_skeleton
from runtime.detections import Detections
from runtime.overlay import LiveState, State
from runtime.pipeline import LivePipeline, LiveResult
from runtime.skeleton import Skeletons

VERSION = 1


def live_message(
    state: State,
    *,
    result: LiveResult | None = None,
    pipeline: LivePipeline | None = None,
    message: str = "",
    fps: float = 0.0,
) -> dict[str, Any]:
    """The message for a state. result: the last frame's, whose people are told only while live."""
    said: dict[str, Any] = {"version": VERSION, "state": state, "message": message, "fps": round(fps, 2), "people": []}
    said |= {"captured_at": None, "finished_at": None, "frame_index": None, "width": 0, "height": 0, "stages_ms": {}}
    said |= {"sure": SURE, "doubtful": DOUBTFUL}
    if result is not None:
        said |= {"captured_at": result.captured_at, "finished_at": result.finished_at}
        said |= {"frame_index": result.frame_index, "width": result.width, "height": result.height}
        said["stages_ms"] = {stage: round(ms, 2) for stage, ms in result.stages_ms.items()}
        if state == "live":
            said["people"] = _people(result)
    if pipeline is not None:
        engines = {"detector": pipeline.detector.engine}
        if pipeline.pose is not None:
            engines["pose"] = pipeline.pose.engine
        said["engines"] = {stage: engine.name for stage, engine in engines.items()}
        said["models"] = {stage: engine.info.name for stage, engine in engines.items()}
        said["engines_refused"] = list(pipeline.detector.engine.why)
    return said


def people_of(message: dict[str, Any]) -> tuple[Detections, Skeletons]:
    """The people of a message, in frame pixels; without a pose model there are detections only."""
    people = message.get("people", [])
    if not people:
        return Detections.empty(), Skeletons.empty()
    ids = np.array([p["id"] for p in people], np.int64)
    found = Detections(
        np.array([p["box"] for p in people], np.float32), np.array([p["score"] for p in people], np.float32), ids
    )
    points = [p["keypoints"] for p in people]
    if not all(points):
        return found, Skeletons.empty()
    joined = np.array(points, np.float32)
    return found, Skeletons(joined[..., :2], joined[..., 2], ids)


def state_of(message: dict[str, Any], now_s: float | None = None) -> LiveState:
    """The state with the picture's age now. now_s: this machine's `time.monotonic()`."""
    captured = message.get("captured_at")
    age_s = None if captured is None else max(0.0, (time.monotonic() if now_s is None else now_s) - captured)
    return LiveState(message["state"], age_s)


def _people(result: LiveResult) -> list[dict[str, Any]]:
    ids = result.detections.track_id
    points = np.concatenate([result.skeletons.keypoints, result.skeletons.score[..., None]], axis=-1)
    return [
        {
            "id": 0 if ids is None else int(ids[i]),
            "box": [round(float(v), 1) for v in result.detections.xyxy[i]],
            "score": round(float(result.detections.score[i]), 3),
            "keypoints": [[round(float(x), 1), round(float(y), 1), round(float(s), 3)] for x, y, s in points[i]]
            if len(points)
            else [],
            "shown": "skeleton" if len(points) and shows_skeleton(points[i, :, 2]) else "box",
        }
        for i in range(len(result.detections))
    ]
