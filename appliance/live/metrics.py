"""The live path's figures in Prometheus' text format (`metrics_door` answers with them).

Numbers about the machine and its models alone: nobody's place, nobody's number, no count of people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil

Labels = Mapping[str, str]  # of one figure


def exposition(status: Mapping[str, Any]) -> str:
    """A service's status (`appliance.api.Status`, as a dictionary) as text. What is not known is left out."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: Mapping[str, Any]) -> Iterator[str]:
    live, camera = status["live"], status["camera"]
    yield from _one("live", "gauge", "Whether a fresh picture is shown.", float(live["state"] == "live"))
    yield from _one("frames_total", "counter", "Frames answered with people or nobody.", live["frames"])
    yield from _one("frames_dropped_total", "counter", "Frames of the camera nobody looked at.", live["dropped"])
    yield from _one("frames_per_second", "gauge", "Frames answered a second, of late.", live["fps"])
    yield from _one("camera_frames_per_second", "gauge", "Frames the camera gives a second.", camera.get("fps"))
    yield from _one("frame_age_seconds", "gauge", "Age of the newest picture.", _seconds(live["age_ms"]))
    whole = [({"quantile": "0.5"}, live["p50_ms"]), ({"quantile": "0.99"}, live["p99_ms"])]
    told = "From a frame's capture to its skeletons, of late."
    yield from _many("frame_to_skeleton_seconds", "gauge", told, [(labels, _seconds(ms)) for labels, ms in whole])
    stages = [
        ({"stage": stage, "quantile": quantile}, _seconds(times[key]))
        for stage, times in live["stages_ms"].items()
        for quantile, key in (("0.5", "p50"), ("0.99", "p99"))
    ]
    yield from _many("stage_seconds", "gauge", "Time of one stage of a frame's work, of late.", stages)
    yield from _one("confidence", "gauge", "Mean score of whom the detector finds, of late.", live["confidence"])
    unsure = live["unsure"] or {}
    both = [({"when": "now"}, unsure.get("now")), ({"when": "after_tuning"}, unsure.get("after_tuning"))]
    yield from _many("unsureness", "gauge", "How unsure the models are, from 0 to 1.", both)
    yield from _one("retargeting_proposed", "gauge", "Whether retargeting is proposed.", _truth(unsure.get("retarget")))
    engines = [
        ({"stage": str(row.get("stage")), "engine": str(row["name"])}, float(row["used"])) for row in live["engines"]
    ]
    yield from _many("engine_used", "gauge", "Whether an inference engine serves.", engines)
    restarts = [({"process": row["name"]}, row["restarts"]) for row in status["processes"]]
    yield from _many("process_restarts_total", "counter", "How often a process was begun anew.", restarts)
    yield from _many("temperature_celsius", "gauge", "The warmest sensor of each kind.", _warmth())


def _one(name: str, kind: str, told: str, value: float | None) -> Iterator[str]:
    yield from _many(name, kind, told, [({}, value)])


def _many(name: str, kind: str, told: str, rows: Sequence[tuple[Labels, float | None]]) -> Iterator[str]:
    known = [(labels, value) for labels, value in rows if value is not None]
    if not known:
        return
    yield f"# HELP wardpose_{name} {told}"
    yield f"# TYPE wardpose_{name} {kind}"
    for labels, value in known:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"wardpose_{name}{f'{{{inside}}}' if inside else ''} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds / 1e3, 6)


def _truth(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _warmth() -> list[tuple[Labels, float | None]]:
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError):
        return []
    return [({"sensor": name}, max(one.current for one in each)) for name, each in sensors.items() if each]
