"""What MIL operations must give (runs in the `convert` toolchain): moving, choosing, resizing, states, compressed weights."""

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from mil_cases import RNG, Case, i64, normal, onnx

Array = Any


def shape() -> list[Case]:
    x, y, z = normal(2, 3, 4), normal(2, 3, 4), normal(1, 8, 2, 3)
    square = normal(2, 4, 4)
    index = RNG.integers(0, 4, (2, 3)).astype(np.int32)
    begin, end = [1, 0, 3], [2, 2, 0]
    interleaved = np.stack([x, y], 2).reshape(2, 6, 4)
    return [
        Case("reshape", [x], lambda v: mb.reshape(x=v, shape=[0, -1]), x.reshape(3, 8)),
        Case("flatten2d", [x], lambda v: mb.flatten2d(x=v, axis=2), x.reshape(6, 4)),
        Case("transpose", [x], lambda v: mb.transpose(x=v, perm=[2, 0, 1]), x.transpose(2, 0, 1)),
        Case("expand_dims", [x], lambda v: mb.expand_dims(x=v, axes=[0, 3]), x[None, :, :, None]),
        Case("squeeze", [z], lambda v: mb.squeeze(x=v, axes=[0]), z[0]),
        Case("concat", [x, y], lambda v, w: mb.concat(values=[v, w], axis=1), np.concatenate([x, y], 1)),
        Case("concat interleaved", [x, y], lambda v, w: mb.concat(values=[v, w], axis=1, interleave=True), interleaved),
        Case("stack", [x, y], lambda v, w: mb.stack(values=[v, w], axis=1), np.stack([x, y], 1)),
        Case("split in sizes", [x], lambda v: mb.split(x=v, split_sizes=[1, 3], axis=2)[1], x[..., 1:]),
        Case("split evenly", [x], lambda v: mb.split(x=v, num_splits=2, axis=2)[0], x[..., :2]),
        Case("slice_by_index", [x], lambda v: mb.slice_by_index(x=v, begin=begin, end=end, stride=[1, 1, -2]), x[1:2, 0:2, 3:0:-2]),
        Case(
            "slice_by_index masks",
            [x],
            lambda v: mb.slice_by_index(
                x=v,
                begin=[1, 1, 3],
                end=[0, 0, 0],
                stride=[1, 1, -1],
                begin_mask=[False, True, False],
                end_mask=[False, True, True],
                squeeze_mask=[True, False, False],
            ),
            x[1, :, 3::-1],
        ),
        Case("slice_by_size", [x], lambda v: mb.slice_by_size(x=v, begin=[0, 1, 1], size=[1, 2, -1]), x[:1, 1:3, 1:]),
        Case("pad constant", [x], lambda v: mb.pad(x=v, pad=[1, 0, 2, 1], constant_val=3.0), np.pad(x, [(0, 0), (1, 0), (2, 1)], constant_values=3)),
        Case("pad reflect", [x], lambda v: mb.pad(x=v, pad=[1, 2], mode="reflect"), onnx("Pad", x, i64(0, 0, 1, 0, 0, 2), mode="reflect")),
        Case("pad replicate", [x], lambda v: mb.pad(x=v, pad=[1, 2], mode="replicate"), onnx("Pad", x, i64(0, 0, 1, 0, 0, 2), mode="edge")),
        Case("band_part", [square], lambda v: mb.band_part(x=v, lower=1, upper=0), np.tril(np.triu(square, -1))),
        Case("depth_to_space", [z], lambda v: mb.depth_to_space(x=v, block_size=2), onnx("DepthToSpace", z, blocksize=2)),
        Case("space_to_depth", [square[None]], lambda v: mb.space_to_depth(x=v, block_size=2), onnx("SpaceToDepth", square[None], blocksize=2)),
        Case("pixel_shuffle", [z], lambda v: mb.pixel_shuffle(x=v, upscale_factor=2), onnx("DepthToSpace", z, blocksize=2, mode="CRD")),
        Case(
            "pixel_unshuffle",
            [onnx("DepthToSpace", z, blocksize=2, mode="CRD")],
            lambda v: mb.pixel_unshuffle(x=v, downscale_factor=np.uint32(2)),
            z,
        ),
        Case("one_hot", [index], lambda v: mb.one_hot(indices=v, one_hot_vector_size=4, axis=1), np.moveaxis(np.eye(4, dtype=np.int32)[index], -1, 1)),
        Case("tile", [x], lambda v: mb.tile(x=v, reps=[1, 2, 3]), np.tile(x, (1, 2, 3))),
        Case("reverse", [x], lambda v: mb.reverse(x=v, axes=[0, 2]), x[::-1, :, ::-1]),
        Case("shape", [x], lambda v: mb.shape(x=v), np.array([2, 3, 4], np.int32)),
        Case("fill", [x], lambda v: mb.add(x=mb.fill(shape=mb.shape(x=v), value=2.0), y=v), x + 2),
        Case("fill_like", [x], lambda v: mb.add(x=mb.fill_like(ref_tensor=v, value=2.0), y=v), x + 2),
        Case("range_1d", [np.array([5], np.int32)], lambda v: mb.range_1d(start=1, end=mb.squeeze(x=v), step=2), np.array([1, 3], np.int32)),
    ]


