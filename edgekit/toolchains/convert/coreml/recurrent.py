"""LSTM, GRU and RNN: sequences, weights and initial states in; all states, the last ones (and cell states) out.

MIL's lstm and rnn compute ONNX's with its usual activations. Everything else is written step by step: GRU, because MIL's states its
reset gate in two ways that differ; other activations, clipping, peepholes and sequences of different lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Array, Lowering, Node, Var, like
from edgekit.toolchains.convert.coreml.steps import Activation, Direction, activations_of, unrolled

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
USUAL = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
LONGEST = 512
"""Steps that are written one by one: each takes ten operations or so."""


@dataclass(frozen=True, slots=True)
class States:
    """Of one direction: all hidden states [T, b, H] in the order of the sequence, the last hidden state and cell state [b, H]."""

    every: Var
    hidden: Var
    cell: Var | None


def recurrent(node: Node) -> list[Var]:
    kind, batch_first = node.proto.op_type, bool(node.attribute("layout", 0))
    x = node.input(0)
    if batch_first:
        x = mb.transpose(x=x, perm=[1, 0, 2])
    steps, batch = int(x.shape[0]), int(x.shape[1])
    way = node.attribute("direction", "forward")
    usual = activations_of(node, GATES[kind])
    directions = [direction(node, i, x, batch, batch_first, usual) for i in range(2 if way == "bidirectional" else 1)]
    backwards = [way == "reverse"] if len(directions) == 1 else [False, True]
    lengths = lengths_of(node, steps)
    own = fused(node, kind, directions) and lengths is None
    if not own and steps > LONGEST:
        node.refuse(f"it is written step by step, and {steps} steps are more than {LONGEST}; give a shorter sequence with --shape")
    if own and kind == "LSTM" and len(directions) == 2:
        made = bidirectional(x, directions)
    else:
        made = [one(kind, x, d, b, own, lengths) for d, b in zip(directions, backwards, strict=True)]
    return outputs(node, made, batch_first)


def direction(node: Node, i: int, x: Var, batch: int, batch_first: bool, activations: list[Activation]) -> Direction:
    """The parameters of direction i as numpy arrays of x's dtype, its initial states as variables."""
    gates = GATES[node.proto.op_type]
    weight, recurrence = (like(x, node.needed(k, name)[i]) for k, name in ((1, "weights"), (2, "recurrence weights")))
    hidden = recurrence.shape[-1]
    bias = like(x, node.needed(3, "bias")[i] if node.given(3) else np.zeros(2 * gates * hidden))
    peephole = like(x, node.needed(7, "peephole weights")[i]) if node.given(7) else None
    zeros = like(x, np.zeros((batch, hidden)))
    states = [state(node, k, i, batch_first) if node.given(k) else zeros for k in (5, 6)]
    per_direction = len(activations) // (2 if node.attribute("direction", "forward") == "bidirectional" else 1)
    chosen = activations[i * per_direction : (i + 1) * per_direction]
    options = {"clip": node.attribute("clip"), "coupled": bool(node.attribute("input_forget", 0)), "after": bool(node.attribute("linear_before_reset", 0))}
    return Direction(weight, recurrence, bias[: gates * hidden], bias[gates * hidden :], peephole, states[0], states[1], chosen, **options)


def state(node: Node, index: int, i: int, batch_first: bool) -> Var:
    """Initial state of direction i, [b, H]."""
    x = node.input(index)
    if batch_first:
        x = mb.transpose(x=x, perm=[1, 0, 2])
    n = int(x.shape[0])
    if n == 1:
        return mb.squeeze(x=x, axes=[0])
    return mb.squeeze(x=mb.slice_by_size(x=x, begin=[i, 0, 0], size=[1, int(x.shape[1]), int(x.shape[2])]), axes=[0])


def lengths_of(node: Node, steps: int) -> Array | Var | None:
    """The length of each sequence, where they are not all as long as the tensor."""
    stored = node.value(4)
    if not node.given(4) or (stored is not None and (stored == steps).all()):
        return None
    return node.input(4) if stored is None else stored.astype(np.int32)


def fused(node: Node, kind: str, directions: Sequence[Direction]) -> bool:
    """Whether MIL has one operation for all of it."""
    usual = all([a.name for a in d.activations] == USUAL[kind] for d in directions)
    return kind != "GRU" and usual and all(d.peephole is None and d.clip is None and not d.coupled for d in directions)


def reordered(parameter: Array) -> Array:
    """Gates in ONNX's order (input, output, forget, cell) → MIL's (input, forget, output, cell)."""
    i, o, f, c = np.split(parameter, 4)
    return np.concatenate([i, f, o, c])


def lstm_parameters(d: Direction, suffix: str = "") -> dict[str, Any]:
    found = {"weight_ih": d.weight, "weight_hh": d.recurrence, "bias": d.bias + d.recurrent_bias}
    return {name + suffix: reordered(values) for name, values in found.items()}


def one(kind: str, x: Var, d: Direction, backwards: bool, own: bool, lengths: Array | Var | None) -> States:
    """One direction. A backward one reads the reversed sequence, and its states are put back into the sequence's order."""
    if not own:
        return States(*unrolled(kind, x, d, backwards, lengths))
    x = mb.reverse(x=x, axes=[0]) if backwards else x
    if kind == "LSTM":
        every, hidden, cell = mb.lstm(x=x, initial_h=d.hidden, initial_c=d.cell, direction="forward", output_sequence=True, **lstm_parameters(d))
    else:
        bias, cell = d.bias + d.recurrent_bias, None
        every, hidden = mb.rnn(x=x, initial_h=d.hidden, weight_ih=d.weight, weight_hh=d.recurrence, bias=bias, direction="forward", output_sequence=True)
    return States(mb.reverse(x=every, axes=[0]) if backwards else every, hidden, cell)


def bidirectional(x: Var, directions: Sequence[Direction]) -> list[States]:
    """Both directions of an LSTM in one operation, whose results hold one after the other along the last axis."""
    forward, back = directions
    joined = [side_by_side(x, getattr(forward, name), getattr(back, name)) for name in ("hidden", "cell")]
    parameters = lstm_parameters(forward) | lstm_parameters(back, "_back")
    made = mb.lstm(x=x, initial_h=joined[0], initial_c=joined[1], direction="bidirectional", output_sequence=True, **parameters)
    halves = [mb.split(x=y, num_splits=2, axis=len(y.shape) - 1) for y in made]
    return [States(halves[0][i], halves[1][i], halves[2][i]) for i in (0, 1)]


def side_by_side(x: Var, a: Var, b: Var) -> Var:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return like(x, np.concatenate([a, b], axis=-1))
    return mb.concat(values=[a, b], axis=1)


def outputs(node: Node, made: Sequence[States], batch_first: bool) -> list[Var]:
    """Y [T, D, b, H], Y_h and Y_c [D, b, H]; with layout 1 the batch comes first."""
    found: list[Var] = []
    for index, name in enumerate(("every", "hidden", "cell")[: len(node.proto.output)]):
        if not node.wanted(index):
            found.append(None)
            continue
        axis = 1 if index == 0 else 0
        values = [getattr(states, name) for states in made]
        y = mb.expand_dims(x=values[0], axes=[axis]) if len(values) == 1 else mb.stack(values=values, axis=axis)
        if batch_first:
            y = mb.transpose(x=y, perm=[2, 0, 1, 3] if index == 0 else [1, 0, 2])
        found.append(y)
    return found


OPS: dict[str, Lowering] = {"GRU": recurrent, "LSTM": recurrent, "RNN": recurrent}
