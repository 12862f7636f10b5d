"""Writing elements by index (ScatterElements, ScatterND, Col2Im, MaxUnpool): a tensor, places and updates in, the tensor with them out."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.convolution import spatial
from edgekit.toolchains.convert.coreml.gather import places
from edgekit.toolchains.convert.coreml.node import Array, Lowering, Node, Var, cast, cast_like, is_bool, like, select, transposed

MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def mode(node: Node) -> str:
    return MODES[node.attribute("reduction", "none")]


def numbers(node: Node) -> tuple[Var, Var]:
    """Data and updates, bool as int32."""
    data, updates = node.input(0), node.input(2)
    return (cast(data, "int32"), cast(updates, "int32")) if is_bool(data) else (data, updates)


def scatter_elements(node: Node) -> Var:
    data, updates = numbers(node)
    axis = node.attribute("axis", 0) % len(node.shape(0))
    at = places(node, 1, node.shape(0)[axis])
    rank, before, sizes = len(node.shape(0)), node.shape(0), [int(n) for n in at.shape]
    if any(n != m for i, (n, m) in enumerate(zip(sizes, before, strict=True)) if i != axis):
        # MIL wants the other axes to be the data's own: whole coordinates say the same for any shape.
        along = at if isinstance(at, np.ndarray) else select(mb.less(x=at, y=np.int32(0)), a=mb.add(x=at, y=np.int32(before[axis])), b=at)
        grid = [np.broadcast_to(g, sizes).astype(np.int32).reshape(-1) for g in np.indices(sizes, sparse=True)]
        columns = [mb.reshape(x=along, shape=[-1]) if i == axis else grid[i] for i in range(rank)]
        made = mb.scatter_nd(data=data, indices=mb.stack(values=columns, axis=1), updates=mb.reshape(x=updates, shape=[-1]), mode=mode(node))
    else:
        made = mb.scatter_along_axis(data=data, indices=at, updates=updates, axis=axis, mode=mode(node))
    return cast(made, "bool") if is_bool(node.input(0)) else made


def scatter_nd(node: Node) -> Var:
    data, updates = numbers(node)
    stored = node.value(1)
    at = cast(node.input(1), "int32")
    if stored is not None:
        sizes = np.array(node.shape(0)[: stored.shape[-1]])
        at = np.where(stored < 0, stored + sizes, stored).astype(np.int32)
    made = mb.scatter_nd(data=data, indices=at, updates=updates, mode=mode(node))
    return cast(made, "bool") if is_bool(node.input(0)) else made


def col2im(node: Node) -> Var:
    """Every column added at its place in the padded image, of which the middle is kept."""
    x, image, block = node.input(0), node.ints(1, "image shape"), node.ints(2, "block shape")
    rank = len(image)
    strides, dilations = spatial(node, "strides", rank), spatial(node, "dilations", rank)
    pads = spatial(node, "pads", 2 * rank, 0)
    padded = [n + b + e for n, b, e in zip(image, pads[:rank], pads[rank:], strict=True)]
    at = columns(padded, block, strides, dilations)
    n, rows = (int(d) for d in x.shape[:2])
    channels = rows // int(np.prod(block))
    flat = mb.reshape(x=x, shape=[n * channels, -1])
    zeros = like(x, np.zeros((n * channels, int(np.prod(padded)))))
    added = mb.scatter_along_axis(data=zeros, indices=np.broadcast_to(at, (n * channels, at.size)).astype(np.int32), updates=flat, axis=1, mode="add")
    whole = mb.reshape(x=added, shape=[n * channels, *padded])
    middle = mb.slice_by_size(x=whole, begin=[0, *pads[:rank]], size=[n * channels, *image])
    return mb.reshape(x=middle, shape=[n, channels, *image])


def columns(image: list[int], block: list[int], strides: list[int], dilations: list[int]) -> Array:
    """[elements of a block · blocks]: the flat place in the image of each element of a column matrix."""
    starts = [np.arange((n - (k - 1) * d - 1) // s + 1) * s for n, k, s, d in zip(image, block, strides, dilations, strict=True)]
    inside = [np.arange(k) * d for k, d in zip(block, dilations, strict=True)]
    blocks = np.stack([g.reshape(-1) for g in np.meshgrid(*starts, indexing="ij")])
    elements = np.stack([g.reshape(-1) for g in np.meshgrid(*inside, indexing="ij")])
    return np.asarray(np.ravel_multi_index(tuple(elements[:, :, None] + blocks[:, None, :]), tuple(image)).reshape(-1))


def max_unpool(node: Node) -> Var:
    """Each value at the flat place that its index names in the smallest image that gives it, zeros elsewhere."""
    x, at = node.input(0), cast(node.input(1), "int32")
    shape, rank = node.made_shape(), len(node.shape(0)) - 2
    kernel, strides = spatial(node, "kernel_shape", rank), spatial(node, "strides", rank)
    pads = spatial(node, "pads", 2 * rank, 0)
    smallest = [(n - 1) * s - b - e + k for n, s, b, e, k in zip(node.shape(0)[2:], strides, pads[:rank], pads[rank:], kernel, strict=True)]
    counted = [*shape[:2], *smallest]
    zeros = like(x, np.zeros(int(np.prod(counted))))
    flat = mb.scatter(data=zeros, indices=mb.reshape(x=at, shape=[-1]), updates=mb.reshape(x=x, shape=[-1]), axis=0, mode="update")
    y = mb.reshape(x=flat, shape=counted)
    more = [n for b, a in zip(smallest, shape[2:], strict=True) for n in (0, a - b)]
    return mb.pad(x=y, pad=[0, 0, 0, 0, *more], mode="constant", constant_val=like(x, 0)) if any(more) else y


def tensor_scatter(node: Node) -> Var:
    """A cache [b, …, n, …] with an update written from each sequence's own place on; `circular` goes on at the start."""
    cache, update = node.input(0), node.input(1)
    shape, rank = node.shape(0), len(node.shape(0))
    axis, n, m = node.attribute("axis", -2) % rank, node.shape(0)[node.attribute("axis", -2)], node.shape(1)[node.attribute("axis", -2)]
    starts = cast(node.input(2), "int32") if node.given(2) else np.zeros(shape[0], np.int32)
    steps = np.arange(m, dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(rank)])
    at = mb.add(x=mb.reshape(x=starts, shape=[-1] + [1] * (rank - 1)), y=steps)
    at = mb.mod(x=at, y=np.int32(n)) if node.attribute("mode", "linear") == "circular" else at
    # Where in the update each place of the cache is written from: one comparison for every pair of places, which ends in a matrix product.
    places = np.arange(n, dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(rank)])
    if axis == 0:
        node.refuse("it writes along the batch axis; put the sequence on another axis")
    order = [0, axis, *(i for i in range(1, rank) if i != axis)]
    back = [order.index(i) for i in range(rank)]
    at = mb.reshape(x=at, shape=[shape[0], 1, m])
    hit = mb.equal(x=at, y=places.reshape(1, n, 1))
    rows = mb.reshape(x=transposed(update, order), shape=[shape[0], m, -1])
    rest = [shape[i] for i in order[2:]]
    written = transposed(mb.reshape(x=mb.matmul(x=cast_like(hit, rows), y=rows), shape=[shape[0], n, *rest]), back)
    touched = mb.reduce_max(x=cast(hit, "int32"), axes=[2], keep_dims=False)
    touched = cast(mb.reshape(x=touched, shape=[shape[0] if i == 0 else n if i == axis else 1 for i in range(rank)]), "bool")
    return select(touched, a=written, b=cache)


OPS: dict[str, Lowering] = {
    "Col2Im": col2im,
    "MaxUnpool": max_unpool,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
}
