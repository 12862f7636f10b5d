"""A recurrent layer in one direction, step by step: a sequence [T, b, I] and parameters in, all states and the last ones out.

The equations are those of the ONNX operators LSTM, GRU and RNN, with every option that they have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Array, Node, Var, cast, like, select

DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation by its ONNX name in lower case, with its parameters."""

    name: str
    alpha: float
    beta: float

    def __call__(self, x: Var) -> Var:
        return ACTIVATIONS[self.name][0](x, like(x, self.alpha), like(x, self.beta))


ACTIVATIONS: dict[str, tuple[Callable[[Var, Var, Var], Var], float | None, float | None]] = {
    "affine": (lambda x, a, b: mb.add(x=mb.mul(x=x, y=a), y=b), 1.0, 0.0),
    "elu": (lambda x, a, b: mb.elu(x=x, alpha=a), 1.0, None),
    "hardsigmoid": (lambda x, a, b: mb.sigmoid_hard(x=x, alpha=a, beta=b), 0.2, 0.5),
    "leakyrelu": (lambda x, a, b: mb.leaky_relu(x=x, alpha=a), 0.01, None),
    "relu": (lambda x, a, b: mb.relu(x=x), None, None),
    "scaledtanh": (lambda x, a, b: mb.scaled_tanh(x=x, alpha=a, beta=b), 1.0, 1.0),
    "sigmoid": (lambda x, a, b: mb.sigmoid(x=x), None, None),
    "softplus": (lambda x, a, b: mb.softplus(x=x), None, None),
    "softsign": (lambda x, a, b: mb.softsign(x=x), None, None),
    "tanh": (lambda x, a, b: mb.tanh(x=x), None, None),
}
"""Name → MIL, default alpha and beta (None where it takes none)."""


def activations_of(node: Node, gates: int) -> list[Activation]:
    """The activations of all directions in order; their parameters are consumed by those that take any."""
    directions = 2 if node.attribute("direction", "forward") == "bidirectional" else 1
    names = [n.decode() if isinstance(n, bytes) else n for n in node.attribute("activations") or DEFAULTS[node.proto.op_type] * directions]
    alphas, betas = list(node.attribute("activation_alpha") or []), list(node.attribute("activation_beta") or [])
    made = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            node.refuse(f"its activation {name} has no counterpart in Core ML; use Sigmoid, Tanh or Relu")
        _, alpha, beta = ACTIVATIONS[name.lower()]
        a = alphas.pop(0) if alpha is not None and alphas else alpha
        b = betas.pop(0) if beta is not None and betas else beta
        made.append(Activation(name.lower(), a or 0.0, b or 0.0))
    return made


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction's parameters: weight [G·H, I], recurrence [G·H, H], biases [G·H], peephole [3·H]; initial states [b, H].

    `coupled` has the forget gate as 1 - input gate, `after` applies the reset gate after the recurrent product (linear_before_reset).
    """

    weight: Array
    recurrence: Array
    bias: Array
    recurrent_bias: Array
    peephole: Array | None
    hidden: Var
    cell: Var
    activations: list[Activation]
    clip: float | None = None
    coupled: bool = False
    after: bool = False


def unrolled(kind: str, x: Var, d: Direction, backwards: bool, lengths: Array | Var | None) -> tuple[Var, Var, Var]:
    """All hidden states [T, b, H], the last hidden and cell states. Past a sequence's length states stay, and those of Y are 0."""
    steps = int(x.shape[0])
    merged = kind == "LSTM" or kind == "RNN"  # both biases are added to the same sum
    bias = d.bias + d.recurrent_bias if merged or not d.after else d.bias
    fed = mb.linear(x=x, weight=d.weight, bias=bias)
    rows = mb.split(x=fed, num_splits=steps, axis=0) if steps > 1 else [fed]
    hidden, cell = d.hidden, d.cell
    zeros = like(x, np.zeros([int(n) for n in np.shape(hidden)] if isinstance(hidden, np.ndarray) else [int(n) for n in hidden.shape]))
    step = {"LSTM": lstm_step, "GRU": gru_step, "RNN": rnn_step}[kind]
    states: list[Var] = [None] * steps
    for t in reversed(range(steps)) if backwards else range(steps):
        new_hidden, new_cell = step(mb.squeeze(x=rows[t], axes=[0]), hidden, cell, d)
        states[t] = new_hidden
        if lengths is not None:
            alive = within(lengths, t, zeros)
            states[t] = select(alive, a=new_hidden, b=zeros)
            new_hidden = select(alive, a=new_hidden, b=hidden)
            new_cell = select(alive, a=new_cell, b=cell) if kind == "LSTM" else new_cell
        hidden, cell = new_hidden, new_cell
    return mb.stack(values=states, axis=0), hidden, cell


