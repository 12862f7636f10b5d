"""What MIL operations must give (runs in the `convert` toolchain): windows and batches, images, loops and lists, compressed weights of iOS 18."""

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from mil_cases import RNG, Case, normal, onnx

Array = Any


def rearranged() -> list[Case]:
    x, sequence = normal(2, 3, 4, 6), normal(3, 5, 2)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 3)])
    # Written out as TensorFlow's documentation of space_to_batch does: batch b of the result is every second row from b // 3, every third column from b % 3.
    batches = np.concatenate([padded[:, :, i::2, j::3] for i in range(2) for j in range(3)])
    windows = np.stack([x[:, i : i + 2] for i in range(2)], axis=1)
    lengths = np.array([5, 0, 3], np.int32)
    reversed_ = onnx("ReverseSequence", sequence, lengths.astype(np.int64), batch_axis=0, time_axis=1)
    shapes = {"begins": (0, 2), "ends": (1, 0), "end_masks": (False, True)}
    return [
        Case("space_to_batch", [x], lambda v: mb.space_to_batch(x=v, block_shape=[2, 3], paddings=[[1, 1], [0, 3]]), batches),
        Case("batch_to_space", [batches], lambda v: mb.batch_to_space(x=v, block_shape=[2, 3], crops=[[1, 1], [0, 3]]), x),
        Case("sliding_windows", [x], lambda v: mb.sliding_windows(x=v, axis=1, size=2), windows),
        Case("sliding_windows stride", [x], lambda v: mb.sliding_windows(x=v, axis=-1, size=3, stride=2), np.stack([x[..., :3], x[..., 2:5]], axis=3)),
        Case("reverse_sequence", [sequence, lengths], lambda v, n: mb.reverse_sequence(x=v, lengths=n, seq_axis=1, batch_axis=0), reversed_),
        Case("reshape_like", [normal(2, 12), normal(2, 5), normal(7, 7, 3, 4)], like(shapes), np.zeros((2, 3, 4))),
    ]


def like(shapes: dict[str, Any]) -> Any:
    """[2, 12] in the shape [2, 3, 4] of parts of two others, less the same by reshape: zero."""

    def build(v: Any, a: Any, b: Any) -> Any:
        return mb.sub(x=mb.reshape_like(x=v, ref_tensors=(a, b), **shapes), y=mb.reshape(x=v, shape=[2, 3, 4]))

    return build


def image() -> list[Case]:
    x = normal(2, 3, 5, 7)
    matrix = np.array([[0.5, 0.1, 0.2, -0.1, 0.8, 0.0], [1.0, 0, 0, 0, 1, 0]], np.float32)
    theta = matrix.reshape(2, 2, 3)
    grid = onnx("AffineGrid", theta, np.array([2, 3, 4, 6], np.int64), align_corners=1)
    modes = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "coordinates_mode": "normalized_minus_one_to_one"}
    boxes, which = np.array([[0, 0.25, 1, 0.75], [0.5, 0, 0.5, 1]], np.float32), np.array([1, 0], np.int32)
    ends = boxes * np.array([4, 6, 4, 6], np.float32)
    crops = np.stack([bilinear(x[i], np.linspace(t, b, 3), np.linspace(le, r, 4)) for i, (t, le, b, r) in zip(which, ends, strict=True)])
    corners = {"target_height": 3, "target_width": 4, "normalized_coordinates": True, "sampling_mode": "ALIGN_CORNERS"}
    return [
        Case(
            "affine",
            [x, matrix],
            lambda v, m: mb.affine(x=v, transform_matrix=m, output_height=4, output_width=6, align_corners=True, **modes),
            onnx("GridSample", x, grid, mode="linear", align_corners=1),
        ),
        Case("crop_resize", [x, boxes, which], lambda v, b, i: mb.crop_resize(x=v, boxes=b, box_indices=i, **corners), crops),
    ]


def bilinear(x: Array, rows: Array, columns: Array) -> Array:
    """x [C, H, W] at rows × columns, by the formula, element by element."""
    y = np.zeros((x.shape[0], len(rows), len(columns)))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            for a in range(x.shape[1]):
                for b in range(x.shape[2]):
                    y[:, i, j] += x[:, a, b] * max(0, 1 - abs(r - a)) * max(0, 1 - abs(c - b))
    return y


def control() -> list[Case]:
    x, steps = normal(3, 4), np.array([3], np.int32)

    def chosen(v: Any, flag: int) -> Any:
        pred = mb.greater(x=mb.squeeze(x=mb.slice_by_size(x=v, begin=[0, 0], size=[1, 1])), y=np.float32(1e9 * (1 - 2 * flag)))
        return mb.cond(pred=pred, _true_fn=lambda: mb.add(x=v, y=np.float32(1)), _false_fn=lambda: mb.mul(x=v, y=np.float32(2)))

    def loop(v: Any, n: Any) -> Any:
        return mb.while_loop(
            _cond=lambda i, _: mb.less(x=i, y=mb.squeeze(x=n)),
            _body=lambda i, y: (mb.add(x=i, y=1), mb.add(x=mb.mul(x=y, y=np.float32(0.5)), y=v)),
            loop_vars=(0, mb.mul(x=v, y=np.float32(1))),
        )[1]

    def lists(v: Any) -> Any:
        made = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(4,), dtype="fp32")
        rows = mb.split(x=v, num_splits=3, axis=0)
        for i in range(3):
            made = mb.list_write(ls=made, index=i, value=mb.squeeze(x=rows[i], axes=[0]))
        made = mb.list_scatter(ls=made, indices=[1], value=rows[2])
        return mb.concat(values=[mb.list_gather(ls=made, indices=[2, 1, 0]), mb.expand_dims(x=mb.list_read(ls=made, index=0), axes=[0])], axis=0)

    def length(v: Any) -> Any:
        made = mb.list_write(ls=mb.make_list(init_length=2, elem_shape=(3, 4), dtype="fp32"), index=2, value=v)
        return mb.list_length(ls=made)

    looped = 1.0 * x
    for _ in range(3):
        looped = 0.5 * looped + x
    return [
        Case("cond true", [x], lambda v: chosen(v, 1), x + 1),
        Case("cond false", [x], lambda v: chosen(v, 0), 2 * x),
        Case("while_loop", [x, steps], loop, looped),
        Case("lists", [x], lists, x[[2, 2, 0, 0]]),
        Case("list_length", [x], length, np.array(3, np.int32)),
    ]


