"""A hub with QuantizeLinear/DequantizeLinear pairs in; the same values in the forms that XNNPACK's partitioner takes for integer kernels out.

What it takes: layers whose weights and input each stand behind a DequantizeLinear of their own and whose output, after a ReLU or ReLU6, goes into one
QuantizeLinear (executorch, backends/xnnpack/partition/config/gemm_configs.py). It makes int32 of a float32 bias by itself.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, makers, output_names, readers, reads, set_attribute
from edgekit.hub.quantized import dequantized
from edgekit.hub.weights import scales

LAYERS = ("Conv", "ConvTranspose", "Gemm")
ARITHMETIC = ("Add", "Sub", "Mul")
FUSED = ("Relu", "Clip")
SAME = ("Concat", "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Relu", "Clip")
"""XNNPACK has integer kernels of these for one grid of all that they take and give."""
RUN_TIME = "RunTimePair"
"""An operator of ours: quantized with a scale for each row, and back."""
LEAST_VALUES = 256
"""Fewer take no fewer bytes with their scales, and no less time."""
PAIR = ("QuantizeLinear", "DequantizeLinear")


def has_pairs(model: ModelProto) -> bool:
    """Whether there are pairs, and all of int8, which is what XNNPACK computes with."""
    stored = constants(model.graph)
    zeros = [stored.get(node.input[2]) if len(node.input) > 2 else None for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return bool(zeros) and all(zero is not None and zero.data_type == TensorProto.INT8 for zero in zeros)


def prepare(model: ModelProto, left: Collection[str] = (), dynamic: bool = False) -> None:
    """In place; stored integers are called `integers0` and so on.

    Args:
        left: those of layers that XNNPACK has no integer kernel for: stored as the float32 that they stand for.
        dynamic: weights of linear layers are made integers, and what these take is quantized at run time.
    """
    unpack(model)
    if dynamic:
        store_linear(model)
    model.CopyFrom(onnx.shape_inference.infer_shapes(model))
    number(model)
    for node in list(model.graph.node):
        if node.op_type in ("Gemm", "MatMul"):
            turn(model, node)
    if dynamic:
        at_run_time(model)
    store_floats(model, left)
    store_floats(model, beyond_int32(model))
    own_pairs(model)
    for node in list(model.graph.node):
        if node.op_type in SAME:
            same_grid(model, node)


def unpack(model: ModelProto) -> None:
    """Compute what depends on stored tensors alone, up to the integers: weights in few bits behind the nodes that unpack them."""
    known, inner = {*constants(model.graph)}, []
    for node in model.graph.node:
        if node.op_type not in PAIR and node.input and known.issuperset(name for name in reads(node) if name):
            known.update(node.output)
            inner.append(node)
    if not inner:
        return
    import onnxruntime  # only where weights are packed

    made = {name for node in inner for name in node.output}
    names = sorted(made & {name for node in model.graph.node if node not in inner for name in reads(node)})
    part = ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:]
    part.graph.node.extend(inner)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in zip(names, session.run(names, {}), strict=True))
    for node in inner:
        model.graph.node.remove(node)


def store_linear(model: ModelProto) -> None:
    """Weights of linear layers as int8, symmetric, with a scale for each output channel."""
    read = readers(model.graph)
    for name, tensor in constants(model.graph).items():
        users = read.get(name, [])
        if [kind(user) for user in users] not in (["Gemm"], ["MatMul"]) or users[0].input[1] != name or tensor.data_type != TensorProto.FLOAT:
            continue
        values, (user,) = array(tensor), users
        if values.ndim != 2 or values.size < LEAST_VALUES:
            continue
        axis = 0 if attribute(user, "transB", 0) else 1
        scale = scales(values, axis, 8)
        stored = {f"{name}:whole": np.rint(values / scale).astype(np.int8), f"{name}:scale": scale.reshape(-1)}
        model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in stored.items())
        user.input[1] = f"{name}:real"
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", list(stored), [user.input[1]], axis=axis))


def number(model: ModelProto) -> None:
    """Give each DequantizeLinear of stored integers its own, by a name that is one in PyTorch too."""
    stored = constants(model.graph)
    pairs = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    for count, node in enumerate(pairs):
        model.graph.initializer.append(numpy_helper.from_array(array(stored[node.input[0]]), f"integers{count}"))
        node.input[0] = f"integers{count}"


def turn(model: ModelProto, node: NodeProto) -> None:
    """A product with stored integers as x · Wᵀ, with the vector that is added to it: the form that is a linear layer in PyTorch."""
    made, stored = makers(model.graph), constants(model.graph)
    weights = made.get(node.input[1])
    if weights is None or weights.op_type != "DequantizeLinear" or weights.input[0] not in stored or len(readers(model.graph)[node.input[1]]) > 1:
        return
    whole = array(stored[weights.input[0]])
    if whole.ndim != 2 or attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        return
    if not attribute(node, "transB", 0):
        stored[weights.input[0]].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(whole.T), weights.input[0]))
        set_attribute(weights, "axis", 1 - attribute(weights, "axis", 1) % 2)
        for value in [value for value in model.graph.value_info if value.name == node.input[1]]:
            model.graph.value_info.remove(value)
    node.op_type = "Gemm"  # of any number of axes: PyTorch's takes them
    set_attribute(node, "transB", 1)
    users = readers(model.graph).get(node.output[0], [])
    if len(node.input) > 2 or len(users) != 1 or users[0].op_type != "Add" or node.output[0] in output_names(model.graph):
        return
    (add,) = users
    biases = [name for name in add.input if name in stored and list(stored[name].dims) == stored[weights.input[0]].dims[:1]]
    if biases:
        node.input.append(biases[0])
        node.output[0] = add.output[0]
        model.graph.node.remove(add)


def at_run_time(model: ModelProto) -> None:
    """What a linear layer with stored integers takes, as int8 with a scale for each row that is found when it runs."""
    made = makers(model.graph)
    for node in [node for node in model.graph.node if node.op_type == "Gemm" and attribute(node, "transB", 0)]:
        if kind(made.get(node.input[1])) == "DequantizeLinear" and not attribute(node, "transA", 0):
            real = f"{node.output[0]}:rows"
            model.graph.node.insert(list(model.graph.node).index(node), helper.make_node(RUN_TIME, [node.input[0]], [real]))
            node.input[0] = real


def store_floats(model: ModelProto, left: Collection[str]) -> None:
    """Stored integers that no integer kernel reads, as the float32 that they stand for: biases, and weights of layers that stay in float32."""
    stored, made, read = constants(model.graph), makers(model.graph), readers(model.graph)
    done = []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored:
            continue
        users = read.get(node.output[0], [])
        if users and node.input[0] not in left and all(in_integers(user, node.output[0], made, read) for user in users):
            continue
        values = dequantized(node, [array(stored[name]) if name else None for name in node.input])
        if values is not None:
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            done.append(node)
    for node in done:
        model.graph.node.remove(node)


def beyond_int32(model: ModelProto) -> set[str]:
    """Integers of layers with a bias that int32 has no room for in steps of the input's scale times the weights': it would be cut off without a word."""
    made, stored, found = makers(model.graph), constants(model.graph), set()
    for node in model.graph.node:
        if node.op_type not in LAYERS or len(node.input) < 3 or node.input[2] not in stored:
            continue
        pairs = [made[name] for name in node.input[:2] if kind(made.get(name)) == "DequantizeLinear"]
        if len(pairs) == 2:
            bias, (taken, stepped) = array(stored[node.input[2]]), (np.asarray(array(stored[one.input[1]]), np.float64).reshape(-1) for one in pairs)
            steps = taken * stepped if stepped.size in (1, bias.size) else taken * stepped.min()
            if np.any(np.abs(bias) >= steps * 2**31):
                found.add(pairs[1].input[0])
    return found


def in_integers(user: NodeProto, name: str, made: dict[str, NodeProto], read: dict[str, list[NodeProto]]) -> bool:
    """Whether a layer reads its weights, or arithmetic an operand, and takes and gives integers."""
    place = list(user.input).index(name)
    if (user.op_type not in LAYERS or place != 1) and user.op_type not in ARITHMETIC:
        return False
    if kind(made.get(user.input[0])) == RUN_TIME:
        return True
    if kind(made.get(user.input[0 if user.op_type in LAYERS else 1 - place])) != "DequantizeLinear":
        return False
    after = read.get(user.output[0], [])
    if len(after) == 1 and after[0].op_type in FUSED:
        after = read.get(after[0].output[0], [])
    return len(after) == 1 and after[0].op_type == "QuantizeLinear"


def kind(node: NodeProto | None) -> str:
    return "" if node is None else str(node.op_type)


def own_pairs(model: ModelProto) -> None:
    """A DequantizeLinear for each reader: XNNPACK takes one along with what reads it, and others would read integers."""
    for node in [node for node in model.graph.node if node.op_type == "DequantizeLinear"]:
        name, place = node.output[0], list(model.graph.node).index(node) + 1
        given = any(value.name == name for value in model.graph.output)
        users = [(user, index) for user in readers(model.graph).get(name, []) for index, one in enumerate(user.input) if one == name]
        for count, (user, index) in enumerate(users if given else users[1:]):
            own = f"{name}:{count}"
            copy = helper.make_node("DequantizeLinear", list(node.input), [own])
            copy.attribute.extend(node.attribute)
            user.input[index] = own
            model.graph.node.insert(place, copy)


def same_grid(model: ModelProto, node: NodeProto) -> None:
    """Put what an operator takes on the grid of what it gives: rounding before it moves, picks or cuts values off is the same as rounding after."""
    made, read, stored = makers(model.graph), readers(model.graph), constants(model.graph)
    users = read.get(node.output[0], [])
    if len(users) != 1 or users[0].op_type != "QuantizeLinear":
        return
    grid = list(users[0].input)[1:]
    values = [array(stored[name]) for name in grid]
    for index, name in enumerate(node.input):
        pair = made.get(name)
        if pair is None or pair.op_type != "DequantizeLinear" or all(map(np.array_equal, values, (array(stored[one]) for one in pair.input[1:]))):
            continue
        whole, real = f"{name}:{index}:q", f"{name}:{index}:on grid"
        place = list(model.graph.node).index(node)
        model.graph.node.insert(place, helper.make_node("DequantizeLinear", [whole, *grid], [real]))
        model.graph.node.insert(place, helper.make_node("QuantizeLinear", [name, *grid], [whole]))
        node.input[index] = real
