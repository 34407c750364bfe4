"""The inference engines of this site's live models: what was found of each on this box, and finding it now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.live.plan import model_file, newest_images
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from runtime.engine_choice.qualify import qualify_all
from runtime.engines.engine import REFERENCE, engine_names
from runtime.engines.verdicts import Verdict, fastest, load_verdicts, save_verdicts

NOT_TRIED = "not tried yet on this box: wardpose engines --measure, or half a minute of live picture"


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine for both live models. why: of the first that it does not qualify for, with that model's task."""

    name: str
    detector: Verdict | None
    pose: Verdict | None
    used: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """`name`, `qualifies` (for all it was tried for), `why`, `detector_ms`, `pose_ms`, `threads`, `pinned`,
        `used`."""
        tried = {task: v for task, v in (("detector", self.detector), ("pose", self.pose)) if v is not None}
        why = next((f"{task}: {v.why}" for task, v in tried.items() if not v.qualifies), "" if tried else NOT_TRIED)
        return {
            "name": self.name, "qualifies": bool(tried) and all(v.qualifies for v in tried.values()), "why": why,
            "detector_ms": self.detector and self.detector.ms, "pose_ms": self.pose and self.pose.ms,
            "threads": self.detector and self.detector.threads,
            "pinned": bool(self.detector and self.detector.pinned), "used": list(self.used),
        }  # fmt: skip


def known_engines(site: SiteFolder) -> list[EngineRow]:
    """What is known of every engine for the models that are live; a model that was never exported has no verdicts."""
    found = {stage: _verdicts(site, task) for stage, task in (("detector", "detect"), ("pose", "pose"))}
    best = {stage: fastest(verdicts, REFERENCE) for stage, verdicts in found.items()}
    rows = []
    for name in engine_names():
        detector, pose = (next((v for v in found[s] if v.name == name), None) for s in ("detector", "pose"))
        used = tuple(stage for stage, one in best.items() if found[stage] and (one.name if one else REFERENCE) == name)
        rows.append(EngineRow(name, detector, pose, used))
    return rows


def measure_engines(site: SiteFolder, note: Callable[[str, str], None]) -> None:
    """Try every engine for the live models and keep what is found. note: told stage and engine before each try."""
    store = ModelStore(site)
    detector = model_file(site, store.live("detect"))
    models: dict[str, tuple[Path, Path | None]] = {"detector": (detector, None)}
    if pose := store.live("pose"):
        models["pose"] = (model_file(site, pose), detector)
    for stage, (onnx, finder) in models.items():
        verdicts = qualify_all(
            onnx, place=site.engines, detector=finder, pictures=newest_images(site),
            note=lambda name, stage=stage: note(stage, name),  # type: ignore[misc]
        )  # fmt: skip
        save_verdicts(site.engines, onnx, verdicts)


def engine_words(site: SiteFolder) -> str:
    """Which engine serves each model and which were refused, in one line."""
    rows = [row.to_dict() for row in known_engines(site)]
    if all(row["why"] == NOT_TRIED for row in rows):
        return NOT_TRIED
    used = [f"{stage} on {row['name']}" for row in rows for stage in row["used"]]
    refused = [f"{row['name']} ({row['why']})" for row in rows if not row["qualifies"]]
    return "; ".join([*used, *([f"refused: {', '.join(refused)}"] if refused else [])])


def _verdicts(site: SiteFolder, task: str) -> tuple[Verdict, ...]:
    store = ModelStore(site)
    name = store.live(task)
    onnx = store.onnx(name) if name else None
    return load_verdicts(site.engines, onnx) if onnx is not None else ()
