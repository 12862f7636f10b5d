"""An LSTM, GRU or RNN in, the same written out step by step out (ONNX operators LSTM-14, GRU-14, RNN-14).

The product of the inputs with their weights is taken for all steps at once; each step adds its state's. Nothing is kept from one call of
the model to the next but what the graph gives out and takes in. Both layouts, both directions, sequence lengths, peepholes, clip, and
the activations that frameworks write are covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Array, Lowering

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
BETA = {"HardSigmoid": 0.5, "ScaledTanh": 1.0}
ALPHA = {"HardSigmoid": 0.2, "LeakyRelu": 0.01, "Elu": 1.0, "ThresholdedRelu": 1.0, "Affine": 1.0, "ScaledTanh": 1.0}
PLAIN = {name.lower(): name for name in ("Sigmoid", "Tanh", "Relu", "Softplus", "Softsign", "HardSigmoid", "LeakyRelu", "Elu", "ThresholdedRelu")}


@dataclass
class Direction:
    """One direction of a layer: its weights, its activations, and whether it reads from the end."""

    weights: Array
    recurrent: Array
    bias_in: Array
    bias_state: Array
    peephole: Array | None
    activations: list[tuple[str, dict[str, float]]]
    reverse: bool


def unroll(graph: Lowering, node: NodeProto) -> None:
    """Write a recurrent layer out."""
    batch_first = bool(attribute(node, "layout", 0))
    x = node.input[0]
    if batch_first:
        x = graph.add("Transpose", [x], perm=[1, 0, 2])
    shape = graph.shape(node.input[0])
    steps, batch, width = (shape[1], shape[0], shape[2]) if batch_first else shape
    lengths = sequence_lengths(graph, node, steps, batch)
    sides = directions(graph, node)
    hidden = sides[0].recurrent.shape[1]
    results = [one_direction(graph, node, x, index, side, (steps, batch, width, hidden), lengths) for index, side in enumerate(sides)]
    give(graph, node, results, (steps, batch, hidden), batch_first)


def directions(graph: Lowering, node: NodeProto) -> list[Direction]:
    """The layer's directions, with their stored weights."""
    kind, gates = node.op_type, GATES[node.op_type]
    found = [graph.value(node.input[1]), graph.value(node.input[2])]
    if found[0] is None or found[1] is None:
        graph.refuse(node, "has weights that are computed, not stored: export the layer with stored weights")
    weights, recurrent = found[0], found[1]
    count, hidden = weights.shape[0], recurrent.shape[2]
    given = graph.given(node, 3)
    bias = graph.value(given) if given else np.zeros((count, 2 * gates * hidden), weights.dtype)
    held = graph.given(node, 7)
    peephole = graph.value(held) if held else None
    if bias is None or (held and peephole is None):
        graph.refuse(node, "has a bias or peepholes that are computed, not stored: export the layer with stored weights")
    names = [name.decode() for name in attribute(node, "activations", [])] or ACTIVATIONS[kind] * count
    alphas, betas = list(attribute(node, "activation_alpha", [])), list(attribute(node, "activation_beta", []))
    each = len(ACTIVATIONS[kind])
    way = attribute(node, "direction", b"forward").decode()
    sides = []
    for index in range(count):
        chosen = [activation(graph, node, name, alphas, betas) for name in names[index * each : (index + 1) * each]]
        split = gates * hidden
        extra = None if peephole is None else peephole[index]
        reverse = way == "reverse" or index == 1
        sides.append(Direction(weights[index], recurrent[index], bias[index][:split], bias[index][split:], extra, chosen, reverse))
    return sides


def activation(graph: Lowering, node: NodeProto, name: str, alphas: list[float], betas: list[float]) -> tuple[str, dict[str, float]]:
    """An activation's operator and attributes; alpha and beta are handed out in the order of those that take one."""
    op = PLAIN.get(name.lower())
    if op is None:
        graph.refuse(node, f"has the activation {name}, which no other operator computes: use one of {', '.join(PLAIN.values())}")
    values = {}
    if op in ALPHA:
        values["alpha"] = float(alphas.pop(0)) if alphas else ALPHA[op]
    if op in BETA:
        values["beta"] = float(betas.pop(0)) if betas else BETA[op]
    return op, values


def sequence_lengths(graph: Lowering, node: NodeProto, steps: int, batch: int) -> Array | None:
    """The stored lengths of the sequences, None where all are full."""
    name = graph.given(node, 4)
    if name is None:
        return None
    lengths = graph.value(name)
    if lengths is None:
        graph.refuse(node, "reads sequence lengths that are computed: export it for sequences of one length")
    return None if np.all(lengths == steps) else lengths.reshape(batch)


