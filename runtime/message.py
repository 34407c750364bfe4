"""What the live process says on its socket, and how to read it.

One message: `version`, `state` (starting, live, no-signal, paused), `message` (why, in one line), `captured_at` and
`finished_at` (this machine's monotonic clock, seconds; null where nothing was ever seen), `frame_index`, `width`,
`height`, `origin` (what the frame is of: camera, recording, simulation, unknown; null where nothing was ever seen),
`pause` ({`by`, `since`, `reason`, `words`} while paused, else null), `people` (those of whom something is drawn),
`patient` (`place`: in-bed, on-edge, out-of-bed, nobody; `probability` of each; `for_s`: for how long it has been that;
`seen`: whether the patient is among the people; `id`; `words`; null without a calibrated bed), `unsure` (`now`,
`after_tuning`, `ratio`, `retarget`: whether that is proposed, `changed`, `words`; null before anybody was seen),
`stale_s` (how old a picture shown as now may be), `sure` and `doubtful` (joint scores from which a limb is drawn solid
and dashed), `fps`, `stages_ms`, and `engines`, `models`, `engines_refused` and `engines_told` ([{`stage`, `name`,
`used`, `qualifies`, `why` (not), `ms`, `threads`}]) of the pipeline.
One of the people: `id`, `box` [x1, y1, x2, y2], `score`, `keypoints` [[x, y, score] × 17], `shown` (skeleton, or box
where too little of one is sure), `role` (patient, other, unknown), `patient_p` (how likely the patient), `place`, both
null without a calibrated bed, `joints_m` ([x, y, z, error] × 17 in metres of the bed frame, null where there is none;
[] without depth), and `age_s` (how much older than the picture the skeleton is, which was then moved on with its box; 0
also where nothing has moved since).
Pixels never travel.
"""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.belief import DOUBTFUL, SURE, limb_score, shows_skeleton
from runtime.detections import Detections
from runtime.engines.chain import EngineChain
from runtime.frames import known_origin
from runtime.pause import Pause
from runtime.pipeline import LivePipeline, LiveResult
from runtime.skeleton import LIMBS, Skeletons
from runtime.stance import PLACES
from runtime.state import STALE_S, LiveState, State
from runtime.unsureness import Unsureness

VERSION = 1


def live_message(
    state: State,
    *,
    result: LiveResult | None = None,
    pipeline: LivePipeline | None = None,
    message: str = "",
    fps: float = 0.0,
    pause: Pause | None = None,
    unsure: Unsureness | None = None,
) -> dict[str, Any]:
    """The message for a state. result: the last frame's, whose people are told only while live. pause: what holds.
    unsure: how unsure the models are."""
    said: dict[str, Any] = {"version": VERSION, "state": state, "message": message, "fps": round(fps, 2), "people": []}
    said |= {"captured_at": None, "finished_at": None, "frame_index": None, "width": 0, "height": 0, "stages_ms": {}}
    said |= {"sure": SURE, "doubtful": DOUBTFUL, "origin": None, "pause": pause and pause.to_dict()}
    said |= {"stale_s": STALE_S, "patient": None, "unsure": unsure and unsure.to_dict()}
    if result is not None:
        said |= {"captured_at": result.captured_at, "finished_at": result.finished_at}
        said |= {"frame_index": result.frame_index, "width": result.width, "height": result.height}
        said["origin"] = result.origin
        said["stages_ms"] = {stage: round(ms, 2) for stage, ms in result.stages_ms.items()}
        if state == "live":
            said["people"] = _people(result)
            said["patient"] = result.patient and result.patient.to_dict()
    if pipeline is not None:
        engines = {"detector": pipeline.detector.engine}
        if pipeline.pose is not None:
            engines["pose"] = pipeline.pose.engine
        said["engines"] = {stage: engine.name for stage, engine in engines.items()}
        said["models"] = {stage: engine.info.name for stage, engine in engines.items()}
        said["engines_refused"] = list(pipeline.detector.engine.why)
        said["engines_told"] = [
            {"stage": stage} | row
            for stage, engine in engines.items()
            if isinstance(engine, EngineChain)
            for row in engine.told()
        ]
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
    paused = (message.get("pause") or {}).get("words", "")
    return LiveState(
        message["state"], age_s, known_origin(message.get("origin")), paused, message.get("stale_s", STALE_S)
    )


def _people(result: LiveResult) -> list[dict[str, Any]]:
    """Those of whom something is drawn: a person wholly outside the frame is neither shown nor counted."""
    ids, frame = result.detections.track_id, (result.width, result.height)
    points = np.concatenate([result.skeletons.keypoints, result.skeletons.score[..., None]], axis=-1)
    people = []
    for i in range(len(result.detections)):
        joints = points[i] if len(points) else np.zeros((0, 3), np.float32)
        skeleton = len(joints) > 0 and bool(shows_skeleton(joints[:, 2])) and _limb_in_frame(joints, frame)
        box = np.clip(result.detections.xyxy[i], 0, [*frame, *frame])
        if not skeleton and not (box[2] - box[0] >= 1 and box[3] - box[1] >= 1):
            continue
        if not skeleton and len(joints) and shows_skeleton(joints[:, 2]):
            joints = joints * np.array([1, 1, 0])  # all of it lies outside: the box stands for the person
        people.append(
            {
                "id": 0 if ids is None else int(ids[i]),
                "box": [round(float(v), 1) for v in box],
                "score": round(float(result.detections.score[i]), 3),
                "keypoints": [[round(float(x), 1), round(float(y), 1), round(float(s), 3)] for x, y, s in joints],
                "shown": "skeleton" if skeleton else "box",
                **_whereabouts(result, i),
            }
        )
    return people


def _whereabouts(result: LiveResult, person: int) -> dict[str, Any]:
    """Who a person is to the bed, and where."""
    told: dict[str, Any] = {"role": "unknown", "patient_p": None, "place": None, "joints_m": []}
    if result.roles is not None:
        told["role"], told["place"] = result.roles.role(person), PLACES[result.roles.place[person]]
        told["patient_p"] = round(float(result.roles.patient[person]), 3)
    ages = result.skeletons_age_s
    told["age_s"] = round(float(ages[person]), 3) if ages is not None and len(ages) else 0.0
    if result.joints_m is not None:
        rounded = np.round(result.joints_m[person], 3).tolist()
        told["joints_m"] = [joint if np.isfinite(joint).all() else None for joint in rounded]
    return told


def _limb_in_frame(joints: NDArray[np.floating], frame: tuple[int, int]) -> bool:
    """Whether a limb that is drawn of `joints` (17, 3) crosses a frame of that width and height."""
    drawn = [limb for limb, sure in zip(LIMBS, limb_score(joints[:, 2]), strict=True) if sure >= DOUBTFUL]
    ends = np.clip(np.nan_to_num(joints[:, :2], nan=-1e4), -16000, 16000).round().astype(int).tolist()
    return any(cv2.clipLine((0, 0, *frame), tuple(ends[a]), tuple(ends[b]))[0] for a, b in drawn)