def gather() -> list[Case]:
    x, updates = normal(3, 4, 5), normal(3, 2, 5)
    some = np.array([[1, -1], [0, 2]], np.int32)
    along, places = RNG.integers(0, 4, (3, 2, 5)).astype(np.int32), np.array([[0, 1], [2, 3], [0, 1]], np.int32)
    rows, twice = normal(3, 5), np.array([1, 1], np.int32)
    batched = np.array([[[0], [3]], [[1], [1]], [[2], [0]]], np.int32)
    added = x.copy()
    np.add.at(added, (slice(None), twice), updates)
    return [
        Case("gather", [x, some], lambda v, i: mb.gather(x=v, indices=i, axis=1), onnx("Gather", x, some, axis=1)),
        Case(
            "gather batch_dims",
            [x, batched[..., 0]],
            lambda v, i: mb.gather(x=v, indices=i, axis=1, batch_dims=1),
            onnx("GatherND", x, batched.astype(np.int64), batch_dims=1),
        ),
        Case("gather_along_axis", [x, along], lambda v, i: mb.gather_along_axis(x=v, indices=i, axis=1), onnx("GatherElements", x, along, axis=1)),
        Case("gather_nd", [x, places], lambda v, i: mb.gather_nd(x=v, indices=i), onnx("GatherND", x, places.astype(np.int64))),
        Case(
            "gather_nd batch_dims",
            [x, batched],
            lambda v, i: mb.gather_nd(x=v, indices=i, batch_dims=1),
            onnx("GatherND", x, batched.astype(np.int64), batch_dims=1),
        ),
        Case("scatter add", [x, updates], lambda v, u: mb.scatter(data=v, indices=twice, updates=u, axis=1, mode="add"), added),
        Case(
            "scatter_along_axis",
            [x, along[:, :1], updates[:, :1]],
            lambda v, i, u: mb.scatter_along_axis(data=v, indices=i, updates=u, axis=1, mode="update"),
            onnx("ScatterElements", x, along[:, :1], updates[:, :1], axis=1),
        ),
        Case(
            "scatter_nd",
            [x, places, rows],
            lambda v, i, u: mb.scatter_nd(data=v, indices=i, updates=u, mode="mul"),
            onnx("ScatterND", x, places.astype(np.int64), rows, reduction="mul"),
        ),
    ]


def resized(x: Array, mode: str, coordinates: str, *, scales: Any = None, sizes: Any = None) -> Array:
    """ONNX's Resize of the last two axes."""
    scales = None if scales is None else np.array([1, 1, *scales], np.float32)
    sizes = None if sizes is None else i64(*x.shape[:2], *sizes)
    return onnx("Resize", x, None, scales, sizes, mode=mode, coordinate_transformation_mode=coordinates, nearest_mode="floor", opset=18)


