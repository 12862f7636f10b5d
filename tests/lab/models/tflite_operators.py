"""TFLite files of TensorFlow's own converter, each with a few operators that a reader has to get right, or to refuse.

<tensorflow toolchain's python> tflite_operators.py DIR → DIR/NAME.tflite
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(0)
X, IMAGE, ROW, WHOLE, YES = ((1, 4, 6), tf.float32), ((1, 7, 6, 4), tf.float32), ((1, 6), tf.float32), ((1, 6), tf.int32), ((1, 6), tf.bool)


def w(*shape: int) -> Any:
    return tf.constant(RNG.normal(size=shape).astype(np.float32))


def prelu(x: Any, slope: Any) -> Any:
    """In the words that TensorFlow's converter takes for PRELU."""
    return tf.nn.relu(x) + (-slope) * tf.nn.relu(-x)


CASES: dict[str, tuple[Callable[..., Any], list[tuple[tuple[int, ...], Any]]]] = {
    "conv_same": (lambda x: tf.nn.relu6(tf.nn.conv2d(x, w(3, 3, 4, 5), 2, "SAME") + w(5)), [IMAGE]),
    "conv_dilated": (lambda x: tf.nn.conv2d(x, w(3, 3, 4, 5), 1, "SAME", dilations=2), [IMAGE]),
    "depthwise": (lambda x: tf.nn.depthwise_conv2d(x, w(3, 2, 4, 2), [1, 2, 2, 1], "SAME"), [IMAGE]),
    "transpose_conv": (lambda x: tf.nn.conv2d_transpose(x, w(3, 3, 5, 4), (1, 14, 12, 5), 2, "SAME"), [IMAGE]),
    "transpose_conv_valid": (lambda x: tf.nn.conv2d_transpose(x, w(3, 2, 5, 4), (1, 15, 12, 5), 2, "VALID"), [IMAGE]),
    "pools": (lambda x: (tf.nn.avg_pool2d(x, 3, 2, "SAME"), tf.nn.max_pool2d(x, (2, 3), 2, "SAME")), [IMAGE]),
    "dense": (lambda x: tf.nn.tanh(tf.matmul(x, w(6, 5)) + w(5)), [ROW]),
    "dense_of_rank_3": (lambda x: tf.nn.relu(tf.tensordot(x, w(6, 5), 1) + w(5)), [X]),
    "batch_matmul": (lambda a, b: tf.matmul(a, b, transpose_b=True), [X, X]),
    "arithmetic": (lambda a, b: (a + b, a - b, a * b, a / (b * b + 1), tf.maximum(a, b), tf.minimum(a, b), tf.math.squared_difference(a, b)), [X, X]),
    "broadcast": (lambda x, row: (tf.nn.conv2d(x, w(1, 1, 4, 6), 1, "SAME") * row + w(1, 7, 1, 6)), [IMAGE, ROW]),
    "integers": (lambda a, b: (a // (b + 10), a % (b + 10), a * b), [WHOLE, WHOLE]),
    "floor_mod": (lambda a, b: (a % (b * b + 0.5), a // (b * b + 0.5)), [ROW, ROW]),
    "one_input": (lambda x: (tf.abs(x), -x, tf.exp(x), tf.math.log(x * x + 1), tf.sqrt(x * x), tf.math.rsqrt(x * x + 1), tf.square(x)), [X]),
    "waves": (lambda x: (tf.sin(x), tf.cos(x)), [X]),
    "rounds": (lambda x: (tf.floor(x), tf.math.ceil(x), tf.round(x * 3), tf.sign(x)), [X]),
    "activations": (lambda x: (tf.nn.relu(x), tf.nn.relu6(x * 4), tf.nn.leaky_relu(x, 0.3), tf.nn.elu(x), tf.sigmoid(x), tf.nn.silu(x), tf.nn.gelu(x)), [X]),
    "hard_swish": (lambda x: x * tf.nn.relu6(x + 3) / 6, [IMAGE]),
    "prelu": (lambda x: prelu(tf.nn.conv2d(x, w(3, 3, 4, 4), 1, "SAME"), w(1, 1, 4)), [IMAGE]),
    "softmax": (lambda x: (tf.nn.softmax(x), tf.nn.log_softmax(x)), [X]),
    "l2": (lambda x: tf.math.l2_normalize(x, -1), [X]),
    "lrn": (lambda x: tf.nn.local_response_normalization(x, 1, 1.0, 0.1, 0.5), [IMAGE]),
    "compare": (lambda a, b: (a > b, a >= b, a < b, a <= b, tf.logical_and(a > 0, b > 0), tf.logical_not(a > b), tf.logical_or(a > 0, b > 0)), [ROW, ROW]),
    "equal": (lambda a, b: (a == b, a != b), [WHOLE, WHOLE]),
    "select": (lambda c, a, b: tf.where(c, a, b), [YES, ROW, ROW]),
    "cast": (lambda x: (tf.cast(x * 5, tf.int32), tf.cast(x > 0, tf.float32)), [X]),
    "shapes": (lambda x: (tf.reshape(x, (2, 12)), tf.squeeze(x, 0), x[:, None], tf.transpose(x, (2, 0, 1))), [X]),
    "concat": (lambda x: tf.concat([tf.nn.conv2d(x, w(1, 1, 4, 3), 1, "SAME"), tf.nn.conv2d(x, w(1, 1, 4, 2), 1, "SAME")], 3), [IMAGE]),
    "pack": (lambda a, b: (tf.stack([a, b], 1), tf.unstack(a, axis=1)[2], tf.split(b, 3, -1)[1], tf.split(b, [1, 3, 2], -1)[1]), [X, X]),
    "slices": (lambda x: (x[:, 1:3], x[:, ::2, -2:], x[0, 1], x[..., ::-1], x[:, -1:, None, 3]), [X]),
    "tile": (lambda x: (tf.tile(x, (1, 2, 3)), tf.broadcast_to(x, (3, 4, 6))), [X]),
    "pad": (lambda x: (tf.pad(x, ((0, 0), (1, 2), (0, 1))), tf.pad(x, ((0, 0), (1, 0), (0, 0)), constant_values=7.0)), [X]),
    "pad_image": (lambda x: tf.nn.relu(tf.pad(tf.nn.conv2d(x, w(1, 1, 4, 4), 1, "SAME"), ((0, 0), (1, 0), (2, 1), (0, 3))) + 1), [IMAGE]),
    "mirror": (lambda x: (tf.pad(x, ((0, 0), (2, 1), (0, 3)), "REFLECT"), tf.pad(x, ((0, 0), (2, 1), (0, 3)), "SYMMETRIC")), [X]),
    "reverse": (lambda x: (tf.reverse(x, [1]), tf.reverse_sequence(x, [3], 1, 0)), [X]),
    "depth": (lambda x: (tf.nn.space_to_depth(x[:, :6], 2), tf.nn.depth_to_space(x, 2)), [IMAGE]),
    "batch_space": (lambda x: tf.batch_to_space(tf.space_to_batch(x, (2, 3), ((1, 0), (0, 0))), (2, 3), ((1, 0), (0, 0))), [IMAGE]),
    "gather": (lambda x: (tf.gather(x, [3, 0, 3], axis=1), tf.gather_nd(x, [[0, 1], [0, 3]])), [X]),
    "scatter": (lambda x: tf.scatter_nd([[2], [0], [2]], x[0, :3], (5, 6)), [X]),
    "one_hot": (lambda i: tf.one_hot(i % 6, 6, 2.0, -1.0), [WHOLE]),
    "reduce": (lambda x: (tf.reduce_mean(x, 1), tf.reduce_sum(x, -1, True), tf.reduce_max(x, (1, 2)), tf.reduce_min(x, 2), tf.reduce_prod(x, 1)), [X]),
    "mean_of_pixels": (lambda x: tf.reduce_mean(tf.nn.conv2d(x, w(1, 1, 4, 3), 1, "SAME"), (1, 2), True) * 2, [IMAGE]),
    "any_all": (lambda x: (tf.reduce_any(x, 1), tf.reduce_all(x, 1)), [YES]),
    "arg": (lambda x: (tf.argmax(x, 1), tf.argmin(x, 2, tf.int32)), [X]),
    "top_k": (lambda x: tf.math.top_k(x, 3), [X]),
    "cumsum": (lambda x: (tf.cumsum(x, 1), tf.cumsum(x, 2, exclusive=True, reverse=True)), [X]),
    "bilinear": (lambda x: (tf.image.resize(x, (11, 9)), tf.compat.v1.image.resize_bilinear(x, (9, 11), align_corners=True)), [IMAGE]),
    "nearest": (lambda x: (tf.image.resize(x, (10, 15), "nearest"), tf.compat.v1.image.resize_nearest_neighbor(x, (9, 11), align_corners=True)), [IMAGE]),
    "nearest_floor": (lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (10, 15)), [IMAGE]),
}  # fmt: skip


def concrete(function: Callable[..., Any], inputs: list[tuple[tuple[int, ...], Any]]) -> Any:
    signature = [tf.TensorSpec(shape, dtype, f"in{index}") for index, (shape, dtype) in enumerate(inputs)]
    return tf.function(function, input_signature=signature).get_concrete_function()


def converter(made: Any) -> Any:
    return tf.lite.TFLiteConverter.from_concrete_functions([made], tf.Module())


if __name__ == "__main__":
    out = Path(sys.argv[1])
    for name, (function, inputs) in CASES.items():
        (out / f"{name}.tflite").write_bytes(converter(concrete(function, inputs)).convert())
    dense = concrete(lambda x: tf.matmul(x, w(6, 40)), [ROW])
    half = converter(dense)
    half.optimizations, half.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
    (out / "half.tflite").write_bytes(half.convert())
    dynamic = converter(concrete(lambda x: tf.matmul(x, w(6, 400)), [ROW]))
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    (out / "refused_dynamic.tflite").write_bytes(dynamic.convert())
    integer = converter(dense)
    integer.optimizations = [tf.lite.Optimize.DEFAULT]
    integer.representative_dataset = lambda: ([RNG.normal(size=(1, 6)).astype(np.float32)] for _ in range(4))
    (out / "refused_integer.tflite").write_bytes(integer.convert())
    custom = converter(concrete(lambda x: tf.math.betainc(x * x, x * x + 1, 0.5 * tf.ones_like(x)), [ROW]))
    custom.allow_custom_ops = True
    (out / "refused_custom.tflite").write_bytes(custom.convert())
    loop = converter(concrete(lambda x, n: tf.while_loop(lambda i, v: i < tf.reduce_max(n), lambda i, v: (i + 1, tf.sin(v)), (0, x))[1], [ROW, WHOLE]))
    (out / "refused_while.tflite").write_bytes(loop.convert())