def within(lengths: Array | Var, t: int, zeros: Array) -> Var:
    """[b, H]: whether step t belongs to each sequence."""
    if isinstance(lengths, np.ndarray):
        return np.broadcast_to((t < lengths)[:, None], zeros.shape)
    longer = cast(mb.greater(x=cast(lengths, "int32"), y=np.int32(t)), "int32")
    return cast(mb.mul(x=mb.expand_dims(x=longer, axes=[1]), y=np.ones(zeros.shape, np.int32)), "bool")


def clipped(x: Var, d: Direction) -> Var:
    return x if d.clip is None else mb.clip(x=x, alpha=like(x, -d.clip), beta=like(x, d.clip))


def recurrence(h: Var, d: Direction) -> Var:
    return mb.linear(x=h, weight=d.recurrence)


def lstm_step(fed: Var, h: Var, c: Var, d: Direction) -> tuple[Var, Var]:
    """Gates in ONNX's order: input, output, forget, cell."""
    f, g, last = d.activations
    i, o, forget, z = mb.split(x=mb.add(x=fed, y=recurrence(h, d)), num_splits=4, axis=1)
    p_i, p_o, p_f = np.split(d.peephole, 3) if d.peephole is not None else (None, None, None)
    i = f(clipped(watched(i, c, p_i), d))
    forget = mb.sub(x=like(i, 1), y=i) if d.coupled else f(clipped(watched(forget, c, p_f), d))
    c = mb.add(x=mb.mul(x=forget, y=c), y=mb.mul(x=i, y=g(clipped(z, d))))
    o = f(clipped(watched(o, c, p_o), d))
    return mb.mul(x=o, y=last(c)), c


def watched(gate: Var, c: Var, peephole: Array | None) -> Var:
    """A gate that sees the cell state too."""
    return gate if peephole is None else mb.add(x=gate, y=mb.mul(x=c, y=peephole[None]))


def gru_step(fed: Var, h: Var, c: Var, d: Direction) -> tuple[Var, Var]:
    """Gates in ONNX's order: update, reset, hidden."""
    f, g = d.activations
    size = d.recurrence.shape[-1]
    if d.after:
        z, r, n = mb.split(x=fed, num_splits=3, axis=1)
        z_h, r_h, n_h = mb.split(x=mb.linear(x=h, weight=d.recurrence, bias=d.recurrent_bias), num_splits=3, axis=1)
        z, r = f(clipped(mb.add(x=z, y=z_h), d)), f(clipped(mb.add(x=r, y=r_h), d))
        reset = mb.mul(x=r, y=n_h)
    else:
        gates, n = mb.split(x=fed, split_sizes=[2 * size, size], axis=1)
        both = f(clipped(mb.add(x=gates, y=mb.linear(x=h, weight=d.recurrence[: 2 * size])), d))
        z, r = mb.split(x=both, num_splits=2, axis=1)
        reset = mb.linear(x=mb.mul(x=r, y=h), weight=d.recurrence[2 * size :])
    n = g(clipped(mb.add(x=n, y=reset), d))
    return mb.add(x=n, y=mb.mul(x=z, y=mb.sub(x=h, y=n))), c


def rnn_step(fed: Var, h: Var, c: Var, d: Direction) -> tuple[Var, Var]:
    return d.activations[0](clipped(mb.add(x=fed, y=recurrence(h, d)), d)), c
