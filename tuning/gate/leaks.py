"""Was a model trained on the pictures it is judged by? Its folder keeps a digest of every picture it has seen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from calibration.atomic import write_text
from calibration.file_digest import sha256_of
from calibration.json_text import parse_json

TRAINED_ON_FILE = "trained-on.json"


def digests(pictures: Iterable[Path]) -> set[str]:
    """A SHA-256 of each picture's file."""
    return {sha256_of(path) for path in pictures}


def write_trained_on(model: Path, pictures: Iterable[Path]) -> None:
    """Keep in the model's folder which pictures it was trained on."""
    write_text(model / TRAINED_ON_FILE, json.dumps({"format": 1, "pictures": sorted(digests(pictures))}))


def trained_on(model: Path) -> set[str] | None:
    """The digests of the pictures a model was trained on, None where its folder does not say."""
    try:
        said = parse_json((model / TRAINED_ON_FILE).read_bytes())["pictures"]
        return {str(one) for one in said}
    except (OSError, ValueError, KeyError, TypeError):
        return None
