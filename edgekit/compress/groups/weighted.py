"""Rules of operators with weights: each makes new channels of those that it reads."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from edgekit.compress.groups.tracing import Channels, Trace, aligned, along
from edgekit.hub.figures import GATES
from edgekit.hub.graph import attribute, title


def convolution(trace: Trace, node: NodeProto) -> None:
    """Conv and ConvTranspose. A group of a grouped one goes whole, with the channels that it reads and those that it makes (depthwise: one each)."""
    weights, given = node.input[1], trace.of(node.input[0])
    if weights not in trace.stored:
        trace.unknown(node)
        return
    for axis, places in enumerate(given):
        if axis != 1:
            trace.freeze(places, f"{node.op_type} {title(node)!r} takes them for places")
    rank, groups = len(trace.shapes[weights]), int(attribute(node, "group", 1))
    channels, across = given[1], node.op_type == "ConvTranspose"
    made = trace.fresh(trace.shapes[node.output[0]][1])
    if groups == 1:
        own = [channels, made] if across else [made, channels]
        trace.use(weights, [*own, *[None] * (rank - 2)], makes=1 if across else 0)
    else:
        together(trace, node, channels, made, groups)
        trace.use(weights, [channels if across else made, *[None] * (rank - 1)], makes=0)
    bias(trace, node, made)
    trace.axes[node.output[0]] = [None, made, *[None] * (rank - 2)]


def together(trace: Trace, node: NodeProto, channels: Channels, made: Channels, groups: int) -> None:
    """Tie what one group reads and makes."""
    if channels is None or made is None:
        for one in (channels, made):
            trace.freeze(one, f"{node.op_type} {title(node)!r} has a group for each of the model's inputs")
        return
    first = channels.reshape(groups, -1)[:, 0]
    for other in (*channels.reshape(groups, -1).T[1:], *made.reshape(groups, -1).T):
        trace.tie(first, other, "")


def bias(trace: Trace, node: NodeProto, made: Channels) -> None:
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] in trace.stored:
            trace.use(node.input[2], [made])
        else:
            trace.tie(made, trace.of(node.input[2])[0], f"{node.op_type} {title(node)!r} has a computed bias")


def gemm(trace: Trace, node: NodeProto) -> None:
    left, right = node.input[:2]
    over_left, over_right = (0 if attribute(node, "transA", 0) else 1), (1 if attribute(node, "transB", 0) else 0)
    rows, columns = product(trace, node, left, right, over_left, over_right, [], [])
    made = [rows, columns]
    if len(node.input) > 2 and node.input[2]:
        added = node.input[2]
        if added in trace.stored:
            trace.use(added, along(trace, added, made))
        else:
            for channels, own in zip(trace.of(added), made[2 - len(trace.of(added)) :], strict=True):
                trace.tie(channels, own, f"Gemm {title(node)!r} adds what is computed without weights")
    trace.axes[node.output[0]] = made


def matmul(trace: Trace, node: NodeProto) -> None:
    """Also of two computed tensors (attention): the axis that they are multiplied over is tied, batches (heads) too."""
    left, right = node.input
    ranks = len(trace.shapes[left]), len(trace.shapes[right])
    if min(ranks) < 2:
        trace.unknown(node)
        return
    outer = aligned(trace, node, [left, right], inner=2)
    leading = [along(trace, name, outer, inner=2) for name in (left, right)]
    rows, columns = product(trace, node, left, right, ranks[0] - 1, ranks[1] - 2, *leading)
    trace.axes[node.output[0]] = [*outer, rows, columns]


def product(
    trace: Trace, node: NodeProto, left: str, right: str, over_left: int, over_right: int, lead_left: list[Channels], lead_right: list[Channels]
) -> tuple[Channels, Channels]:
    """The channels along the rows and columns of a product; a stored side makes new ones.

    Args:
        over_left: the axis of `left` that is summed over; its other one of the last two are the rows.
        lead_left: channels along the axes before the last two.
    """
    places = []
    for name, over, lead in ((left, over_left, lead_left), (right, over_right, lead_right)):
        free = len(lead) + 1 if over == len(lead) else len(lead)
        places.append((name, over, free, lead))
    kept: list[Channels] = [None, None]
    summed = [trace.of(name)[over] for name, over, _, _ in places if name not in trace.stored]
    if len(summed) == 2:
        trace.tie(summed[0], summed[1], f"{node.op_type} {title(node)!r} multiplies them with what is computed without weights")
    for index, (name, over, free, lead) in enumerate(places):
        if name not in trace.stored:
            kept[index] = trace.of(name)[free]
            continue
        made = trace.fresh(trace.shapes[name][free])
        kept[index] = made
        last = [made, summed[0]] if over > free else [summed[0], made]
        trace.use(name, [*lead, *(last if summed else [None, None])], makes=free)
    return kept[0], kept[1]


def recurrent(trace: Trace, node: NodeProto) -> None:
    """LSTM, GRU, RNN: a unit of the hidden state goes with its rows in every gate; both directions of one place go together."""
    names = {position: name for position, name in enumerate(node.input) if name}
    if any(names[position] not in trace.stored for position in (1, 2)) or attribute(node, "layout", 0):
        trace.unknown(node)
        return
    gates, hidden = GATES[node.op_type], int(attribute(node, "hidden_size"))
    given = trace.of(names[0])
    for axis in (0, 1):
        trace.freeze(given[axis], f"{node.op_type} {title(node)!r} takes them for times")
    made = trace.fresh(hidden)

    def repeated(times: int) -> Channels:
        return None if made is None else np.tile(made, times)

    trace.use(names[1], [None, repeated(gates), given[2]], makes=1)
    trace.use(names[2], [None, repeated(gates), made], makes=1)
    wanted = {3: [None, repeated(2 * gates)], 5: [None, None, made], 6: [None, None, made], 7: [None, repeated(3)]}
    for position, axes in wanted.items():
        name = names.get(position)
        if name in trace.stored:
            trace.use(name, axes)
        elif name:
            trace.tie(made, trace.of(name)[-1], f"{node.op_type} {title(node)!r} starts from what is computed without weights")
    for name in node.output:
        if name:
            trace.axes[name] = [*[None] * (len(trace.shapes[name]) - 1), made]
