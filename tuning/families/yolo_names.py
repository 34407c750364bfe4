"""The names of the models that ultralytics builds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_NAME = re.compile(r"^yolo(v3|v5|v6|v8|v9|v10|11|12|26)[a-z]?(-pose)?$")


def is_yolo(architecture: str, layers: dict[str, Any] | None = None) -> bool:
    """Whether ultralytics builds a model of this name, or of these layers."""
    return layers is not None or bool(_NAME.match(Path(architecture).stem))
