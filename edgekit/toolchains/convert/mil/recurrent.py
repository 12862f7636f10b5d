"""lstm, gru, rnn: x [s, b, I] and states in, [s or 1, b, H] and the last states out.

Gates are stacked in MIL's order: input, forget, output, cell for lstm; reset, output, update for gru.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arguments import Arguments, Array, Function, UnknownMode
from .elementwise import sigmoid

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": np.asarray,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}


def activation(a: Arguments, name: str, default: str) -> Callable[[Array], Array]:
    kind = a.text(name, default)
    if kind not in ACTIVATIONS:
        raise UnknownMode(f"{name} = {kind}")
    return ACTIVATIONS[kind]


def lstm_direction(a: Arguments, x: Array, h: Array, c: Array, suffix: str) -> tuple[Array, Array, Array]:
    """One pass over x [s, b, I]: every hidden state [s, b, H], the last hidden state and the last cell state."""
    gate, cell, out = activation(a, "recurrent_activation", "sigmoid"), activation(a, "cell_activation", "tanh"), activation(a, "activation", "tanh")
    if a.get("peephole" + suffix) is not None:
        raise UnknownMode("peephole connections")
    bias = a.get("bias" + suffix)
    fed = x @ a["weight_ih" + suffix].T + (0 if bias is None else bias)
    states = []
    for step in fed:
        i, f, o, z = np.split(step + h @ a["weight_hh" + suffix].T, 4, axis=-1)
        if "clip" in a.values:
            limit = abs(a.number("clip", 0.0))
            i, f, o, z = (np.clip(v, -limit, limit) for v in (i, f, o, z))
        c = gate(f) * c + gate(i) * cell(z)
        h = gate(o) * out(c)
        states.append(h)
    return np.stack(states), h, c


def lstm(a: Arguments) -> list[Array]:
    x, h, c, direction = a["x"], a["initial_h"], a["initial_c"], a.text("direction", "forward")
    if direction == "bidirectional":
        (h_forward, h_back), (c_forward, c_back) = np.split(h, 2, axis=-1), np.split(c, 2, axis=-1)
        forward, h_forward, c_forward = lstm_direction(a, x, h_forward, c_forward, "")
        back, h_back, c_back = lstm_direction(a, x[::-1], h_back, c_back, "_back")
        if not a.flag("output_sequence"):
            forward, back = forward[-1:], back[-1:]
        joined = np.concatenate([forward, back[::-1]], axis=-1)
        return [joined, np.concatenate([h_forward, h_back], axis=-1), np.concatenate([c_forward, c_back], axis=-1)]
    # A reversed pass alone gives its states in the order in which it computed them.
    states, h, c = lstm_direction(a, x[::-1] if direction == "reverse" else x, h, c, "")
    return [states if a.flag("output_sequence") else states[-1:], h, c]


def gru(a: Arguments) -> list[Array]:
    """`reset_after` (with `input_bias`) applies the reset gate to W_ho h + b_ho; else to W_ho h alone."""
    x, h, weight = a["x"], a["initial_h"], a["weight_hh"]
    gate, out = activation(a, "recurrent_activation", "sigmoid"), activation(a, "activation", "tanh")
    size = h.shape[-1]
    zeros = np.zeros(3 * size, np.float32)
    bias, input_bias = a.get("bias"), a.get("input_bias")
    if a.flag("reset_after"):
        fed_bias, state_bias = zeros if input_bias is None else input_bias, zeros if bias is None else bias
    else:
        fed_bias, state_bias = zeros if bias is None else bias, zeros
    fed = (x[::-1] if a.text("direction", "forward") == "reverse" else x) @ a["weight_ih"].T + fed_bias
    states = []
    for step in fed:
        (r_x, o_x, z_x), (r_h, o_h, z_h) = np.split(step, 3, axis=-1), np.split(h @ weight.T + state_bias, 3, axis=-1)
        z = gate(z_x + z_h)
        h = (1 - z) * out(o_x + gate(r_x + r_h) * o_h) + z * h
        states.append(h)
    return [np.stack(states) if a.flag("output_sequence") else states[-1][None], h]


def rnn(a: Arguments) -> list[Array]:
    x, h, out, bias = a["x"], a["initial_h"], activation(a, "activation", "tanh"), a.get("bias")
    fed = (x[::-1] if a.text("direction", "forward") == "reverse" else x) @ a["weight_ih"].T + (0 if bias is None else bias)
    states = []
    for step in fed:
        h = out(step + h @ a["weight_hh"].T)
        states.append(h)
    return [np.stack(states) if a.flag("output_sequence") else states[-1][None], h]


OPS: dict[str, Function] = {"lstm": lstm, "gru": gru, "rnn": rnn}
