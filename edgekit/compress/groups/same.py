"""Rules of operators that leave channels where they are: element by element, windows over places, and sums across an axis."""

from __future__ import annotations

from onnx import NodeProto

from edgekit.compress.groups.tracing import Trace, aligned, along
from edgekit.hub.graph import attribute, title


def elementwise(trace: Trace, node: NodeProto) -> None:
    """One tensor, or several that broadcast."""
    names = [name for name in node.input if name]
    found = aligned(trace, node, names)
    for name in names:
        if name in trace.stored:
            trace.use(name, along(trace, name, found))
    for name in node.output:
        if name:
            trace.axes[name] = found


def quantize(trace: Trace, node: NodeProto) -> None:
    """One scale for all treats all elements alike."""
    if node.input[0] in trace.stored or any(trace.shapes[name] not in ([], [1]) for name in node.input[1:] if name):
        trace.unknown(node)
    else:
        trace.axes[node.output[0]] = trace.of(node.input[0])


def windows(trace: Trace, node: NodeProto) -> None:
    """Pooling and sampling over places: channels are axis 1."""
    for name in node.input:
        for axis, channels in enumerate(trace.axes.get(name, ())):
            if axis != 1 or name != node.input[0]:
                trace.freeze(channels, f"{node.op_type} {title(node)!r} takes them for places")
    channels = trace.of(node.input[0])[1]
    for name in node.output:
        if name:
            trace.axes[name] = [None, channels, *[None] * (len(trace.shapes[name]) - 2)]


def resize(trace: Trace, node: NodeProto) -> None:
    """An axis that keeps its size keeps its channels."""
    before, after = trace.shapes[node.input[0]], trace.shapes[node.output[0]]
    given = trace.of(node.input[0])
    for channels, size, new in zip(given, before, after, strict=True):
        if size != new:
            trace.freeze(channels, f"Resize {title(node)!r} takes them for places")
    trace.axes[node.output[0]] = [channels if size == new else None for channels, size, new in zip(given, before, after, strict=True)]


def across(trace: Trace, node: NodeProto) -> None:
    """What depends on all elements of an axis (Softmax, ArgMax, TopK): channels there stay, others pass."""
    rank = len(trace.shapes[node.input[0]])
    axis = int(attribute(node, "axis", 0 if node.op_type in ("ArgMax", "ArgMin") else 1 if node.op_type == "LRN" else -1)) % rank
    given = list(trace.of(node.input[0]))
    trace.freeze(given[axis], f"{node.op_type} {title(node)!r} runs across them")
    given[axis] = None
    for name in node.output:
        if name:
            trace.axes[name] = given if len(trace.shapes[name]) == rank else given[:axis] + given[axis + 1 :]


def reduce(trace: Trace, node: NodeProto) -> None:
    """A sum, mean or extreme over axes: channels there stay, others pass."""
    given = list(trace.of(node.input[0]))
    listed = attribute(node, "axes")
    if listed is None and len(node.input) > 1 and node.input[1]:
        values = trace.values(node.input[1])
        if values is None:
            trace.unknown(node)
            return
        listed = values.tolist()
    if not listed:
        listed = [] if attribute(node, "noop_with_empty_axes", 0) else range(len(given))
    over = {axis % len(given) for axis in listed}
    for axis in over:
        trace.freeze(given[axis], f"{node.op_type} {title(node)!r} runs across them")
    if attribute(node, "keepdims", 1):
        trace.axes[node.output[0]] = [None if axis in over else channels for axis, channels in enumerate(given)]
    else:
        trace.axes[node.output[0]] = [channels for axis, channels in enumerate(given) if axis not in over]


def per_channel(trace: Trace, node: NodeProto) -> None:
    """BatchNormalization, InstanceNormalization: vectors that follow axis 1; InstanceNormalization runs across places."""
    given = trace.of(node.input[0])
    if node.op_type == "InstanceNormalization":
        for channels in given[2:]:
            trace.freeze(channels, f"{node.op_type} {title(node)!r} runs across them")
    vectors(trace, node, given[1])
    trace.axes[node.output[0]] = given


def vectors(trace: Trace, node: NodeProto, channels: object) -> None:
    """A normalisation's scale, bias, mean and variance; computed ones are tied."""
    for name in node.input[1:]:
        if name in trace.stored:
            trace.use(name, [channels])  # type: ignore[list-item]
        elif name:
            trace.tie(trace.of(name)[0], channels, f"{node.op_type} {title(node)!r} has computed weights")  # type: ignore[arg-type]


def layer_normalization(trace: Trace, node: NodeProto) -> None:
    """Channels that are normalised together may go one by one: the others are then normalised without them, as a narrower network would."""
    given = trace.of(node.input[0])
    first = int(attribute(node, "axis", -1)) % len(given)
    for name in node.input[1:]:
        if name in trace.stored:
            trace.use(name, along(trace, name, given))
        elif name:
            trace.unknown(node)
            return
    if any(channels is not None for channels in given[first:]):
        trace.renormalised.append(title(node))
    trace.axes[node.output[0]] = given


def group_normalization(trace: Trace, node: NodeProto) -> None:
    """A group goes whole."""
    given = trace.of(node.input[0])
    channels, groups = given[1], int(attribute(node, "num_groups"))
    for inner in given[2:]:
        trace.freeze(inner, f"{node.op_type} {title(node)!r} runs across them")
    if channels is not None:
        together = channels.reshape(groups, -1)
        for other in together.T[1:]:
            trace.tie(together[:, 0], other, "")
    for name in node.input[1:]:
        size = trace.shapes[name][0]
        own = channels if channels is None or size == len(channels) else channels.reshape(groups, -1)[:, 0]
        if name in trace.stored:
            trace.use(name, [own if size > 1 else None])
        else:
            trace.unknown(node)
            return
    trace.axes[node.output[0]] = given
