"""An ONNX graph as a torch module: trained as it stands, and written back into the same graph.

So tuned and exported model are one thing: the graph that was trained is the graph that runs, and there is no error of
an export to check. Convolutions, and the matrices of Gemm and MatMul, are parameters; all else stands as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from calibration.errors import WardposeError
from tuning.families.onnx_file import load_graph, picture_input
from tuning.families.onnx_input_size import with_input_size
from tuning.families.onnx_node import Node
from tuning.families.onnx_steps import arrays_of, compute, nodes_of, note_arguments
from tuning.store.weights import State

__all__ = ["OnnxGraph", "graph_of", "load_graph", "with_input_size"]

# What a tensor may pass between its logits and the output without losing them.
_MOVES = frozenset(("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Slice"))
# What a weight may pass between its initialiser and the operator that uses it.
_WEIGHT_MOVES = frozenset(("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze"))


class OnnxGraph(torch.nn.Module):  # type: ignore[misc]
    """The graph of `model`, as `load_graph` gives it: batches of any size, every output by its name.

    convolutions: the names of the convolutions' weights, in the graph's order. shapes: of every tensor, for the
    declared input. producers: the node that makes a tensor. expectations: weights that take the mean over bins, and are
    no weights to train. watched: further tensors that `forward` is to answer. WardposeError where a node of the graph
    cannot be computed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        self.input, self.picture_shape = picture_input(model)
        self.outputs = [value.name for value in model.graph.output]
        nodes, arrays = nodes_of(model), arrays_of(model)
        self.producers = {name: node for node in nodes for name in node.outputs}
        trained, self.convolutions, self._biases = _trainable(nodes, arrays, self.producers)
        self._names = list(trained)
        self._parameters_list = torch.nn.ParameterList(
            [torch.nn.Parameter(torch.from_numpy(arrays[name].astype(np.float32))) for name in self._names]
        )
        constants = {n: torch.from_numpy(np.array(a)) for n, a in arrays.items() if n not in trained}
        self.expectations = {name for name, array in arrays.items() if _is_expectation(array)}
        self.watched: tuple[str, ...] = ()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._nodes = self._settled(_fused(nodes, self.outputs), constants)
        self._constants: dict[str, Any] = {}
        self._buffers_of: dict[str, str] = {}
        read = {name for node in self._nodes for name in node.inputs} | set(self.outputs)
        for place, (name, value) in enumerate(constants.items()):
            if name not in read:
                continue
            if value.dtype.is_floating_point or value.dtype == torch.bool:
                self.register_buffer(f"constant_{place}", value, persistent=False)
                self._buffers_of[name] = f"constant_{place}"
            else:  # lengths and places, read on the host
                self._constants[name] = value
        self._logits = self._with_logits()
        self._last_reader = {name: place for place, node in enumerate(self._nodes) for name in node.inputs}

    def _settled(self, nodes: list[Node], constants: dict[str, Any]) -> list[Node]:
        """Run once on a grey picture: fold what is constant, and make fixed Reshapes independent of the batch."""
        declared = dict(zip(self._names, self._parameters_list, strict=True))
        values: dict[str, Any] = {self.input: torch.zeros(self.picture_shape), **declared, **constants}
        kept: list[Node] = []
        with torch.no_grad():
            for node in nodes:
                given = [name for name in node.inputs if name]
                note_arguments(node, constants)
                outputs = compute(node, [values[name] if name else None for name in node.inputs])
                values.update(zip(node.outputs, outputs, strict=False))
                if all(name in constants for name in given):
                    constants.update(zip(node.outputs, outputs, strict=False))
                    continue
                kept.append(node)
                batched = outputs[0].dtype.is_floating_point and outputs[0].ndim and node.inputs[0] not in declared
                if node.op == "Reshape" and 1 in node.known and batched:
                    node.known[1] = [-1, *outputs[0].shape[1:]]
        self.shapes = {name: tuple(value.shape) for name, value in values.items()}
        return kept

    def _with_logits(self) -> set[str]:
        """Tensors that are wanted a second time without their sigmoids: from each output back over moves to those."""
        wanted: set[str] = set()

        def reaches(name: str) -> bool:
            node = self.producers.get(name)
            if node is None:
                return False
            parts = node.inputs if node.op == "Concat" else node.inputs[:1]
            found = node.op == "Sigmoid" or (node.op in _MOVES and any([reaches(part) for part in parts]))  # noqa: C419
            if found:
                wanted.add(name)
            return found

        self.logit_outputs = [name for name in self.outputs if reaches(name)]
        return wanted

    def forward(self, images: Any) -> dict[str, Any]:
        """images (B, 3, H, W) to every output by name, (B, …).

        An output that ends in sigmoids, in all its rows or some, comes a second time as `name:logits` with those
        sigmoids left out and the other rows as they are. `watched` tensors come along by their names.
        """
        if tuple(images.shape[1:]) != self.picture_shape[1:]:
            raise WardposeError(
                f"pictures of {tuple(images.shape[1:])} were given, the graph is declared for {self.picture_shape[1:]}"
            )
        values: dict[str, Any] = {self.input: images, **self._constants}
        values |= dict(zip(self._names, self._parameters_list, strict=True))
        values |= {name: getattr(self, buffer) for name, buffer in self._buffers_of.items()}
        logits: dict[str, Any] = {}
        wanted = {*self.outputs, *self.watched}
        for place, node in enumerate(self._nodes):
            given = [values[name] if name else None for name in node.inputs]
            values.update(zip(node.outputs, compute(node, given), strict=False))
            if self._logits and node.outputs[0] in self._logits:
                before = given if node.op == "Sigmoid" else [logits.get(n, values.get(n)) for n in node.inputs]
                logits[node.outputs[0]] = before[0] if node.op == "Sigmoid" else compute(node, before)[0]
            for name in set(node.inputs):
                if name and self._last_reader[name] == place and name not in wanted:
                    del values[name]
        answer = {name: values[name] for name in (*self.outputs, *self.watched)}
        return answer | {f"{name}:logits": logits[name] for name in self.logit_outputs}

    def parameter(self, name: str) -> Any:
        """The torch parameter of an initialiser."""
        return self._parameters_list[self._names.index(name)]

    def strides_overlap(self) -> bool:
        """Whether no convolution is narrower than its stride, and so looks at every pixel."""
        convolutions = [node for node in self._nodes if node.op == "Conv"]
        return all(
            kernel >= stride
            for node in convolutions
            for kernel, stride in zip(self.shapes[node.inputs[1]][2:], node.attributes.get("strides", ()), strict=False)
        )

    def freeze(self, first: int) -> None:
        """The first so many convolutions keep their numbers; the others, and the matrices, are trained."""
        kept = {name for weight in self.convolutions[:first] for name in (weight, self._biases.get(weight))}
        for name, parameter in zip(self._names, self._parameters_list, strict=True):
            parameter.requires_grad_(name not in kept)

    def state(self) -> State:
        """What is trained, by its name in the graph: float32 arrays of their own."""
        return {n: p.detach().cpu().numpy().copy() for n, p in zip(self._names, self._parameters_list, strict=True)}

    def load_state(self, state: State) -> None:
        """Take over what `state` gave; WardposeError for a name or shape that is not this graph's."""
        own = self.state()
        wrong = sorted(
            n for n in own.keys() | state.keys() if n not in own or n not in state or own[n].shape != state[n].shape
        )
        if wrong:
            raise WardposeError(f"the weights do not fit the graph ({len(wrong)} tensors differ, first {wrong[0]})")
        with torch.no_grad():
            for name, parameter in zip(self._names, self._parameters_list, strict=True):
                parameter.copy_(torch.from_numpy(np.asarray(state[name], np.float32)))

    def written(self) -> onnx.ModelProto:
        """The same graph with the present numbers in its initialisers."""
        model, state = onnx.ModelProto(), self.state()
        model.CopyFrom(self._model)
        for tensor in model.graph.initializer:
            if tensor.name in state:
                tensor.CopyFrom(numpy_helper.from_array(state[tensor.name], tensor.name))
        return model


