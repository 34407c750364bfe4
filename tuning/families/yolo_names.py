"""The names of the models that ultralytics builds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# Those that are tried on weights that come without a name, the likelier ones first.
KNOWN = (
    "yolo11n", "yolov8n", "yolo26n", "yolov5n", "yolo11s", "yolov8s", "yolo26s", "yolov5s", "yolo11m", "yolov8m",
    "yolov6n", "yolov6s", "yolov6m", "yolov6l", "yolo11n-pose", "yolov8n-pose",
)  # fmt: skip
_NAME = re.compile(r"^yolo(v3|v5|v6|v8|v9|v10|11|12|26)[a-z]?(-pose)?$")


def is_yolo(architecture: str, layers: dict[str, Any] | None = None) -> bool:
    """Whether ultralytics builds a model of this name, or of these layers."""
    return layers is not None or bool(_NAME.match(Path(architecture).stem))
