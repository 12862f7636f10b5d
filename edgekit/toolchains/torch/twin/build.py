"""A hub in, its computation as a torch.fx graph out, in which every node was tried on shapes as it was added: with one sample and with two.

The two tell which axis of each tensor counts samples (the one that grew), so that a reshape to [1, 12, 16] in a hub of batch 1 becomes [-1, 12, 16]
exactly where that axis is the samples'.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, helper
from torch import fx
from torch.utils._pytree import tree_map

from edgekit.hub.graph import Refusal, array, constants, dims, static_shapes, title

Array = np.ndarray[Any, Any]
FAULTS = (RuntimeError, NotImplementedError, ValueError, IndexError)
"""What PyTorch raises of operands that an operator does not take."""

NO_ARITHMETIC = (torch.uint16, torch.uint32, torch.uint64)


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor of the graph: its fx node, and itself without values (on the meta device) at one sample and at two."""

    node: fx.Node
    one: Any
    many: Any
    """None where some node before it cannot take two samples at once."""

    @property
    def shape(self) -> list[int]:
        return list(self.one.shape)

    @property
    def dtype(self) -> Any:
        return self.one.dtype

    @property
    def batch(self) -> int | None:
        """The axis that counts samples; None if there is none."""
        if self.many is None:
            return None
        return next((axis for axis, (a, b) in enumerate(zip(self.one.shape, self.many.shape, strict=True)) if a != b), None)


