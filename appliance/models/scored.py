"""What models showed on labelled pictures, kept: the same question is answered by what was found the first time.

The gate asks again what an evaluation has just found, and each candidate is held against the same model in use. A
finding is of these very weights, labels, pixels, settings and code, and of this engine; anything else is another
question.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from appliance.site.folder import SiteFolder
from calibration.atomic import write_text
from calibration.code_digest import code_digest
from calibration.file_digest import sha256_of

if TYPE_CHECKING:
    from runtime.engines.engine import InferenceEngine
    from tuning.coco_folder import Picture

Found = TypeVar("Found", bound=BaseModel)

TOLD = "as it was found before, by the same models on the same pictures"
# Findings kept: the newest. One is some kilobytes.
MOST = 300
# The code that decides what a model shows: another state of it may score otherwise.
_CODE = ("runtime", "tuning/evaluate", "tuning/coco_folder.py", "tuning/confidence.py")


def question(
    models: Mapping[str, tuple[Path, InferenceEngine]],
    data: Path,
    pictures: Iterable[Picture],
    settings: Mapping[str, Any],
) -> str:
    """The name (64 hex digits) of what is asked: `models` are ONNX files and the engines that hold them, by what each
    is for, `data` is the annotations file of `pictures`, `settings` what else the figures depend on (plain values)."""
    asked = {
        "models": {
            use: [sha256_of(path), engine.name, engine.info.model_dump_json()] for use, (path, engine) in models.items()
        },
        "labels": sha256_of(data),
        "pictures": [sha256_of(picture.path) for picture in pictures],
        "settings": dict(settings),
        "code": code_digest(*_CODE),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def kept(site: SiteFolder, name: str, kind: type[Found]) -> Found | None:
    """What was found before for the question of this name; None where nothing was, or its file is damaged."""
    try:
        return kind.model_validate_json(_file(site, name).read_bytes())
    except (OSError, ValidationError):
        return None


def keep(site: SiteFolder, name: str, found: BaseModel) -> None:
    """Write down what was found; the oldest findings beyond `MOST` go."""
    write_text(_file(site, name), found.model_dump_json())
    files = sorted(site.runs.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for old in files[:-MOST]:
        with contextlib.suppress(OSError):
            old.unlink()


def _file(site: SiteFolder, name: str) -> Path:
    return site.runs / f"{name}.json"
