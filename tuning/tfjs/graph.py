"""Reads a TensorFlow.js graph model (`.json` with its `.bin` files) as nodes and numbers; nothing in it is executed."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from calibration.errors import WardposeError

_MEND = "get the package again: wardpose models fetch"
_STORED: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "float16": np.dtype("<f2")}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. inputs: names of tensors, `node` or `node:1` for a further output, without order-only edges."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as a plain value: text, whole number, float, bool, or a list of them."""
        if name not in self.attributes:
            return default
        try:
            return _plain(self.attributes[name])
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise WardposeError(f"the attribute {name} does not hold", where=self.name, mend=_MEND) from None


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph model. constants: float32 or int32 arrays (halves widened) by the name of their Const node."""

    nodes: dict[str, Node]
    constants: dict[str, NDArray[Any]]
    where: str

    def needed(self, outputs: Sequence[str]) -> list[Node]:
        """The nodes that `outputs` (names of nodes) depend on, each after what it needs; WardposeError for a cycle."""
        order: dict[str, Node] = {}
        under_way: dict[str, Iterator[str]] = {}
        for output in outputs:
            stack = [output]
            while stack:
                name = stack[-1]
                if name in order:
                    stack.pop()
                    continue
                if name not in under_way:
                    under_way[name] = iter(self._node(name).inputs)
                following = next((base for base in map(node_of, under_way[name]) if base not in order), None)
                if following is None:
                    order[name] = self._node(stack.pop())
                elif following in under_way:
                    raise WardposeError(f"the node {following} depends on itself", where=self.where, mend=_MEND)
                else:
                    stack.append(following)
        return list(order.values())

    def _node(self, name: str) -> Node:
        if name not in self.nodes:
            raise WardposeError(f"there is no node {name}", where=self.where, mend=_MEND)
        return self.nodes[name]


def node_of(tensor: str) -> str:
    """The node that makes the tensor `node` or `node:1`."""
    return tensor.split(":")[0]


class _Quantization(BaseModel):
    dtype: Literal["float16"]


class _Weight(BaseModel):
    name: str
    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=8)
    dtype: Literal["float32", "int32"]
    quantization: _Quantization | None = None


class _Group(BaseModel):
    # Plain names beside the .json, so that a graph cannot point at other files.
    paths: list[str] = Field(min_length=1)
    weights: list[_Weight]


class _Node(BaseModel):
    name: str
    op: str
    input: list[str] = []
    attr: dict[str, dict[str, Any]] = {}


class _Topology(BaseModel):
    node: list[_Node] = Field(min_length=1)


class _File(BaseModel):
    format: Literal["graph-model"]
    modelTopology: _Topology
    weightsManifest: list[_Group]


def read_graph(path: Path) -> Graph:
    """The graph in a TensorFlow.js `.json` and the weights beside it.

    Weights are float32 or int32, as they are or quantised to float16. Raises WardposeError, one line, for a file that
    is cut off or something else, for weights that do not fill their files exactly, and for NaN among them.
    """
    where = str(path)
    try:
        file = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WardposeError((error.strerror or str(error)).lower(), where=where, mend=_MEND) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WardposeError(f"no TensorFlow.js graph model: {field}: {first['msg']}", where=where, mend=_MEND) from None
    numbers: dict[str, NDArray[Any]] = {}
    for group in file.weightsManifest:
        numbers.update(_read_group(path, group))
    nodes: dict[str, Node] = {}
    for node in file.modelTopology.node:
        if node.name in nodes:
            raise WardposeError(f"there are two nodes {node.name}", where=where, mend=_MEND)
        if node.op == "Const" and node.name not in numbers:
            raise WardposeError(f"the constant {node.name} has no numbers", where=where, mend=_MEND)
        inputs = tuple(name.removesuffix(":0") for name in node.input if not name.startswith("^"))
        nodes[node.name] = Node(node.name, node.op, inputs, node.attr)
    return Graph(nodes, numbers, where)


def _read_group(path: Path, group: _Group) -> dict[str, NDArray[Any]]:
    parts = []
    for name in group.paths:
        if Path(name).name != name:
            raise WardposeError(f"{name!r} is no file beside it", where=str(path), mend=_MEND)
        try:
            parts.append((path.parent / name).read_bytes())
        except OSError as error:
            raise WardposeError((error.strerror or str(error)).lower(), where=name, mend=_MEND) from None
    content = b"".join(parts)
    sizes = [(_STORED[w.quantization.dtype if w.quantization else w.dtype], math.prod(w.shape)) for w in group.weights]
    wanted = sum(kind.itemsize * count for kind, count in sizes)
    if wanted != len(content):
        raise WardposeError(
            f"{', '.join(group.paths)}: {len(content)} bytes, the graph speaks of {wanted}", where=str(path), mend=_MEND
        )
    numbers, at = {}, 0
    for weight, (kind, count) in zip(group.weights, sizes, strict=True):
        stored = np.frombuffer(content, kind, count, at).reshape(weight.shape)
        if kind.kind == "f" and np.isnan(stored).any():
            raise WardposeError(f"the weights {weight.name} are not numbers", where=str(path), mend=_MEND)
        numbers[weight.name] = stored.astype(np.dtype(weight.dtype))
        at += kind.itemsize * count
    return numbers


def _plain(value: dict[str, Any]) -> Any:
    """The value of an attribute in protobuf's JSON form, where whole numbers and texts are strings."""
    (kind, content), *rest = value.items()
    if rest:
        raise ValueError(kind)
    if kind == "list":
        return [_plain({inner: one}) for inner, many in content.items() for one in many]
    if kind == "s":
        return base64.b64decode(content, validate=True).decode()
    return {"i": int, "f": float, "b": bool, "type": str}[kind](content)
