"""One step of an ONNX graph, as the operators take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    """One step of the graph. `known`: inputs by place that are constants, as Python numbers or lists."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    opset: int
    known: dict[int, Any] = field(default_factory=dict)

    def argument(self, values: list[Any], place: int, attribute: str = "", default: Any = None) -> Any:
        """An argument as Python numbers, from the input at `place` or the attribute that older opsets have."""
        if place in self.known:
            return self.known[place]
        if place < len(values) and values[place] is not None:
            return values[place].tolist()
        return self.attributes.get(attribute, default)
