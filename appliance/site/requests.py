"""What every request to the service is, what one is that must say why, and what asks."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator

from calibration.bounds import LARGEST

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Request(BaseModel):
    """What is asked; a field that isn't known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _of_64_bits(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError("is too large")
        return value


class Why(Request):
    """A deed that touches pixels or what is live: it says why, and the audit trail keeps it."""

    reason: Reason


class Ask(Protocol):
    """One call of `appliance.api`, answered as plain values: the service's client, or its deeds in the same process."""

    def __call__(self, name: str, /, **parameters: Any) -> Any: ...
