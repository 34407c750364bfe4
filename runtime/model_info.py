"""What the runtime must know about a model to feed it and to read its answer.

It travels inside the ONNX file (metadata key `wardpose`), so that a model is one file.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

METADATA_KEY = "wardpose"

DetectorLayout = Literal["yolo", "yolo-end2end", "yolox", "yolov6", "nanodet"]
PoseLayout = Literal["simcc", "heatmap", "heatmap-udp", "heatmap-dark", "movenet", "yolo-pose"]


class ModelInfo(BaseModel):
    """Input geometry, input normalisation and output layout of one model.

    Detector layouts: `yolo` [1, 4 + classes, N] with xywh in input pixels and class scores; `yolo-end2end`
    [1, M, 6] xyxy, score, class; `yolox` [1, N, 5 + classes] raw grid offsets, objectness, class scores.
    Pose layouts: `simcc` two outputs [P, 17, W·split], [P, 17, H·split]; `heatmap*` [P, 17, h, w]; `yolo-pose`
    [1, 4 + classes + 51, N] whole-picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(title="Name", min_length=1, max_length=120)
    task: Literal["detect", "pose"] = Field(title="Task")
    layout: DetectorLayout | PoseLayout = Field(title="Output layout")
    width: int = Field(title="Input width (px)", ge=32, le=4096)
    height: int = Field(title="Input height (px)", ge=32, le=4096)
    mean: tuple[float, float, float] = Field(default=(0.0, 0.0, 0.0), title="Mean per channel, of 0…255")
    std: tuple[float, float, float] = Field(default=(255.0, 255.0, 255.0), title="Divisor per channel, of 0…255")
    channels: Literal["rgb", "bgr"] = Field(default="rgb", title="Channel order")
    pad_value: int = Field(default=114, title="Letterbox grey", ge=0, le=255)
    letterbox: Literal["centre", "top-left"] = Field(default="centre", title="Where a letterboxed picture sits")
    classes: int = Field(default=1, title="Number of classes", ge=1, le=10_000)
    person_class: int = Field(default=0, title="Index of the person class", ge=0)
    simcc_split: float = Field(default=2.0, title="SimCC bins per input pixel", gt=0)
    box_padding: float = Field(default=1.25, title="Crop size over box size, pose models", ge=1, le=2)
