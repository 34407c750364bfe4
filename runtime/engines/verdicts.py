"""What was found of each engine for a model on this box, and where that is kept.

A verdict holds for one model file, one box and one set of library versions; anything else is judged anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.json_text import parse_json

# Counts up when engines are judged by other rules.
_RULES = 2
_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy")
_CPU_INFO, _DRIVER = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One engine for one model.

    why: one line where it does not qualify. ms: least milliseconds of a picture (detector) or a person (pose), on
    `threads` threads (None: the engine has none to choose), each on a core of its own where they are `pinned`;
    reference_ms: of the reference on one thread, measured in turns with it.
    compared: so many boxes or joints; agreeing: the part of them that agree.
    """

    name: str
    qualifies: bool
    why: str = ""
    ms: float | None = None
    reference_ms: float | None = None
    threads: int | None = None
    compared: int = 0
    agreeing: float | None = None
    pinned: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def refused(self, why: str) -> Verdict:
        return replace(self, qualifies=False, why=why)


def box_key() -> str:
    """What of this box a verdict hangs on: processor, cores that may be used, GPU and driver, versions of libraries."""
    parts = [str(_RULES), _processor(), str(cores()), _text(_DRIVER)]
    for library in _LIBRARIES:
        try:
            parts.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            parts.append(f"no {library}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0))


def verdicts_file(place: Path, onnx: Path) -> Path:
    """Where the verdicts on a model lie in the folder of engines."""
    return place / f"verdicts-{sha256_of(onnx)[:16]}-{box_key()}.json"


def load_verdicts(place: Path | None, onnx: Path) -> tuple[Verdict, ...]:
    """What is known of each engine; nothing where nobody has looked yet, or the file can't be understood."""
    if place is None:
        return ()
    try:
        rows = parse_json(verdicts_file(place, onnx).read_text())
        return tuple(Verdict(**row) for row in rows)
    except (OSError, ValueError, TypeError):
        return ()


def save_verdicts(place: Path, onnx: Path, verdicts: tuple[Verdict, ...]) -> None:
    """Keep them; a disk that takes nothing only means that they are found anew next time."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_text(verdicts_file(place, onnx), json.dumps([verdict.to_dict() for verdict in verdicts], indent=1))
    except (WardposeError, OSError):
        return


def fastest(verdicts: tuple[Verdict, ...], reference: str, gain: float = 0.85) -> Verdict | None:
    """The qualified engine that takes the smallest part of the reference's time; None where that is the reference.

    The reference's own verdict tells its time with the best number of threads; each `reference_ms` is of one thread.

    gain: the largest part that is worth another engine than the reference. Times are measured one engine at a time, and
    live two share the cores: OpenVINO, by a twentieth the faster alone, then showed 20 frames a second where the
    reference showed 26.
    """
    best = min(
        (v for v in verdicts if v.qualifies and v.name != reference and v.ms is not None and v.reference_ms),
        key=_part,
        default=None,
    )
    own = next((_part(v) for v in verdicts if v.name == reference and v.ms is not None), 1.0)
    return best if best is not None and _part(best) <= gain * own else None


def _part(verdict: Verdict) -> float:
    return (verdict.ms or 0.0) / (verdict.reference_ms or 1.0)


def _processor() -> str:
    found = re.findall(r"^(model name|flags|Features)\s*:\s*(.*)$", _text(_CPU_INFO), re.MULTILINE)
    return "\n".join(sorted({f"{name} {value}" for name, value in found}))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
