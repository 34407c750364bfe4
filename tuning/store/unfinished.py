"""A tuning that was interrupted: its checkpoint lies beside where the model will be, for the same tuning alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calibration.code_digest import code_digest
from calibration.file_digest import sha256_of
from tuning.store.card import ModelCard

# What decides, besides what a tuning is given, where it leads.
_CODE = ("tuning/families", "tuning/external", "tuning/train", "tuning/coco_folder.py")


@contextlib.contextmanager
def unfinished(out_dir: Path, base: ModelCard, data_dir: Path, asked: dict[str, Any]) -> Iterator[Path]:
    """Where the tuning of `base` on the COCO folder `data_dir` into the model folder `out_dir` keeps its checkpoint;
    its record lies beside that.

    It is there where the same tuning was interrupted before, and goes when the work is done. asked: plain values that
    the weights depend on. What another tuning of this name left behind is deleted.
    """
    same = {
        "base": base.sha256,
        "labels": sha256_of(data_dir / "annotations.json"),
        "asked": asked,
        "code": code_digest(*_CODE),
    }
    folder = out_dir.parent / f".{out_dir.name}.training"
    own = folder / hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]
    for other in folder.glob("*"):
        if other != own:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    yield own / "checkpoint.safetensors"
    shutil.rmtree(folder, ignore_errors=True)
