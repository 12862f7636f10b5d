"""gather*, scatter*: arguments in, arrays out. Negative indices count from the end; one out of range is an error."""

from __future__ import annotations

import numpy as np

from .arguments import Arguments, Array, Function, UnknownMode


def gather(a: Arguments) -> Array:
    """TensorFlow's gather: D[:axis] + indices[batch_dims:] + D[axis + 1:]."""
    x, indices, batch_dims = a["x"], a["indices"].astype(np.int64), a.integer("batch_dims", 0)
    axis = a.integer("axis", 0) % x.ndim
    if batch_dims == 0:
        return np.take(x, indices, axis=axis)
    batch = x.shape[:batch_dims]
    rows = [np.take(x[i], indices[i], axis=axis - batch_dims) for i in np.ndindex(batch)]
    return np.stack(rows).reshape(*batch, *rows[0].shape)


def gather_along_axis(a: Arguments) -> Array:
    return np.take_along_axis(a["x"], a["indices"].astype(np.int64), a.integer("axis", 0))


def gather_nd(a: Arguments) -> Array:
    """The last axis of `indices` is a place in x, after `batch_dims` axes that both share."""
    x, indices, batch_dims = a["x"], a["indices"].astype(np.int64), a.integer("batch_dims", 0)
    if batch_dims == 0:
        return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])
    batch = x.shape[:batch_dims]
    rows = [x[i][tuple(np.moveaxis(indices[i], -1, 0))] for i in np.ndindex(batch)]
    return np.stack(rows).reshape(*batch, *rows[0].shape)


def update(data: Array, where: tuple[Array, ...], updates: Array, mode: str) -> Array:
    """A copy of data with `updates` written at `where`; places that occur twice are combined one after the other."""
    y = data.copy()
    if mode == "update":
        y[where] = updates
        return y
    ufuncs = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum}
    if mode not in ufuncs:
        raise UnknownMode(f"mode = {mode}")
    ufuncs[mode].at(y, where, updates)
    return y


def scatter(a: Arguments) -> Array:
    """Whole slices along `axis`."""
    axis = a.integer("axis", 0)
    data, updates = np.moveaxis(a["data"], axis, 0), np.moveaxis(a["updates"], axis, 0)
    return np.moveaxis(update(data, (a["indices"].astype(np.int64),), updates, a.text("mode", "add")), 0, axis)


def scatter_along_axis(a: Arguments) -> Array:
    indices = a["indices"].astype(np.int64)
    where: list[Array] = list(np.indices(indices.shape, sparse=True))
    where[a.integer("axis", 0) % indices.ndim] = indices
    return update(a["data"], tuple(where), a["updates"], a.text("mode", "add"))


def scatter_nd(a: Arguments) -> Array:
    where = tuple(np.moveaxis(a["indices"].astype(np.int64), -1, 0))
    return update(a["data"], where, a["updates"], a.text("mode", "add"))


OPS: dict[str, Function] = {
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
}
