"""Two fixed ONNX files of one model at two sizes in, one with symbolic dimensions out.

A Reshape target becomes 0 (as its input has it) and -1; any other size is computed from a tensor that has it. Dimensions at which the
file begins stand in its metadata, `edgekit.shape.<tensor>`, for runtimes do not tell them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from edgekit.hub.graph import set_attribute, static_shape, title
from edgekit.hub.order import remove_dead
from edgekit.toolchains.convert.flex.steps import Array, Axes, FixedError, Symbol, pairs, repeated, rule, symbols

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Mean", "Sum", "And", "Or", "Xor", "Where", "PRelu", "MatMul", "Expand",
             "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")  # fmt: skip
"""Operators that repeat an operand of one element along an axis, so that it need not be stored at every size."""

OWN = "edgekit/flexible"


def run(job: Job) -> dict[str, Any]:
    """`file` and `other` (.onnx), options `flexible` (axes), `defaults` (shapes of inputs and outputs) → `out/model.onnx`; `notes`.

    Refuses, naming the op that holds a size fixed.
    """
    job.progress("keeping sizes flexible")
    file, other = onnx.load(job.inputs["file"]), onnx.load(job.inputs["other"])
    try:
        make_flexible(file, other, job.options["flexible"], job.options["defaults"])
    except FixedError as exc:
        job.refuse(str(exc))
    onnx.save(file, job.out / "model.onnx")
    return {"notes": []}


def make_flexible(file: ModelProto, other: ModelProto, axes: Axes, defaults: dict[str, list[int]]) -> None:
    """Change `file` in place; `defaults` are the shapes of inputs and outputs to begin with.

    Raises:
        FixedError: the graphs differ in more than sizes, or a size cannot be told from those of the inputs.
    """
    first, second = shapes_of(file.graph), shapes_of(other.graph)
    known = symbols(axes, *({value.name: shapes[value.name] for value in file.graph.input} for shapes in (first, second)))
    Comparison(file.graph, other.graph, first, second, known).run()
    open_boundary(file.graph, first, second, known, axes)
    del file.graph.value_info[:]
    for name, shape in defaults.items():
        entry = file.metadata_props.add()
        entry.key, entry.value = f"edgekit.shape.{name}", "x".join(map(str, shape))


def shapes_of(graph: GraphProto) -> dict[str, list[int]]:
    """Tensor name → shape, of inputs, outputs and inferred tensors."""
    values = [*graph.input, *graph.output, *graph.value_info]
    return {value.name: shape for value in values if (shape := static_shape(value)) is not None}


class Comparison:
    """Two graphs that should differ in sizes only; `run` makes the first flexible."""

    def __init__(self, graph: GraphProto, other: GraphProto, first: dict[str, list[int]], second: dict[str, list[int]], known: list[Symbol]) -> None:
        self.graph, self.other, self.known = graph, other, known
        self.first, self.second = first, second
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.others = {tensor.name: tensor for tensor in other.initializer}
        self.twin: dict[str, str] = {}
        """Tensor of the first graph → the same in the second."""
        self.sized: dict[tuple[int, int], tuple[str, int]] = {}
        """A size in the two files → the latest tensor and axis that has it."""
        self.nodes: list[NodeProto] = []

    def run(self) -> None:
        graph, other = self.graph, self.other
        order = pairs(*([(node.op_type, node.output[0]) for node in each.node] for each in (graph, other)))
        for mine, theirs in zip(graph.input, other.input, strict=True):
            self.meet(mine.name, theirs.name)
        for mine, theirs in zip(graph.node, [other.node[place] for place in order], strict=True):
            self.node(mine, theirs)
            for a, b in zip(mine.output, theirs.output, strict=True):
                self.meet(a, b)
        for mine, theirs in zip(graph.output, other.output, strict=True):
            if mine.name != theirs.name or (mine.name in self.stored and self.constant_differs(mine.name, theirs.name)):
                raise FixedError(f"output {mine.name!r} is a constant of the model's size")
        del graph.node[:]
        graph.node.extend(self.nodes)
        remove_dead(graph)

    def meet(self, mine: str, theirs: str) -> None:
        """Remember that two tensors are the same, and the sizes that can be read from them."""
        self.twin[mine] = theirs
        for axis, (a, b) in enumerate(zip(self.first.get(mine, []), self.second.get(theirs, []), strict=False)):
            if a != b:
                self.sized[a, b] = (mine, axis)

    def node(self, mine: NodeProto, theirs: NodeProto) -> None:
        """Check one pair of nodes, and put what takes the place of the first into `nodes`."""
        if sorted(map(str, mine.attribute)) != sorted(map(str, theirs.attribute)):
            raise FixedError(f"{mine.op_type} {title(mine)!r} has an attribute of the model's size")
        for place, (a, b) in enumerate(zip(mine.input, theirs.input, strict=True)):
            if a in self.stored or b in self.others:
                if (a in self.stored) != (b in self.others):
                    raise FixedError(f"{mine.op_type} {title(mine)!r} reads a constant at one size only")
                if self.constant_differs(a, b):
                    mine.input[place] = self.flexible(mine, place, numpy_helper.to_array(self.stored[a]), numpy_helper.to_array(self.others[b]))
            elif a and self.twin.get(a) != b:
                raise FixedError(f"{mine.op_type} {title(mine)!r} reads another tensor at another size")
        self.nodes.append(mine)

    def constant_differs(self, mine: str, theirs: str) -> bool:
        a, b = self.stored[mine], self.others[theirs]
        if list(a.dims) != list(b.dims) or a.data_type != b.data_type:
            return True
        return a.raw_data != b.raw_data if a.raw_data and b.raw_data else not np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))

    def flexible(self, node: NodeProto, place: int, first: Array, second: Array) -> str:
        """The name of what takes the place of a constant that differs."""
        if node.op_type == "Reshape" and place == 1:
            first, second = self.reshape_target(node, first, second)
            if np.array_equal(first, second):
                return self.store(first)
        if node.op_type in BROADCAST and repeated(first, second):
            return self.store(first)
        if first.dtype.kind == "i" and first.shape == second.shape and first.ndim <= 1:
            return self.computed(node, first, second)
        if repeated(first, second):
            return self.add("Expand", self.store(first), self.computed(node, np.array(first.shape), np.array(second.shape)))
        if counts(first) and counts(second) and first.size != second.size:
            return self.counted(node, first, second)
        if first.ndim == second.ndim and np.array_equal(second[tuple(map(slice, first.shape))], first):
            return self.beginning(node, first, second)
        raise FixedError(f"{node.op_type} {title(node)!r} reads a constant of the model's size")

    def reshape_target(self, node: NodeProto, first: Array, second: Array) -> tuple[Array, Array]:
        """A target with 0 where the input has the same size at the same place, and -1 for one that is left."""
        if 0 in first or 0 in second:
            raise FixedError(f"{node.op_type} {title(node)!r} makes an empty tensor")
        set_attribute(node, "allowzero", None)  # 0 is to stand for the input's size
        a, b = first.copy(), second.copy()
        have, has = self.first.get(node.input[0], []), self.second.get(self.twin.get(node.input[0], ""), [])
        for axis in range(len(a)):
            if a[axis] != b[axis] and axis < min(len(have), len(has)) and (have[axis], has[axis]) == (a[axis], b[axis]):
                a[axis] = b[axis] = 0
        left = np.flatnonzero(a != b)
        if len(left) == 1 and -1 not in a:
            a[left] = b[left] = -1
        return a, b

    def computed(self, node: NodeProto, first: Array, second: Array) -> str:
        """An integer or a list of integers, each that differs read from a tensor that has it, or from an input by a rule."""
        parts = [self.size(node, int(a), int(b)) if a != b else self.store(np.array([a], np.int64)) for a, b in zip(first.flat, second.flat, strict=True)]
        if first.ndim == 0:
            made = self.add("Squeeze", parts[0], self.store(np.array([0], np.int64)))
        else:
            made = self.add("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
        return made if first.dtype == np.int64 else self.add("Cast", made, to=helper.np_dtype_to_tensor_dtype(first.dtype))

    def size(self, node: NodeProto, first: int, second: int) -> str:
        """A size as a tensor of one int64."""
        if (first, second) in self.sized:
            return self.dimension(*self.sized[first, second])
        found = rule(self.known, first, second)
        if found is None:
            raise FixedError(f"{node.op_type} {title(node)!r} reads a size ({first} here, {second} there) that does not follow from the inputs'")
        symbol = next(one for one in self.known if one.name == found.symbol)
        made = self.dimension(symbol.input, symbol.axis)
        for op, number in (("Mul", found.times), ("Div", found.over), ("Add", found.plus)):
            if number != (0 if op == "Add" else 1):
                made = self.add(op, made, self.store(np.array([number], np.int64)))
        return made

    def dimension(self, tensor: str, axis: int) -> str:
        return self.add("Shape", tensor, start=axis, end=axis + 1)

    def counted(self, node: NodeProto, first: Array, second: Array) -> str:
        """0, 1, 2, … up to a size, as positions are, in the shape that they are stored in."""
        (axis,) = [i for i, n in enumerate(second.shape) if n != 1]
        end = self.add("Squeeze", self.size(node, first.size, second.size), self.store(np.array([0], np.int64)))
        numbers = self.add("Range", self.store(np.array(0, np.int64)), end, self.store(np.array(1, np.int64)))
        made = self.add("Reshape", numbers, self.store(np.array([-1 if i == axis else 1 for i in range(second.ndim)], np.int64)))
        return made if first.dtype == np.int64 else self.add("Cast", made, to=helper.np_dtype_to_tensor_dtype(first.dtype))

    def beginning(self, node: NodeProto, first: Array, second: Array) -> str:
        """What a table holds up to a size, cut from the one of the largest size."""
        cut = [axis for axis in range(first.ndim) if first.shape[axis] != second.shape[axis]]
        largest = {(one.first, one.second) for one in self.known if one.second == one.high}
        if any((first.shape[axis], second.shape[axis]) not in largest for axis in cut):
            raise FixedError(f"{node.op_type} {title(node)!r} reads a table that would end: give the axis a largest size")
        ends = self.computed(node, np.array([first.shape[axis] for axis in cut]), np.array([second.shape[axis] for axis in cut]))
        starts, axes = (self.store(np.array(values, np.int64)) for values in ([0] * len(cut), cut))
        return self.add("Slice", self.store(second), starts, ends, axes)

    def store(self, values: Array) -> str:
        name = f"{OWN}/{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, op: str, *reads: str, **attributes: Any) -> str:
        name = f"{OWN}/{op}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(reads), [name], name=name, **attributes))
        return name


def counts(values: Array) -> bool:
    """Whether an array is 0, 1, 2, … along one axis."""
    return values.dtype.kind in "if" and sum(n != 1 for n in values.shape) <= 1 and np.array_equal(values.reshape(-1), np.arange(values.size))


def open_boundary(graph: GraphProto, first: dict[str, list[int]], second: dict[str, list[int]], known: list[Symbol], axes: Axes) -> None:
    """Name the flexible dimensions of inputs and outputs; an output's that is no input's has a name of its own."""
    names = {(symbol.first, symbol.second): symbol.name for symbol in reversed(known)}
    own = {(axis["input"], axis["axis"]): axis["symbol"] for axis in axes}
    for value in [*graph.input, *graph.output]:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            sizes = (first[value.name][axis], second[value.name][axis])
            if sizes[0] != sizes[1]:
                dimension.Clear()
                dimension.dim_param = own.get((value.name, axis)) or names.get(sizes) or f"{value.name}_{axis}"
