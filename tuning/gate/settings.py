"""What a candidate has to show before it may go live."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GateSettings(BaseModel):
    """Every bound of the gate. Scores and shares are 0…1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    significance: float = Field(
        default=0.01,
        title="Chance of letting through one that is no better, over all that are tried on a set",
        gt=0,
        lt=1,
    )
    least_gain: float = Field(default=0.01, title="Least gain of the mean on the held-out set", ge=0, le=1)
    allowed_loss: float = Field(default=0.02, title="What it may lose on a set that must not suffer", ge=0, le=1)
    allowed_alarms: float = Field(default=0.05, title="False people a picture that it may add on such a set", ge=0)
    allowed_group_loss: float = Field(default=0.05, title="What a group of people may lose in the mean", ge=0, le=1)
    enough_people: int = Field(default=20, title="People from whom on a group is judged", ge=2)
    allowed_error: float = Field(default=1e-3, title="Largest difference of the export, of its output's range", gt=0)
    allowed_box_px: float = Field(
        default=1.0, title="Largest difference of a box or a joint on probe frames (px)", gt=0
    )
    least_rate: float = Field(default=0.8, title="Least frame rate, as a share of that of the models in use", gt=0)
    full_rate: float = Field(default=30.0, title="Frames a second that are enough whatever the models in use do", gt=0)
    allowed_confidence_error: float = Field(
        default=0.15, title="Largest expected calibration error of a joint's confidence", gt=0, le=1
    )
