"""LSTM, GRU and RNN in, PyTorch's fused layers out where they say the same, else the steps of the cell one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value, refusal
from edgekit.toolchains.torch.twin.shape import spread

USUAL = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softsign": torch.nn.functional.softsign,
    "softplus": torch.nn.functional.softplus,
}
ORDER = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2]}
"""PyTorch's gates by their places in ONNX: i f g o of i o f c; r z n of z r h."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a layer computes: its kind, the functions of each direction, and whether PyTorch has a fused form of it."""

    kind: str
    ways: tuple[str, ...]
    functions: tuple[tuple[str, ...], ...]
    reset_after: bool
    clip: float | None
    coupled: bool
    batch_first: bool
    fused: bool


def recurrent(build: Build, node: NodeProto) -> list[Value]:
    """Y, Y_h and, of an LSTM, Y_c (ONNX operators, LSTM: X [steps, batch, width]; `layout` 1 puts the batch first everywhere)."""
    x, w, r = (build.of(node.input[index]) for index in range(3))
    bias, state, cell, peepholes = (build.given(node, index) for index in (3, 5, 6, 7))
    batch_first = bool(attribute(node, "layout", 0))
    length = x.shape[1 if batch_first else 0]
    lengths = None if len(node.input) < 5 or not node.input[4] else build.fixed(node, 4)
    if lengths is not None and any(int(one) != length for one in lengths):
        raise refusal(node, "its sequences have lengths of their own")
    form = form_of(node, batch_first, peepholes is not None)
    axis = 0 if batch_first else 1
    states = [one if one is None or one.batch is not None or x.batch is None else build.call(spread, one, x, x.batch, axis) for one in (state, cell)]
    found = build.call(layer_of(form), x, w, r, bias, *states, peepholes)
    return [build.call(take, found, index) for index in range(len(node.output))]


def form_of(node: NodeProto, batch_first: bool, peepholes: bool) -> Form:
    kind, direction = node.op_type, attribute(node, "direction", b"forward").decode()
    ways = ("forward", "reverse") if direction == "bidirectional" else (direction,)
    names = [name.decode().lower() for name in attribute(node, "activations") or []] or USUAL[kind] * len(ways)
    unknown = next((name for name in names if name not in FUNCTIONS), None)
    if unknown is not None:
        raise refusal(node, f"there is no PyTorch form of the activation {unknown!r} here")
    each = len(USUAL[kind])
    functions = tuple(tuple(names[index * each : (index + 1) * each]) for index in range(len(ways)))
    clip, coupled, reset_after = attribute(node, "clip"), bool(attribute(node, "input_forget", 0)), bool(attribute(node, "linear_before_reset", 0))
    usual = all(list(one) == USUAL[kind] for one in functions)
    fused = usual and clip is None and not coupled and not peepholes and (kind != "GRU" or reset_after)
    return Form(kind, ways, functions, reset_after, clip, coupled, batch_first, fused)


def take(results: Any, index: int) -> Any:
    return results[index]


def layer_of(form: Form) -> Callable[..., Any]:
    """The function of one layer: generated code holds functions and plain data, no records."""

    def recurrent_layer(x: Any, w: Any, r: Any, bias: Any, state: Any, cell: Any, peepholes: Any) -> Any:
        return layer(x, w, r, bias, state, cell, peepholes, form)

    return recurrent_layer


def layer(x: Any, w: Any, r: Any, bias: Any, state: Any, cell: Any, peepholes: Any, form: Form) -> Any:
    """X [T, N, I] → Y [T, D, N, H], Y_h [D, N, H], Y_c [D, N, H]; N first in all with `batch_first`."""
    x = x.transpose(0, 1) if form.batch_first else x
    hidden = r.shape[-1]
    results = []
    for way, direction in enumerate(form.ways):
        given = [one if one is None else (one.transpose(0, 1) if form.batch_first else one)[way] for one in (state, cell)]
        h, c = (x.new_zeros(x.shape[1], hidden) if one is None else one for one in given)
        b = x.new_zeros(2 * w.shape[1]) if bias is None else bias[way]
        turned = torch.flip(x, [0]) if direction == "reverse" else x
        run = fused if form.fused else stepwise
        y, h, c = run(turned, w[way], r[way], b, h, c, None if peepholes is None else peepholes[way], form, form.functions[way])
        results.append((torch.flip(y, [0]) if direction == "reverse" else y, h, c))
    y, h, c = (together([one[index] for one in results], 1 if index == 0 else 0) for index in range(3))
    return (y.permute(2, 0, 1, 3), h.transpose(0, 1), c.transpose(0, 1)) if form.batch_first else (y, h, c)