def graph_of(path: Path) -> OnnxGraph:
    """The graph of a file; WardposeError naming the file for whatever does not hold."""
    try:
        return OnnxGraph(load_graph(path))
    except WardposeError as error:
        raise error if error.where else WardposeError(error.what, where=str(path), mend=error.mend) from None


def _trainable(
    nodes: list[Node], arrays: dict[str, Any], producers: dict[str, Node]
) -> tuple[dict[str, None], list[str], dict[str, str]]:
    """Initialisers to train, in the graph's order; the convolutions' weights among them; the bias of each."""

    def source(name: str) -> str | None:
        while name in producers and producers[name].op in _WEIGHT_MOVES:
            name = producers[name].inputs[0]
        return name if name in arrays and arrays[name].dtype.kind == "f" else None

    trained: dict[str, None] = {}
    convolutions: list[str] = []
    biases: dict[str, str] = {}
    products: set[str] = set()
    for node in nodes:
        found: list[str | None] = []
        if node.op in ("Conv", "ConvTranspose", "Gemm"):
            found = [source(name) for name in node.inputs[1:3] if name]
            if found[0] is None or _is_expectation(arrays[found[0]]):
                continue
            if node.op != "Gemm" and found[0] not in convolutions:
                convolutions.append(found[0])
            if len(found) == 2 and found[1]:
                biases[found[0]] = found[1]
        elif node.op == "MatMul":
            found = [source(name) for name in node.inputs]
            if any(name and arrays[name].ndim > 1 for name in found):
                products.add(node.outputs[0])
        elif node.op == "Add" and products & set(node.inputs):  # a matrix product's bias
            found = [name for name in node.inputs if name in arrays and arrays[name].ndim == 1]
        trained |= dict.fromkeys(name for name in found if name)
    return trained, convolutions, biases


def _is_expectation(weight: Any) -> bool:
    """A 1×1 convolution with 0, 1, 2, … takes the mean of a distribution over bins: arithmetic, not a weight."""
    return (
        weight.ndim == 4
        and weight.shape[0] == 1
        and weight.size > 2
        and np.array_equal(weight.ravel(), np.arange(weight.size))
    )


def _fused(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """Every x · sigmoid(x) as one step, which keeps one tensor less for the way back."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    fused: dict[int, Node] = {}
    dropped: set[int] = set()
    for node in nodes:
        if node.op != "Sigmoid" or node.outputs[0] in outputs or len(readers.get(node.outputs[0], [])) != 1:
            continue
        product = readers[node.outputs[0]][0]
        if product.op == "Mul" and sorted(product.inputs) == sorted([node.inputs[0], node.outputs[0]]):
            fused[id(product)] = Node("SiLU", product.name, [node.inputs[0]], product.outputs, {}, node.opset)
            dropped.add(id(node))
    return [fused.get(id(node), node) for node in nodes if id(node) not in dropped]
