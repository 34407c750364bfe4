"""What the runtime must know about a model to feed it and to read its answer.

It travels inside the ONNX file (metadata key `wardpose`), so that a model is one file.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METADATA_KEY = "wardpose"

DetectorLayout = Literal["yolo", "yolo-end2end", "yolox", "yolov6", "nanodet", "detr"]
PoseLayout = Literal["simcc", "heatmap", "heatmap-udp", "heatmap-dark", "movenet", "yolo-pose"]


class ModelInfo(BaseModel):
    """Input geometry, input normalisation and output layout of one model.

    Detector layouts: `yolo` [1, 4 + classes, N] with xywh in input pixels and class scores; `yolo-end2end`
    [1, M, 6] xyxy, score, class; `yolox` [1, N, 5 + classes] raw grid offsets, objectness, class scores; `yolov6`
    the same with xywh in input pixels; `nanodet` three outputs [1, classes, n] of class scores and three
    [1, 4 · bins, n] of side distributions, strides 8, 16, 32; `detr` [1, M, 4 + classes] with xywh in parts of the
    input and class scores.
    Pose layouts: `simcc` two outputs [P, 17, W·split], [P, 17, H·split]; `heatmap*` [P, 17, h, w]; `movenet`
    four: heatmap [P, 17, h, w], regression [P, 34, h, w], centre [P, 1, h, w], offset [P, 34, h, w]; `yolo-pose`
    [1, 4 + classes + 51, N] whole-picture.
    A keypoint's raw score becomes the probability that it lies within a tenth of the trunk's length of the truth by
    `confidence`, linear between its pairs; without pairs the raw score stands.
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
    aim: Literal["upright", "body"] | None = Field(
        default=None,
        title="How a person's crop stands (None: movenet's turned to the body, others upright)",
    )
    threshold: float = Field(
        default=0.25, title="Score from which a found person counts, live, where no pose model has a say", gt=0, lt=1
    )
    doubtful: float | None = Field(
        default=None, gt=0, lt=1,
        title="Score from which the pose model is asked, live, whether a found person is one (None: never)",
    )  # fmt: skip
    certain: float | None = Field(
        default=None, gt=0, lt=1, title="Score from which it need not be asked (None: the threshold)"
    )
    confidence: tuple[tuple[float, float], ...] = Field(
        default=(), title="Pairs of a keypoint's raw score and its probability, both rising"
    )

    @model_validator(mode="after")
    def _confidence_rises(self) -> Self:
        raw, probability = zip(*self.confidence, strict=True) if self.confidence else ((), ())
        if len(self.confidence) == 1:
            raise ValueError("confidence needs two pairs or none")
        if not all(0 <= value <= 1 for value in (*raw, *probability)):
            raise ValueError("confidence must lie in 0…1")
        if not all(a < b for a, b in pairwise(raw)) or not all(a <= b for a, b in pairwise(probability)):
            raise ValueError("confidence must rise with the raw score")
        return self

    @property
    def turned_to_body(self) -> bool:
        """Whether crops of people are turned so that the trunk stands upright in them."""
        return (self.aim or ("body" if self.layout == "movenet" else "upright")) == "body"

    def probability(self, score: NDArray[np.floating]) -> NDArray[np.float32]:
        """Keypoints' probabilities, in the shape of their raw scores; one without an answer (0) keeps 0."""
        import numpy as np  # here, so that reading a card needs none

        score = np.clip(score, 0, 1)
        if self.confidence:
            raw, probability = np.array(self.confidence).T
            score = np.where(score > 0, np.interp(score, raw, probability), 0)
        return score.astype(np.float32)