def together(ways: list[Any], axis: int) -> Any:
    """Directions side by side on an axis of their own; one alone is not copied."""
    return ways[0].unsqueeze(axis) if len(ways) == 1 else torch.stack(ways, axis)


@cache
def gates(kind: str, hidden: int) -> Any:
    """Rows of ONNX's weights in PyTorch's order."""
    return torch.cat([torch.arange(gate * hidden, (gate + 1) * hidden) for gate in ORDER[kind]])


def fused(x: Any, w: Any, r: Any, b: Any, h: Any, c: Any, peepholes: Any, form: Form, functions: tuple[str, ...]) -> Any:
    """One direction by PyTorch's own layer; `train` has it keep what its gradient needs."""
    b = b.view(2, -1)
    if form.kind in ORDER:
        rows = gates(form.kind, r.shape[-1])
        w, r, b = w.index_select(0, rows), r.index_select(0, rows), b.index_select(1, rows)
    bw, br = b.unbind()
    settings = ([w, r, bw, br], True, 1, 0.0, True, False, False)
    if form.kind == "LSTM":
        y, h, c = torch._VF.lstm(x, (h[None], c[None]), *settings)
        return y, h[0], c[0]
    y, h = (torch._VF.gru if form.kind == "GRU" else torch._VF.rnn_tanh)(x, h[None], *settings)
    return y, h[0], c


def stepwise(x: Any, w: Any, r: Any, b: Any, h: Any, c: Any, peepholes: Any, form: Form, functions: tuple[str, ...]) -> Any:
    """One direction, step by step, as ONNX's definitions of LSTM, GRU and RNN."""
    bw, br = b.chunk(2)
    before = torch.nn.functional.linear(x, w, bw)
    steps = []
    for step in before.unbind(0):
        h, c = CELLS[form.kind](step, h, c, r, br, peepholes, form, [FUNCTIONS[name] for name in functions])
        steps.append(h)
    return torch.stack(steps), h, c


def limited(x: Any, form: Form) -> Any:
    return x if form.clip is None else torch.clamp(x, -form.clip, form.clip)


def lstm_cell(step: Any, h: Any, c: Any, r: Any, br: Any, peepholes: Any, form: Form, functions: list[Callable[[Any], Any]]) -> Any:
    f, g, k = functions
    i, o, forget, new = torch.nn.functional.linear(h, r, br).add(step).chunk(4, -1)
    pi, po, pf = (0, 0, 0) if peepholes is None else peepholes.chunk(3)
    i = f(limited(i + pi * c, form))
    forget = 1 - i if form.coupled else f(limited(forget + pf * c, form))
    c = forget * c + i * g(limited(new, form))
    return f(limited(o + po * c, form)) * k(c), c


def gru_cell(step: Any, h: Any, c: Any, r: Any, br: Any, peepholes: Any, form: Form, functions: list[Callable[[Any], Any]]) -> Any:
    f, g = functions
    (rz, rr, rh), (bz, br_, bh), (z, reset, new) = r.chunk(3), br.chunk(3), step.chunk(3, -1)
    linear = torch.nn.functional.linear
    z, reset = f(limited(z + linear(h, rz, bz), form)), f(limited(reset + linear(h, rr, br_), form))
    inner = reset * linear(h, rh, bh) if form.reset_after else linear(reset * h, rh, bh)
    return (1 - z) * g(limited(new + inner, form)) + z * h, c


def rnn_cell(step: Any, h: Any, c: Any, r: Any, br: Any, peepholes: Any, form: Form, functions: list[Callable[[Any], Any]]) -> Any:
    return functions[0](limited(step + torch.nn.functional.linear(h, r, br), form)), c


CELLS: dict[str, Callable[..., Any]] = {"LSTM": lstm_cell, "GRU": gru_cell, "RNN": rnn_cell}
OPERATORS = dict.fromkeys(USUAL, recurrent)