class Build:
    """The graph under construction.

    Attributes:
        graph: the torch.fx graph: placeholders, get_attr of parameters and buffers, call_function.
        tensors: ONNX name → Value, of inputs, of initializers that were read and of everything computed.
        weights, buffers: attribute's name → (initializer, torch.Tensor) for what is trained and what is not.
        absent: results that a node has in ONNX and not here → that node.
        reason: why several samples cannot run at once, in words; None while they can.
    """

    def __init__(self, model: ModelProto, operators: Mapping[str, Callable[[Build, NodeProto], Any]], trained: set[str]) -> None:
        self.model = model
        self.graph = fx.Graph()
        self.tensors: dict[str, Value] = {}
        self.weights: dict[str, tuple[str, Any]] = {}
        self.buffers: dict[str, tuple[str, Any]] = {}
        self.reason: str | None = None
        self.stored = constants(model.graph)
        self.trained = trained
        self.inputs: list[str] = [value.name for value in model.graph.input if value.name not in self.stored]
        self.used: set[str] = set()
        self.absent: dict[str, NodeProto] = {}
        known = static_shapes(model.graph)
        for value in model.graph.input:
            if value.name in self.inputs:
                self.tensors[value.name] = self.placeholder(value)
        for node in model.graph.node:
            self.add(node, operators, known)
        self.outputs = [value.name for value in model.graph.output]
        self.graph.output(tuple(self.of(name).node for name in self.outputs))

    def placeholder(self, value: Any) -> Value:
        shape, dtype = dims(value), torch_dtype(value.type.tensor_type.elem_type)
        if shape is None or not all(isinstance(size, int) for size in shape):
            raise Refusal(f"input {value.name!r} has an open shape: the twin is built of a hub, whose shapes are fixed")
        if dtype in NO_ARITHMETIC:
            raise Refusal(
                f"a model with the input {value.name!r} cannot be trained: PyTorch has no arithmetic of {dtype}; use steps without tune", kind="convert"
            )
        if shape[:1] != [1]:
            self.apart(f"the first axis of input {value.name!r} does not count samples (its shape is {shape})")
        two = None if self.reason else torch.empty([2, *shape[1:]], dtype=dtype, device="meta")
        return Value(self.graph.placeholder(identifier(value.name, self.used)), torch.empty(shape, dtype=dtype, device="meta"), two)

    def add(self, node: NodeProto, operators: Mapping[str, Callable[[Build, NodeProto], Any]], known: Mapping[str, list[int]]) -> None:
        """The fx nodes of one ONNX node.

        Raises:
            Refusal: an operator or a form of it that the twin cannot compute, named.
        """
        found = operators.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if found is None:
            raise refusal(node, "there is no PyTorch form of it here")
        try:
            made = found(self, node)
        except FAULTS as exc:
            raise refusal(node, " ".join(str(exc).split())[:200]) from exc
        results = made if isinstance(made, (list, tuple)) else [made]
        for name, result in zip(node.output, results, strict=False):
            if name and result is not None:
                if result.dtype in NO_ARITHMETIC:
                    raise refusal(node, f"PyTorch has no arithmetic of {result.dtype}")
                if name in known and result.shape != known[name]:
                    raise refusal(node, f"PyTorch gives the shape {result.shape} where the hub says {known[name]}")
                self.tensors[name] = result
        self.absent |= {name: node for name in node.output if name and name not in self.tensors}

    def of(self, name: str) -> Value:
        """A tensor by its ONNX name; an initializer becomes a parameter or a buffer when it is first read."""
        if name in self.tensors:
            return self.tensors[name]
        if name not in self.stored:
            if name in self.absent:
                raise refusal(self.absent[name], f"its result {name!r} has no PyTorch form here")
            raise Refusal(f"nothing in the graph gives {name!r}: the hub is damaged")
        tensor = torch.from_numpy(np.array(array(self.stored[name])))
        attribute = identifier(name, self.used)
        (self.weights if name in self.trained else self.buffers)[attribute] = (name, tensor)
        meta = tensor.to("meta")
        self.tensors[name] = Value(self.graph.get_attr(attribute), meta, meta)
        return self.tensors[name]

    def given(self, node: NodeProto, index: int) -> Value | None:
        """A node's input; None where it is left out."""
        return self.of(node.input[index]) if index < len(node.input) and node.input[index] else None

    def all(self, node: NodeProto) -> list[Value]:
        """A node's inputs, none of which is left out."""
        return [self.of(name) for name in node.input]

    def fixed(self, node: NodeProto, index: int) -> Array | None:
        """The values of an input that has to be stored in the hub; None where it is left out."""
        if index >= len(node.input) or not node.input[index]:
            return None
        if node.input[index] not in self.stored:
            raise refusal(node, f"its input {node.input[index]!r} is computed, and has to be a constant")
        return array(self.stored[node.input[index]])

    def is_fixed(self, node: NodeProto, index: int) -> bool:
        return index < len(node.input) and node.input[index] in self.stored

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """`function` of Values and plain data, as a node of the graph."""
        node = self.graph.call_function(function, tree_map(plain("node"), args), tree_map(plain("node"), kwargs))
        one = function(*tree_map(plain("one"), args), **tree_map(plain("one"), kwargs))
        many = None
        if self.reason is None:
            try:
                many = function(*tree_map(plain("many"), args), **tree_map(plain("many"), kwargs))
            except FAULTS as exc:
                self.apart(f"{getattr(function, '__name__', function)} of {node.name} takes one sample only ({' '.join(str(exc).split())[:160]})")
        return Value(node, one, many)

    def hold(self, values: Array) -> Value:
        """Constants that an operator needs beside the hub's, as a buffer."""
        tensor = torch.from_numpy(np.array(values))
        attribute = identifier("held", self.used)
        self.buffers[attribute] = ("", tensor)
        meta = tensor.to("meta")
        return Value(self.graph.get_attr(attribute), meta, meta)

    def apart(self, reason: str) -> None:
        """From here on samples run one by one, for this reason."""
        self.reason = self.reason or reason

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """`x` in another shape, which is the one at one sample; each sample is reshaped by itself.

        The axis of samples comes to the front, and goes where the result has an axis of 1, or else into its first axis: [n·12, 16] of [n, 12, 16].
        """
        wanted, axis = list(shape), x.batch
        if axis is None or not wanted:
            return self.call(torch.reshape, x, wanted)
        if x.shape[: axis + 1] == [*wanted[:axis], 1] == wanted[: axis + 1]:
            return self.call(torch.reshape, x, [*wanted[:axis], -1, *wanted[axis + 1 :]])
        if axis > 0:
            x = x if x.shape[axis] == 1 else self.call(torch.unflatten, x, axis, [-1, x.shape[axis]])
            x = self.call(torch.movedim, x, axis, 0)
        to = wanted.index(1) if 1 in wanted else 0
        if to == 0:
            return self.call(torch.reshape, x, [-1, *wanted[1:]])
        return self.call(torch.movedim, self.call(torch.reshape, x, [-1, *wanted[:to], *wanted[to + 1 :]]), 0, to)


def plain(what: str) -> Callable[[Any], Any]:
    """A Value → its node, or itself at one sample or two; anything else stays."""
    return lambda leaf: getattr(leaf, what) if isinstance(leaf, Value) else leaf


def refusal(node: NodeProto, reason: str) -> Refusal:
    words = f"{node.op_type} (node {title(node)!r}) cannot be trained in PyTorch: {reason}; use steps without tune"
    return Refusal(words, kind="convert", op=node.op_type, node=title(node))


def identifier(name: str, used: set[str]) -> str:
    """A name that Python takes, not yet used: PyTorch allows neither dots nor slashes."""
    base = re.sub(r"\W", "_", name, flags=re.ASCII) or "tensor"
    base = f"t_{base}" if base[0].isdigit() or base[0] == "_" or keyword.iskeyword(base) or hasattr(torch.nn.Module, base) else base
    found, count = base, 0
    while found in used:
        count += 1
        found = f"{base}_{count}"
    used.add(found)
    return found


def torch_dtype(elem_type: int) -> Any:
    """PyTorch's dtype of an ONNX element type."""
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    return torch.from_numpy(np.zeros((), kind)).dtype