def resize() -> list[Case]:
    x = normal(1, 2, 4, 5)
    grid = (RNG.random((1, 3, 3, 2)) * 2.4 - 1.2).astype(np.float32)
    target = {"target_size_height": 7, "target_size_width": 3}
    by = {"scale_factor_height": 2.0, "scale_factor_width": 3.0}
    sampling = {"STRICT_ALIGN_CORNERS": "align_corners", "DEFAULT": "asymmetric", "UNALIGN_CORNERS": "half_pixel"}
    resample = {"sampling_mode": "bilinear", "padding_value": 0.0, "coordinates_mode": "normalized_minus_one_to_one"}
    cases = [
        Case(f"resize_bilinear {m}", [x], lambda v, m=m: mb.resize_bilinear(x=v, sampling_mode=m, **target), resized(x, "linear", c, sizes=(7, 3)))
        for m, c in sampling.items()
    ]
    return [
        *cases,
        Case(
            "resize linear",
            [x],
            lambda v: mb.resize(x=v, shape=[7, 3], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"),
            resized(x, "linear", "half_pixel", sizes=(7, 3)),
        ),
        Case("resize_nearest_neighbor", [x], lambda v: mb.resize_nearest_neighbor(x=v, **target), resized(x, "nearest", "asymmetric", sizes=(7, 3))),
        Case("upsample_nearest_neighbor", [x], lambda v: mb.upsample_nearest_neighbor(x=v, **by), resized(x, "nearest", "asymmetric", scales=(2, 3))),
        Case("upsample_bilinear", [x], lambda v: mb.upsample_bilinear(x=v, align_corners=False, **by), resized(x, "linear", "half_pixel", scales=(2, 3))),
        Case(
            "upsample_bilinear align_corners",
            [x],
            lambda v: mb.upsample_bilinear(x=v, align_corners=True, **by),
            resized(x, "linear", "align_corners", scales=(2, 3)),
        ),
        Case("crop", [x], lambda v: mb.crop(x=v, crop_height=[1, 1], crop_width=[0, 2]), x[:, :, 1:3, :3]),
        Case(
            "resample",
            [x, grid],
            lambda v, g: mb.resample(x=v, coordinates=g, padding_mode="border", align_corners=True, **resample),
            onnx("GridSample", x, grid, mode="linear", padding_mode="border", align_corners=1),
        ),
    ]


def blocks(a: Array, order: list[int]) -> Array:
    """The stacked gates of a weight or bias, in another order."""
    return np.concatenate([np.split(a, len(order), axis=0)[i] for i in order])


def recurrent() -> list[Case]:
    s, b, i, h = 5, 2, 3, 4
    x, h0, c0 = normal(s, b, i), normal(2, b, h), normal(2, b, h)
    w, r, bias = normal(2, 4 * h, i), normal(2, 4 * h, h), normal(2, 8 * h)
    order = [0, 2, 1, 3]  # ONNX stacks input, output, forget, cell; MIL input, forget, output, cell
    ih, hh = [blocks(a, order) for a in w], [blocks(a, order) for a in r]
    both = [blocks(a[: 4 * h] + a[4 * h :], order) for a in bias]
    y, yh, yc = onnx("LSTM", x, w, r, bias, None, h0, c0, hidden_size=h, direction="bidirectional", outputs=3)
    one, _, _ = onnx("LSTM", x, w[:1], r[:1], bias[:1], None, h0[:1], c0[:1], hidden_size=h, outputs=3)

    def bidirectional(v: Any, initial_h: Any, initial_c: Any) -> Any:
        forward = {"weight_ih": ih[0], "weight_hh": hh[0], "bias": both[0]}
        back = {"weight_ih_back": ih[1], "weight_hh_back": hh[1], "bias_back": both[1]}
        return mb.lstm(x=v, initial_h=initial_h, initial_c=initial_c, **forward, **back, direction="bidirectional", output_sequence=True)

    states = [np.concatenate([a[0], a[1]], -1) for a in (h0, c0)]
    # ONNX's GRU stacks update, reset, hidden; MIL's reset, output, update.
    gw, gr, gb = normal(1, 3 * h, i), normal(1, 3 * h, h), normal(1, 6 * h)
    gb[:, 3 * h :] = 0
    gy, _ = onnx("GRU", x, gw, gr, gb, None, h0[:1], hidden_size=h, linear_before_reset=1, outputs=2)
    gru = {"weight_ih": blocks(gw[0], [1, 2, 0]), "weight_hh": blocks(gr[0], [1, 2, 0]), "bias": blocks(gb[0, : 3 * h], [1, 2, 0])}
    ry, _ = onnx("RNN", x, gw[:, :h], gr[:, :h], None, None, h0[:1], hidden_size=h, outputs=2)
    single = {"weight_ih": ih[0], "weight_hh": hh[0], "bias": both[0]}
    return [
        Case("lstm", [x, h0[0], c0[0]], lambda v, m, n: mb.lstm(x=v, initial_h=m, initial_c=n, **single, output_sequence=True)[0], one[:, 0]),
        Case(
            "lstm reversed",
            [x[::-1].copy(), h0[0], c0[0]],
            lambda v, m, n: mb.lstm(x=v, initial_h=m, initial_c=n, **single, direction="reverse")[0],
            one[-1:, 0],
        ),
        Case("lstm both ways", [x, *states], lambda *v: bidirectional(*v)[0], np.concatenate([y[:, 0], y[:, 1]], -1)),
        Case("lstm both ways, state", [x, *states], lambda *v: bidirectional(*v)[1], np.concatenate([yh[0], yh[1]], -1)),
        Case("lstm both ways, cell", [x, *states], lambda *v: bidirectional(*v)[2], np.concatenate([yc[0], yc[1]], -1)),
        Case("gru", [x, h0[0]], lambda v, m: mb.gru(x=v, initial_h=m, **gru, output_sequence=True)[0], gy[:, 0]),
        Case("rnn", [x, h0[0]], lambda v, m: mb.rnn(x=v, initial_h=m, weight_ih=gw[0, :h], weight_hh=gr[0, :h], output_sequence=True)[0], ry[:, 0]),
    ]


def constexpr() -> list[Case]:
    q = RNG.integers(-127, 127, (4, 6)).astype(np.int8)
    scale, zero = (RNG.random(4) + 0.1).astype(np.float32), RNG.integers(-5, 5, 4).astype(np.int8)
    x, lut, indices = normal(2, 6), normal(4), RNG.integers(0, 4, 24)
    mask = np.arange(24) % 3 == 0
    sparse = np.zeros(24, np.float32)
    sparse[mask] = lut[indices[mask]]
    packed = np.packbits(np.unpackbits(indices.astype(np.uint8)[:, None], axis=1, bitorder="little")[:, :2].reshape(-1), bitorder="little")
    whole = np.array([4, 6], np.uint32)

    def product(weight: Any, v: Any) -> Any:
        return mb.linear(x=v, weight=weight)

    return [
        Case(
            "constexpr_affine_dequantize",
            [x],
            lambda v: product(mb.constexpr_affine_dequantize(quantized_data=q, zero_point=zero, scale=scale, axis=0), v),
            x @ ((q.astype(np.float32) - zero[:, None]) * scale[:, None]).T,
        ),
        Case(
            "constexpr_lut_to_dense",
            [x],
            lambda v: product(mb.constexpr_lut_to_dense(indices=packed, lut=lut, shape=whole), v),
            x @ lut[indices].reshape(4, 6).T,
        ),
        Case(
            "constexpr_sparse_to_dense",
            [x],
            lambda v: product(mb.constexpr_sparse_to_dense(nonzero_data=sparse[mask], mask=np.packbits(mask, bitorder="little"), shape=whole), v),
            x @ sparse.reshape(4, 6).T,
        ),
        Case(
            "constexpr_cast",
            [x],
            lambda v: product(mb.constexpr_cast(source_val=q.astype(np.float16), output_dtype="fp32"), v),
            x @ q.astype(np.float32).T,
        ),
    ]


def quantization() -> list[Case]:
    x, scale = normal(3, 4), np.float32(0.01)
    q = np.clip(np.round(x / scale) + 3, -128, 127)

    def there_and_back(v: Any) -> Any:
        return mb.dequantize(input=mb.quantize(input=v, scale=scale, zero_point=np.int8(3), output_dtype="int8"), scale=scale, zero_point=np.int8(3))

    return [Case("quantize and dequantize", [x], there_and_back, (q - 3) * scale)]


def ios18() -> list[Case]:
    """Operations that need iOS 18: attention, slice_update, a resetting GRU, block-wise scales."""
    query, key, value, mask = normal(1, 2, 3, 4), normal(1, 2, 5, 4), normal(1, 2, 5, 6), normal(3, 5)
    x, update = normal(2, 3, 4), normal(2, 2, 2)
    updated = x.copy()
    updated[:, 1:3, ::2] = update
    scores = onnx("Softmax", query @ key.swapaxes(2, 3) / np.float32(2) + mask)
    data, scale = RNG.integers(-127, 127, (4, 6)).astype(np.int8), (RNG.random((4, 2)) + 0.1).astype(np.float32)
    v2 = normal(2, 6)
    return [
        Case(
            "scaled_dot_product_attention",
            [query, key, value, mask],
            lambda q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
            scores @ value,
        ),
        Case(
            "slice_update",
            [x, update],
            lambda v, u: mb.slice_update(x=v, update=u, begin=[0, 1, 0], end=[2, 3, 4], stride=[1, 1, 2]),
            updated,
        ),
        Case(
            "constexpr_blockwise_shift_scale",
            [v2],
            lambda v: mb.linear(x=v, weight=mb.constexpr_blockwise_shift_scale(data=data, scale=scale)),
            v2 @ (data.astype(np.float32) * np.repeat(scale, 3, axis=1)).T,
        ),
    ]