def one_direction(
    graph: Lowering, node: NodeProto, x: str, index: int, side: Direction, sizes: tuple[int, int, int, int], lengths: Array | None
) -> tuple[list[str], str, str | None]:
    """The hidden states of all steps in the order of the sequence, the last one, and an LSTM's last cell: each [batch, hidden]."""
    steps, batch, width, hidden = sizes
    dtype = side.weights.dtype
    bias = side.bias_in + side.bias_state if node.op_type != "GRU" else side.bias_in
    flat = graph.add("Reshape", [x, graph.ints(steps * batch, width)])
    inner = graph.add("Gemm", [flat, graph.store(side.weights), graph.store(bias)], transB=1)
    gates = side.weights.shape[0]
    order = range(steps - 1, -1, -1) if side.reverse else range(steps)
    state = initial(graph, node, 5, index, batch, hidden, dtype)
    cell = initial(graph, node, 6, index, batch, hidden, dtype) if node.op_type == "LSTM" else None
    stored = store_recurrent(graph, node, side)
    parts = [inner] if steps == 1 else [graph.fresh("step") for _ in range(steps)]
    if steps > 1:
        graph.add("Split", [inner, graph.ints(*[batch] * steps)], parts, axis=0)
    seen: dict[int, str] = {}
    for step in order:
        if node.op_type == "LSTM":
            new, new_cell = lstm(graph, node, side, parts[step], state, str(cell), stored[0], gates)
            cell = keep(graph, new_cell, str(cell), step, lengths)
        elif node.op_type == "GRU":
            new = gru(graph, node, side, parts[step], state, stored)
        else:
            new = apply(graph, node, side.activations[0], add(graph, parts[step], product(graph, state, stored[0])))
        state = keep(graph, new, state, step, lengths)
        seen[step] = new if lengths is None else masked(graph, new, step, lengths)
    return [seen[step] for step in range(steps)], state, cell


def store_recurrent(graph: Lowering, node: NodeProto, side: Direction) -> list[str]:
    """The state's weights, stored once for all steps: a GRU's come in two parts where the reset gate is applied before the last product."""
    if node.op_type != "GRU":
        return [graph.store(side.recurrent)]
    if attribute(node, "linear_before_reset", 0):
        return [graph.store(side.recurrent), graph.store(side.bias_state)]
    split = 2 * side.recurrent.shape[1]
    parts = (side.recurrent[:split], side.bias_state[:split], side.recurrent[split:], side.bias_state[split:])
    return [graph.store(part) for part in parts]


def initial(graph: Lowering, node: NodeProto, position: int, index: int, batch: int, hidden: int, dtype: np.dtype[np.float32]) -> str:
    """A direction's first state [batch, hidden]: zero, or a part of an input [directions, batch, hidden] ([batch, directions, hidden])."""
    name = graph.given(node, position)
    if name is None:
        return graph.store(np.zeros((batch, hidden), dtype))
    axis = 1 if attribute(node, "layout", 0) else 0
    part = graph.add("Slice", [name, graph.ints(index), graph.ints(index + 1), graph.ints(axis)])
    return graph.add("Reshape", [part, graph.ints(batch, hidden)])


def product(graph: Lowering, state: str, recurrent: str) -> str:
    """state [batch, hidden] · recurrent [gates·hidden, hidden]ᵀ."""
    return graph.add("Gemm", [state, recurrent], transB=1)


def add(graph: Lowering, a: str, b: str) -> str:
    return graph.add("Add", [a, b])


def apply(graph: Lowering, node: NodeProto, chosen: tuple[str, dict[str, float]], x: str) -> str:
    """An activation, with the layer's clip before it."""
    limit = attribute(node, "clip")
    if limit:
        x = graph.add("Clip", [x, graph.store(-limit, np.float32), graph.store(limit, np.float32)])
    return graph.add(chosen[0], [x], None, **chosen[1])


def lstm(graph: Lowering, node: NodeProto, side: Direction, step: str, state: str, cell: str, recurrent: str, gates: int) -> tuple[str, str]:
    """One step: gates in ONNX's order i, o, f, c. Returns the new state and cell."""
    hidden = gates // 4
    names = [graph.fresh(gate) for gate in "iofc"]
    graph.add("Split", [add(graph, step, product(graph, state, recurrent)), graph.ints(*[hidden] * 4)], names, axis=1)
    i, o, f, c = names
    first, second, third = side.activations
    if side.peephole is not None:
        p_i, p_o, p_f = np.split(side.peephole, 3)
        i = add(graph, i, graph.add("Mul", [cell, graph.store(p_i)]))
        f = add(graph, f, graph.add("Mul", [cell, graph.store(p_f)]))
    i = apply(graph, node, first, i)
    f = graph.add("Sub", [graph.store(1, side.weights.dtype), i]) if attribute(node, "input_forget", 0) else apply(graph, node, first, f)
    c = apply(graph, node, second, c)
    new_cell = add(graph, graph.add("Mul", [f, cell]), graph.add("Mul", [i, c]))
    if side.peephole is not None:
        o = add(graph, o, graph.add("Mul", [new_cell, graph.store(p_o)]))
    o = apply(graph, node, first, o)
    return graph.add("Mul", [o, apply(graph, node, third, new_cell)]), new_cell


