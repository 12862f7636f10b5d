"""Convolutions that few runtimes have in, ones that all have out."""

from __future__ import annotations

from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering


def conv(graph: Lowering, node: NodeProto) -> None:
    """A grouped Conv of one axis, as one of an image of height 1."""
    shape = graph.shape(node.input[0])
    if len(shape) != 3 or attribute(node, "group", 1) == 1:
        return
    given = {found.name: attribute(node, found.name) for found in node.attribute}
    for name in ("kernel_shape", "strides", "dilations"):
        if name in given:
            given[name] = [1, *given[name]]
    if "pads" in given:
        given["pads"] = [0, given["pads"][0], 0, given["pads"][1]]
    axis = graph.ints(2)
    image, weights = (graph.add("Unsqueeze", [name, axis]) for name in node.input[:2])
    found = graph.add("Conv", [image, weights, *node.input[2:]], **given)
    graph.add("Squeeze", [found, axis], node.output)


def conv_transpose(graph: Lowering, node: NodeProto) -> None:
    """Output padding adds rows at the end: what the whole transposed convolution gives there, or the bias alone."""
    extra = attribute(node, "output_padding") or []
    shape = attribute(node, "output_shape")
    if not any(extra) or shape:
        return
    rank = len(extra)
    pads = list(attribute(node, "pads") or [0] * 2 * rank)
    given = {found.name: attribute(node, found.name) for found in node.attribute if found.name not in ("pads", "output_padding", "auto_pad")}
    whole = graph.add("ConvTranspose", list(node.input[:2]), **given)
    after = graph.shape(node.output[0])[2:]
    strides = list(attribute(node, "strides") or [1] * rank)
    dilations = list(attribute(node, "dilations") or [1] * rank)
    kernel = graph.shape(node.input[1])[2:]
    size = [
        (n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(graph.shape(node.input[0])[2:], strides, kernel, dilations, strict=True)
    ]  # of the whole, before anything is cut off
    ends = [begin + places for begin, places in zip(pads[:rank], after, strict=True)]
    missing = [max(end - have, 0) for end, have in zip(ends, size, strict=True)]
    if any(missing):
        whole = graph.add("Pad", [whole, graph.ints(*[0] * (rank + 2), 0, 0, *missing)], mode="constant")
    axes = graph.ints(*range(2, rank + 2))
    bias = graph.given(node, 2)
    cut = graph.add("Slice", [whole, graph.ints(*pads[:rank]), graph.ints(*ends), axes], None if bias else node.output)
    if bias:
        spread = graph.add("Reshape", [bias, graph.ints(1, -1, *[1] * rank)])
        graph.add("Add", [cut, spread], node.output)


def roi_align(graph: Lowering, node: NodeProto) -> None:
    """Averages with `output_half_pixel` are right in every writer; the others are refused."""
    if attribute(node, "mode", b"avg") != b"avg" or attribute(node, "coordinate_transformation_mode", b"half_pixel") != b"output_half_pixel":
        graph.refuse(node, "takes maxima or half-pixel coordinates, which TFLite has no kernel for: use mode avg with output_half_pixel coordinates")
