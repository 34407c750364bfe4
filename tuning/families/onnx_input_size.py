"""The same graph for pictures of another size: lengths and cell positions that a graph holds as constants, anew.

A convolution takes any size, but exporters write lengths of one size into Reshape, Resize and Slice, and positions of
grid cells into constants. Each is derived again where its meaning is certain, and the graph refused where it is not.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from calibration.errors import WardposeError
from tuning.families.onnx_file import picture_input, prepared
from tuning.families.onnx_node import Node
from tuning.families.onnx_steps import arrays_of, compute, nodes_of, shapes_of

_MEND = "export the model for this size instead"
_STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32), (32,), (16,), (8,))
_ELEMENTWISE = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Concat", "Sum"))
_END = 2**31 - 1  # beyond any axis: "to the end", as exporters write it
Size = tuple[int, int]  # height, width
Array = NDArray[Any]


def with_input_size(model: onnx.ModelProto, width: int, height: int) -> onnx.ModelProto:
    """The graph declared for pictures of `width` × `height` pixels.

    Raises WardposeError for a size that is no multiple of the coarsest stride, and for a graph in which a constant
    depends on the size in a way that is not known: it is named.
    """
    changed = prepared(model)
    name, (_, _, *old) = picture_input(changed)
    if (old[0], old[1]) == (height, width):
        return changed
    _Resizing(changed, name, (old[0], old[1]), (height, width)).run()
    return changed


class _Resizing:
    """One walk through the graph, computing it at the new size and deriving each constant as it is reached."""

    def __init__(self, model: onnx.ModelProto, name: str, old: Size, new: Size) -> None:
        self.model, self.name, self.old, self.new = model, name, old, new
        self.shapes = shapes_of(model)
        self.nodes = nodes_of(model)
        self.constants: dict[str, Array] = arrays_of(model)
        stride = self._coarsest_stride()
        if any(length % stride for length in new):
            raise WardposeError(f"{new[1]}×{new[0]} is no multiple of {stride}", mend="choose other lengths")

    def _coarsest_stride(self) -> int:
        strides = [
            self.old[0] // shape[2]
            for node in self.nodes
            if node.op == "Conv" and len(shape := self.shapes[node.outputs[0]]) == 4
            if shape[2] > 1 and self.old[0] % shape[2] == 0 and self.old[1] * shape[2] == self.old[0] * shape[3]
        ]
        return max(strides, default=1)

    def run(self) -> None:
        """Rewrite `model` in place."""
        batch = self.shapes[self.name][0]
        values: dict[str, Any] = {key: torch.from_numpy(np.array(a)) for key, a in self.constants.items()}
        values[self.name] = torch.zeros(batch, 3, *self.new)
        with torch.no_grad():
            for place, node in enumerate(self.nodes):
                for at, value in self._derived(node, values).items():
                    self._replace(place, node, at, value, values)
                outputs = compute(node, [values[key] if key else None for key in node.inputs])
                values.update(zip(node.outputs, outputs, strict=False))
                if all(key in self.constants for key in node.inputs if key):
                    self.constants |= {k: o.numpy() for k, o in zip(node.outputs, outputs, strict=False)}
        graph = self.model.graph
        del graph.value_info[:]
        used = {key for node in graph.node for key in node.input} | {output.name for output in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for value in (*graph.input, *graph.output):
            axes = value.type.tensor_type.shape.dim
            for axis, length in list(zip(axes, values[value.name].shape, strict=False))[1:]:
                axis.dim_value = int(length)
        for output in graph.output:  # a fixed batch stays what it was
            if len(output.type.tensor_type.shape.dim) != values[output.name].ndim:
                output.type.tensor_type.ClearField("shape")
        onnx.checker.check_model(self.model)

    def _replace(self, place: int, node: Node, at: int | str, value: Any, values: dict[str, Any]) -> None:
        """Give the node another constant input, or another attribute."""
        proto = self.model.graph.node[place]
        if isinstance(at, str):
            node.attributes[at] = value
            kept = [attribute for attribute in proto.attribute if attribute.name != at]
            kept = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
            del proto.attribute[:]
            proto.attribute.extend([*kept, onnx.helper.make_attribute(at, value)])
            return
        name = f"{node.inputs[at]}:{place}:{self.new[1]}x{self.new[0]}"
        array = np.asarray(value, self.constants[node.inputs[at]].dtype)
        self.model.graph.initializer.append(numpy_helper.from_array(array, name))
        proto.input[at] = node.inputs[at] = name
        self.constants[name], values[name] = array, torch.from_numpy(array.copy())

    def _derived(self, node: Node, values: dict[str, Any]) -> dict[int | str, Any]:
        """The node's constants that depend on the size, by input place or attribute."""
        given = [tuple(values[key].shape) if key else () for key in node.inputs]
        before = [self.shapes.get(key, given[place]) for place, key in enumerate(node.inputs)]
        constant = [key in self.constants for key in node.inputs]
        if given == before or all(constant):
            return {}
        if node.op == "Reshape" and constant[1]:
            return self._reshape(node, before[0], given[0])
        if node.op == "Resize" and len(node.inputs) > 3 and node.inputs[3] and constant[3]:
            return self._resize(node, before[0], given[0])
        if node.op == "Slice":
            return self._slice(node, before[0], given[0])
        if node.op in ("AveragePool", "MaxPool") and set(self.shapes[node.outputs[0]][2:]) == {1}:
            if tuple(node.attributes["kernel_shape"]) != before[0][2:]:
                raise self._refusal(node, "pools to one place")
            return {"kernel_shape": list(given[0][2:]), "strides": [1, 1]}  # a pool over the whole map
        if node.op == "Split":
            return self._split(node, before[0], given[0])
        if node.op in _ELEMENTWISE:
            return self._positions(node, before, given, constant)
        return {}

    def _reshape(self, node: Node, before: tuple[int, ...], given: tuple[int, ...]) -> dict[int | str, Any]:
        target, old = self.constants[node.inputs[1]].tolist(), self.shapes[node.outputs[0]]
        wanted: list[int] = []
        for taken, made in _aligned(before, old):
            lengths = [given[axis] for axis in taken]
            if lengths == [before[axis] for axis in taken]:
                wanted += [old[axis] for axis in made]
            elif len(made) == 1:
                wanted.append(math.prod(lengths))
            else:
                wanted += self._map([old[axis] for axis in made], math.prod(lengths), node)
        filled = [given[axis] if length == 0 else length for axis, length in enumerate(target)]
        rest = math.prod(length for length in filled if length != -1)
        if [math.prod(given) // rest if length == -1 else length for length in filled] == wanted:
            return {}
        return {1: [target[0] if target[0] <= 0 and -1 not in target[1:] else wanted[0], *wanted[1:]]}

    def _map(self, old: list[int], cells: int, node: Node) -> list[int]:
        """Height and width of a map that a row of cells is laid out to."""
        if len(old) == 2 and old[0] and self.old[0] % old[0] == 0 and self.old[0] * old[1] == self.old[1] * old[0]:
            stride = self.old[0] // old[0]
            if self.new[0] // stride * (self.new[1] // stride) == cells:
                return [self.new[0] // stride, self.new[1] // stride]
        raise self._refusal(node, f"lays {cells} cells out as {old}")

    def _resize(self, node: Node, before: tuple[int, ...], given: tuple[int, ...]) -> dict[int | str, Any]:
        sizes = self.constants[node.inputs[3]].tolist()
        axes = [axis % len(given) for axis in node.attributes.get("axes", range(len(given)))]
        wanted = []
        for axis, length in zip(axes, sizes, strict=True):
            if before[axis] == given[axis]:
                wanted.append(length)
            elif (length * given[axis]) % before[axis] == 0:
                wanted.append(length * given[axis] // before[axis])
            else:
                raise self._refusal(node, f"scales {before[axis]} to {length}")
        return {3: wanted}

    def _slice(self, node: Node, before: tuple[int, ...], given: tuple[int, ...]) -> dict[int | str, Any]:
        if len(node.inputs) < 3 or node.inputs[2] not in self.constants or node.inputs[1] not in self.constants:
            return {}
        starts, ends = (np.atleast_1d(self.constants[node.inputs[place]]).tolist() for place in (1, 2))
        named = node.inputs[3] if len(node.inputs) > 3 else ""
        axes = np.atleast_1d(self.constants[named]).tolist() if named else list(range(len(starts)))
        for place, axis in enumerate(axes):
            if before[axis] == given[axis]:
                continue
            whole = starts[place] in range(-4, 5)
            if whole and ends[place] >= before[axis]:
                ends[place] = _END
            elif not (whole and ends[place] in range(-4, 0)):
                raise self._refusal(node, f"takes {starts[place]} to {ends[place]} of {before[axis]}")
        return {2: ends}

    def _split(self, node: Node, before: tuple[int, ...], given: tuple[int, ...]) -> dict[int | str, Any]:
        axis = node.attributes.get("axis", 0)
        if before[axis] == given[axis]:
            return {}
        old = [self.shapes[name][axis] for name in node.outputs]
        new = [self._cells(length, self.new) for length in old]
        if None in new or sum(length or 0 for length in new) != given[axis]:
            raise self._refusal(node, f"splits {before[axis]} into {old}")
        return {1: new} if len(node.inputs) > 1 else {"split": new}

    def _cells(self, length: int, size: Size) -> int | None:
        for stride in (4, 8, 16, 32, 64, 128):
            if length == (self.old[0] // stride) * (self.old[1] // stride):
                return (size[0] // stride) * (size[1] // stride)
        return None

    def _positions(
        self, node: Node, before: list[tuple[int, ...]], given: list[tuple[int, ...]], constant: list[bool]
    ) -> dict[int | str, Any]:
        derived: dict[int | str, Any] = {}
        for place in (place for place, fixed in enumerate(constant) if fixed):
            array = self.constants[node.inputs[place]]
            axes = {
                array.ndim - back: (given[other][-back], before[other][-back])
                for other in range(len(given))
                if not constant[other]
                for back in range(1, min(array.ndim, len(given[other])) + 1)
                if array.shape[-back] == before[other][-back] > 1 and given[other][-back] != before[other][-back]
            }
            if node.op == "Concat":
                axes.pop(node.attributes["axis"] % max(array.ndim, 1), None)
            if axes:
                anew = self._cell_positions(array, axes) if len(axes) == 1 else None
                anew = _continued(array, {axis: pair[0] for axis, pair in axes.items()}) if anew is None else anew
                if anew is None:
                    raise self._refusal(node, f"holds {array.size} numbers made for one size ({node.inputs[place]})")
                derived[place] = anew
        return derived

    def _cell_positions(self, array: Array, axes: dict[int, tuple[int, int]]) -> Array | None:
        """Centres, corners or strides of the cells of all grids, one after the other, for the new size."""
        ((axis, (wanted, cells)),) = axes.items()
        rows = np.moveaxis(array, axis, -1)  # (..., cells)
        leading = rows.shape[:-1]
        rows = rows.reshape(-1, cells).astype(np.float64)
        for strides in _STRIDE_SETS:
            old, new = (_grid(size, strides) for size in (self.old, self.new))
            if len(old[2]) != cells or len(new[2]) != wanted:
                continue
            columns = []
            for row in rows:
                found = next((f(*new) for f in _FORMS if np.allclose(f(*old), row, rtol=1e-4, atol=1e-3)), None)
                if found is None:
                    return None
                columns.append(found)
            return np.moveaxis(np.stack(columns).reshape(*leading, wanted), -1, axis).astype(array.dtype)
        return None

    def _refusal(self, node: Node, why: str) -> WardposeError:
        height, width = self.old
        return WardposeError(
            f"it is made for {width}×{height} only: its node {node.name or node.outputs[0]} ({node.op}) {why}",
            mend=_MEND,
        )


def _grid(size: Size, strides: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Column, row and stride (N,) of every cell, the first stride's grid first, row by row."""
    parts = [np.meshgrid(np.arange(size[1] // s), np.arange(size[0] // s)) for s in strides]
    x, y = (np.concatenate([part[axis].ravel() for part in parts]).astype(np.float64) for axis in (0, 1))
    return x, y, np.concatenate([np.full(part[0].size, s, np.float64) for part, s in zip(parts, strides, strict=True)])


def _forms() -> list[Any]:
    """What an exporter may have written of a cell: its column or row, or its middle, in cells or pixels; its stride."""

    def form(axis: int, offset: float, scaled: bool) -> Any:
        return lambda x, y, stride: ((x, y)[axis] + offset) * (stride if scaled else 1)

    placed = [form(*choice) for choice in itertools.product((0, 1), (0.0, 0.5), (False, True))]
    return [*placed, lambda x, y, stride: stride]


_FORMS = _forms()


def _continued(array: Array, lengths: dict[int, int]) -> Array | None:
    """The array with each axis brought to its new length by the straight line that it follows along that axis."""
    for axis, length in lengths.items():
        rows = np.moveaxis(array.astype(np.float64), axis, 0)
        step = rows[1] - rows[0]
        line = rows[0] + step * np.arange(len(rows)).reshape(-1, *[1] * (rows.ndim - 1))
        if not np.allclose(line, rows, rtol=1e-5, atol=1e-5):
            return None
        line = rows[0] + step * np.arange(length).reshape(-1, *[1] * (rows.ndim - 1))
        array = np.moveaxis(line, 0, axis).astype(array.dtype)
    return array


def _aligned(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Axes of a reshape in the smallest groups that hold as many numbers before as after."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        taken, made = [i], [j]
        product, result = before[i], after[j]
        i, j = i + 1, j + 1
        while product != result:
            if product < result:
                product *= before[i]
                taken.append(i)
                i += 1
            else:
                result *= after[j]
                made.append(j)
                j += 1
        groups.append((taken, made))
    if groups:  # lengths of 1 that are left over
        groups[-1][0].extend(range(i, len(before)))
        groups[-1][1].extend(range(j, len(after)))
    return groups