def gru(graph: Lowering, node: NodeProto, side: Direction, step: str, state: str, stored: list[str]) -> str:
    """One step: gates in ONNX's order z, r, h. H = (1 - z) ⊙ h + z ⊙ H₋₁."""
    hidden = side.recurrent.shape[1]
    first, second = side.activations
    if attribute(node, "linear_before_reset", 0):
        inner = graph.add("Gemm", [state, *stored], transB=1)
        state_parts = [graph.fresh(gate) for gate in ("z", "r", "h")]
        graph.add("Split", [inner, graph.ints(*[hidden] * 3)], state_parts, axis=1)
        parts = [graph.fresh(gate) for gate in ("z", "r", "h")]
        graph.add("Split", [step, graph.ints(*[hidden] * 3)], parts, axis=1)
        z, r = (apply(graph, node, first, add(graph, parts[gate], state_parts[gate])) for gate in (0, 1))
        h = add(graph, parts[2], graph.add("Mul", [r, state_parts[2]]))
    else:
        inner = graph.add("Gemm", [state, *stored[:2]], transB=1)
        parts = [graph.fresh(gate) for gate in ("zr", "h")]
        graph.add("Split", [step, graph.ints(2 * hidden, hidden)], parts, axis=1)
        gated = apply(graph, node, first, add(graph, parts[0], inner))
        z, r = graph.fresh("z"), graph.fresh("r")
        graph.add("Split", [gated, graph.ints(hidden, hidden)], [z, r], axis=1)
        reset = graph.add("Gemm", [graph.add("Mul", [r, state]), *stored[2:]], transB=1)
        h = add(graph, parts[1], reset)
    h = apply(graph, node, second, h)
    return add(graph, h, graph.add("Mul", [z, graph.add("Sub", [state, h])]))


def keep(graph: Lowering, new: str, old: str, step: int, lengths: Array | None) -> str:
    """The new state where a sequence still runs at a step, else the old one."""
    if lengths is None or np.all(step < lengths):
        return new
    return add(graph, graph.add("Mul", [new, running(graph, step, lengths)]), graph.add("Mul", [old, running(graph, step, lengths, ended=True)]))


def masked(graph: Lowering, new: str, step: int, lengths: Array) -> str:
    """A step's result, zero for sequences that have ended."""
    return new if np.all(step < lengths) else graph.add("Mul", [new, running(graph, step, lengths)])


def running(graph: Lowering, step: int, lengths: Array, *, ended: bool = False) -> str:
    mask = (step >= lengths) if ended else (step < lengths)
    return graph.store(mask.astype(np.float32)[:, None])


def give(graph: Lowering, node: NodeProto, results: list[tuple[list[str], str, str | None]], sizes: tuple[int, int, int], batch_first: bool) -> None:
    """Put steps, directions and batch together as the layer's outputs Y, Y_h and Y_c have them."""
    steps, batch, hidden = sizes
    outputs = [*node.output, "", "", ""][:3]
    if outputs[0]:
        rows = []
        for seen, _, _ in results:
            joined = join(graph, seen, 0)
            rows.append(graph.add("Reshape", [joined, graph.ints(steps, 1, batch, hidden)]))
        if batch_first:
            graph.add("Transpose", [join(graph, rows, 1)], [outputs[0]], perm=[2, 0, 1, 3])
        else:
            join(graph, rows, 1, outputs[0])
    for output, states in ((outputs[1], [last for _, last, _ in results]), (outputs[2], [cell for _, _, cell in results])):
        if output:
            shape = (batch, 1, hidden) if batch_first else (1, batch, hidden)
            parts = [graph.add("Reshape", [str(state), graph.ints(*shape)]) for state in states]
            join(graph, parts, 1 if batch_first else 0, output)


def join(graph: Lowering, parts: list[str], axis: int, output: str | None = None) -> str:
    """Tensors one after the other; one alone is itself."""
    outputs = [output] if output else None
    if len(parts) == 1:
        return graph.add("Identity", parts, outputs) if output else parts[0]
    return graph.add("Concat", parts, outputs, axis=axis)