def typed(values: Array, name: str) -> Array:
    """An array of one of MIL's types of less than a byte."""
    return np.asarray(values).astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def constexpr18() -> list[Case]:
    x, x12 = normal(2, 6), normal(2, 12)
    indices, groups = RNG.integers(0, 4, (4, 6)), normal(2, 1, 4, 1)
    grouped = np.stack([groups[i // 2, 0, indices[i], 0] for i in range(4)])
    vectors = normal(1, 1, 4, 2)
    in_vectors = np.stack([[value for index in row for value in vectors[0, 0, index]] for row in indices])
    data, block_scale, offset = RNG.integers(-8, 8, (4, 6)), (RNG.random((4, 2)) + 0.1).astype(np.float32), RNG.integers(-3, 3, (4, 2))
    blocked = np.array([[(data[i, j] - offset[i, j // 3]) * block_scale[i, j // 3] for j in range(6)] for i in range(4)])
    three, six = RNG.integers(0, 8, (4, 6)), RNG.integers(0, 64, (4, 6))
    lut3, lut6 = normal(1, 1, 8, 1), normal(1, 1, 64, 1)
    mask = (np.arange(24).reshape(4, 6) % 3 == 0) | (np.arange(24).reshape(4, 6) % 7 == 2)
    count = int(mask.sum())
    kept, kept_indices, kept_ints = normal(count), RNG.integers(0, 4, count), RNG.integers(-8, 8, count)
    row_scale = (RNG.random((4, 1)) + 0.1).astype(np.float32)
    lut_rows = normal(2, 1, 4, 1)
    sparse, joint_lut, joint_scale = (np.zeros((4, 6), np.float32) for _ in range(3))
    for k, (i, j) in enumerate(np.argwhere(mask)):
        sparse[i, j] = kept[k]
        joint_lut[i, j] = lut_rows[i // 2, 0, kept_indices[k], 0]
        joint_scale[i, j] = kept_ints[k] * row_scale[i, 0]
    bits = typed(mask, "uint1")
    table8, inner = RNG.integers(-128, 128, (1, 1, 4, 1)).astype(np.int8), RNG.integers(0, 4, (4, 6))

    def product(weight: Any, v: Any) -> Any:
        return mb.linear(x=v, weight=weight)

    def sparse_palette(v: Any) -> Any:
        m, values = mb.constexpr_lut_to_sparse(indices_mask=bits, indices_nonzero_data=typed(kept_indices, "uint2"), lut=lut_rows)
        return product(mb.constexpr_sparse_to_dense(nonzero_data=values, mask=m), v)

    def sparse_integers(v: Any) -> Any:
        m, values = mb.constexpr_sparse_blockwise_shift_scale(data_mask=bits, nonzero_data=typed(kept_ints, "int4"), scale=row_scale)
        return product(mb.constexpr_sparse_to_dense(nonzero_data=values, mask=m), v)

    def palette_of_integers(v: Any) -> Any:
        return product(mb.constexpr_blockwise_shift_scale(data=mb.constexpr_lut_to_dense(indices=typed(inner, "uint2"), lut=table8), scale=row_scale), v)

    def lut(values: Array, name: str, table: Array, **more: Any) -> Any:
        return lambda v: product(mb.constexpr_lut_to_dense(indices=typed(values, name), lut=table, **more), v)

    def blocks(v: Any) -> Any:
        return product(mb.constexpr_blockwise_shift_scale(data=typed(data, "int4"), scale=block_scale, offset=typed(offset, "int4")), v)

    return [
        Case("palette in groups", [x], lut(indices, "uint2", groups), x @ grouped.T),
        Case("palette of vectors", [x12], lut(indices, "uint2", vectors, vector_axis=1), x12 @ in_vectors.T),
        Case("palette of vectors, first axis", [x], lut(indices, "uint2", vectors, vector_axis=0), x @ upright(indices, vectors).T),
        Case("palette of 3 bits", [x], lut(three, "uint3", lut3), x @ lut3[0, 0, three, 0].T),
        Case("palette of 6 bits", [x], lut(six, "uint6", lut6), x @ lut6[0, 0, six, 0].T),
        Case("palette of 1 bit", [x], lut(three % 2, "uint1", lut3[:, :, :2]), x @ lut3[0, 0, three % 2, 0].T),
        Case("blocks of int4 with offsets", [x], blocks, x @ blocked.T),
        Case("sparse", [x], lambda v: product(mb.constexpr_sparse_to_dense(nonzero_data=kept, mask=bits), v), x @ sparse.T),
        Case("sparse palette", [x], sparse_palette, x @ joint_lut.T),
        Case("sparse integers", [x], sparse_integers, x @ joint_scale.T),
        Case("palette of integers", [x], palette_of_integers, x @ (table8[0, 0, inner, 0].astype(np.float32) * row_scale).T),
    ]


def upright(indices: Array, vectors: Array) -> Array:
    """Vectors laid out along the first axis."""
    columns = [[value for index in column for value in vectors[0, 0, index]] for column in indices.T]
    return np.array(columns).T
