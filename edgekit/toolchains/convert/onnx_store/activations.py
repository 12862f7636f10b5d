"""An ONNX model and the grids of its activations in; the same as QuantizeLinear/DequantizeLinear pairs with just these scales out.

Activations are int8, whatever their grid calls itself: q - 128 with the zero point - 128 is the same grid, and ONNX Runtime's signed kernels
neither saturate on x86 without VNNI nor are slow on ARM. Weights are int8 behind a DequantizeLinear, however few bytes hold them; biases int32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.hub.compressed import Grid, Spec
from edgekit.hub.graph import array, attribute, constants, makers, readers, set_attribute
from edgekit.toolchains.convert.onnx_store.grids import integer_chain, on_grid
from edgekit.toolchains.convert.onnx_store.pack import Array

PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth")
"""What they give lies on the grid of what they take."""

FUSED = ("Relu", "Clip")
"""What ONNX Runtime makes part of the layer before it, where the grid begins at its lowest value."""

INTEGER = ("Conv", "Gemm", "MatMul")
"""Layers that it computes in integers."""


@dataclass(frozen=True, slots=True)
class Step:
    """Of a tensor: value = scale · (q - zero), q in int8."""

    scale: np.float32
    zero: np.int8


def quantize(model: onnx.ModelProto, spec: Spec, four_bits: bool = False) -> tuple[frozenset[str], list[str]]:
    """Pairs at every tensor of the Spec's activations, layers between them in integers; the weights that are stored then, and notes.

    `four_bits`: see `pack`.
    """
    steps = {name: step for name, grid in spec.activations.items() if (step := step_of(grid)) is not None}
    computed = {*makers(model.graph), *(value.name for value in model.graph.input)}
    notes = [f"left in float32: {name!r}, which the file does not compute" for name in spec.activations if name not in computed]
    odd = sorted(spec.activations.keys() - steps.keys())
    notes += [f"left in float32, for which ONNX Runtime has no 8-bit grid: {', '.join(odd)}"] if odd else []
    steps = {name: step for name, step in steps.items() if name in computed}
    for node in model.graph.node:
        if node.op_type in PASSING and node.input[0] in steps:
            steps.setdefault(node.output[0], steps[node.input[0]])
    done = {name for node in list(model.graph.node) if (name := layer(model, spec, steps, node, four_bits))}
    for name, step in steps.items():
        insert(model, name, step)
    return frozenset(done), notes


def step_of(grid: Grid) -> Step | None:
    """A grid as int8; None where it is not of 8 bits, or not one for the whole tensor."""
    if grid.bits != 8 or grid.axis is not None or len(grid.scale) != 1:
        return None
    return Step(np.float32(grid.scale[0]), np.int8(grid.zero_point[0] - (0 if grid.signed else 128)))


def layer(model: onnx.ModelProto, spec: Spec, steps: dict[str, Step], node: onnx.NodeProto, four_bits: bool) -> str | None:
    """Store a layer's weights and bias as integers, where it is computed in them; the weights' name."""
    if node.op_type not in INTEGER or node.input[0] not in steps or not gives_integers(model, steps, node):
        return None
    name, tensors = str(node.input[1]), constants(model.graph)
    known = spec.tensors.get(name)
    if known is None or known.grid is None or known.grid.block is not None:
        return None
    if any(node.op_type == "Gemm" and attribute(node, factor, 1.0) != 1.0 for factor in ("alpha", "beta")):
        return None
    if name in tensors:
        whole = on_grid(array(tensors[name]), known.grid)
        if whole is None:
            return None
        weights(model, name, whole, known.grid, four_bits)
    if len(node.input) > 2 and node.input[2] in tensors:
        bias(model, node, array(tensors[node.input[2]]), steps[node.input[0]].scale * np.asarray(known.grid.scale, np.float32))
    return name


def gives_integers(model: onnx.ModelProto, steps: dict[str, Step], node: onnx.NodeProto) -> bool:
    """Whether what a layer gives lies on a grid, at once or behind what is part of it; products may give float32."""
    if node.op_type != "Conv" or node.output[0] in steps:
        return True
    users = readers(model.graph).get(node.output[0], [])
    return len(users) == 1 and users[0].op_type in FUSED and users[0].output[0] in steps


def weights(model: onnx.ModelProto, name: str, whole: Array, grid: Grid, four_bits: bool) -> None:
    chain, stored = integer_chain(name, whole, four_bits)
    axis = {} if grid.axis is None else {"axis": grid.axis}
    scale = np.asarray(grid.scale, np.float32).reshape([-1] if axis else [])
    chain.node("DequantizeLinear", stored, chain.constant(scale), chain.constant(np.zeros(scale.shape, np.int8)), **axis)
    chain.replace(model)


def bias(model: onnx.ModelProto, node: onnx.NodeProto, values: Array, scale: Array) -> None:
    """Round to the product of the input's and the weights' scale, which is the step that sums have (int32); left in float32 where too large."""
    scale = scale.reshape(-1 if scale.size > 1 else [])
    if values.size != (scale.size if scale.ndim else values.size):
        return
    whole = np.rint(values.astype(np.float64).reshape(-1) / scale)
    if np.abs(whole).max(initial=0) >= 2**31:
        return
    name = f"{node.output[0]}:bias"
    tensors = {f"{name}:q": whole.astype(np.int32), f"{name}:s": scale.astype(np.float32)}  # no zero point is zero
    model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in tensors.items())
    made = helper.make_node("DequantizeLinear", list(tensors), [name])
    if scale.ndim:
        set_attribute(made, "axis", 0)
    model.graph.node.insert(0, made)
    node.input[2] = name


def insert(model: onnx.ModelProto, name: str, step: Step) -> None:
    """A pair behind a tensor; whatever read it reads what the pair gives."""
    source, whole, scale, zero = (f"{name}:{part}" for part in ("float", "q", "s", "z"))
    model.graph.initializer.extend([numpy_helper.from_array(np.asarray(step.scale), scale), numpy_helper.from_array(np.asarray(step.zero), zero)])
    maker = makers(model.graph).get(name)
    if maker is None:
        source, target = name, f"{name}:on grid"
        for node in model.graph.node:
            node.input[:] = [target if one == name else one for one in node.input]
        place = 0
    else:
        target = name
        maker.output[:] = [source if one == name else one for one in maker.output]
        place = list(model.graph.node).index(maker) + 1
    model.graph.node.insert(place, helper.make_node("DequantizeLinear", [whole, scale, zero], [target]))
    model.graph.node.insert(place, helper.make_node("QuantizeLinear", [source, scale, zero], [whole]))


def is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)
