"""What MIL operations must give (runs in the `convert` toolchain): arithmetic, against ONNX Runtime or a formula."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from coremltools.converters.mil import Builder as mb
from onnx import helper

Array = Any
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """Inputs, how to build the operation on them, and what it must give."""

    name: str
    inputs: list[Array]
    build: Callable[..., Any]
    expected: Array


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return (RNG.random(shape) + 0.1).astype(np.float32)


def onnx(op_type: str, *inputs: Array, opset: int = 20, outputs: int = 1, **attributes: Any) -> Any:
    """What ONNX Runtime gives for one operator."""
    names, results = [f"i{n}" for n in range(len(inputs))], [f"o{n}" for n in range(outputs)]
    node = helper.make_node(op_type, [n if a is not None else "" for n, a in zip(names, inputs, strict=True)], results, **attributes)
    given = {n: a for n, a in zip(names, inputs, strict=True) if a is not None}
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()]
    graph = helper.make_graph([node], "g", infos, [helper.make_empty_tensor_value_info(r) for r in results])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    answers = ort.InferenceSession(model.SerializeToString()).run(None, given)
    return answers[0] if outputs == 1 else answers


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def elementwise() -> list[Case]:
    x, y, p = normal(2, 3, 2, 2), normal(3, 1, 1), positive(2, 3, 2, 2)
    unit = (0.9 * np.tanh(x)).astype(np.float32)
    i, j = RNG.integers(-9, 9, (2, 3)).astype(np.int32), RNG.integers(1, 5, (2, 3)).astype(np.int32)
    a, b = normal(4) > 0, normal(4) > 0
    alpha = positive(3)
    along = alpha.reshape(3, 1, 1)
    plain = {"abs": "Abs", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor", "relu": "Relu"}
    plain |= {"round": "Round", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "softplus": "Softplus", "softsign": "Softsign"}
    plain |= {"tan": "Tan", "tanh": "Tanh", "identity": "Identity"}
    cases = [Case(m, [x], lambda v, m=m: getattr(mb, m)(x=v), onnx(o, x)) for m, o in plain.items()]
    bounded = {"acos": "Acos", "asin": "Asin", "atan": "Atan", "atanh": "Atanh"}
    cases += [Case(m, [unit], lambda v, m=m: getattr(mb, m)(x=v), onnx(o, unit)) for m, o in bounded.items()]
    two = {"add": "Add", "sub": "Sub", "mul": "Mul", "real_div": "Div", "maximum": "Max", "minimum": "Min", "greater": "Greater", "less": "Less"}
    two |= {"greater_equal": "GreaterOrEqual", "less_equal": "LessOrEqual"}
    cases += [Case(m, [x, y], lambda v, w, m=m: getattr(mb, m)(x=v, y=w), onnx(o, x, y)) for m, o in two.items()]
    logic = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
    cases += [Case(m, [a, b], lambda v, w, m=m: getattr(mb, m)(x=v, y=w), onnx(o, a, b)) for m, o in logic.items()]
    return [
        *cases,
        Case("logical_not", [a], lambda v: mb.logical_not(x=v), ~a),
        Case("equal", [i, j], lambda v, w: mb.equal(x=v, y=w), i == j),
        Case("not_equal", [i, j], lambda v, w: mb.not_equal(x=v, y=w), i != j),
        Case("mod of negatives", [i, j], lambda v, w: mb.mod(x=v, y=w), onnx("Mod", i, j)),
        Case("floor_div", [i, j], lambda v, w: mb.floor_div(x=v, y=w), np.floor(i / j).astype(np.int32)),
        Case("real_div of integers", [i, j], lambda v, w: mb.real_div(x=v, y=w), onnx("Div", i, j)),
        Case("pow", [p, x], lambda v, w: mb.pow(x=v, y=w), onnx("Pow", p, x)),
        Case("exp2", [x], lambda v: mb.exp2(x=v), 2.0**x),
        Case("square", [x], lambda v: mb.square(x=v), x * x),
        Case("sqrt", [p], lambda v: mb.sqrt(x=v), onnx("Sqrt", p)),
        Case("log", [p], lambda v: mb.log(x=v), onnx("Log", p)),
        Case("rsqrt", [p], lambda v: mb.rsqrt(x=v), p**-0.5),
        Case("inverse adds 1e-4", [p], lambda v: mb.inverse(x=v), 1 / (p + 1e-4)),
        Case("silu", [x], lambda v: mb.silu(x=v), x * onnx("Sigmoid", x)),
        Case("relu6", [4 * x], lambda v: mb.relu6(x=v), np.clip(4 * x, 0, 6)),
        Case("clip", [x], lambda v: mb.clip(x=v, alpha=-0.5, beta=0.7), np.clip(x, -0.5, 0.7)),
        Case("elu", [x], lambda v: mb.elu(x=v, alpha=1.3), onnx("Elu", x, alpha=1.3)),
        Case("gelu exact", [x], lambda v: mb.gelu(x=v, mode="EXACT"), onnx("Gelu", x)),
        Case("gelu tanh", [x], lambda v: mb.gelu(x=v, mode="TANH_APPROXIMATION"), onnx("Gelu", x, approximate="tanh")),
        Case("gelu sigmoid", [x], lambda v: mb.gelu(x=v, mode="SIGMOID_APPROXIMATION"), x * onnx("Sigmoid", np.float32(1.702) * x)),
        Case("leaky_relu", [x], lambda v: mb.leaky_relu(x=v, alpha=0.2), onnx("LeakyRelu", x, alpha=0.2)),
        Case("prelu", [x], lambda v: mb.prelu(x=v, alpha=alpha), onnx("PRelu", x, along)),
        Case("sigmoid_hard", [x], lambda v: mb.sigmoid_hard(x=v, alpha=0.3, beta=0.4), onnx("HardSigmoid", x, alpha=0.3, beta=0.4)),
        Case("clamped_relu", [x], lambda v: mb.clamped_relu(x=v, alpha=0.2, beta=0.9), np.minimum(np.where(x >= 0, x, 0.2 * x), 0.9)),
        Case("linear_activation", [x], lambda v: mb.linear_activation(x=v, alpha=2.0, beta=1.0), 2 * x + 1),
        Case("scaled_tanh", [x], lambda v: mb.scaled_tanh(x=v, alpha=2.0, beta=0.5), 2 * np.tanh(0.5 * x)),
        Case("softplus_parametric", [x], lambda v: mb.softplus_parametric(x=v, alpha=alpha, beta=alpha), along * np.log1p(np.exp(along * x))),
        Case("threshold", [x], lambda v: mb.threshold(x=v, alpha=0.3), np.maximum(x, 0.3)),
        Case("thresholded_relu", [x], lambda v: mb.thresholded_relu(x=v, alpha=0.3), onnx("ThresholdedRelu", x, alpha=0.3)),
        Case("select", [x, p], lambda v, w: mb.select(cond=mb.greater(x=v, y=np.float32(0)), a=v, b=w), np.where(x > 0, x, p)),
        Case("cast to int32 truncates", [3 * x], lambda v: mb.cast(x=v, dtype="int32"), onnx("Cast", 3 * x, to=6)),
    ]


def conv() -> list[Case]:
    x, x1, w, w1 = normal(1, 4, 9, 8), normal(1, 4, 11), normal(6, 4, 3, 2), normal(6, 4, 3)
    depthwise, bias, wt = normal(4, 1, 3, 3), normal(6), normal(4, 3, 3, 2)
    m, n, k = normal(2, 3, 4), normal(2, 5, 4), normal(4, 3, 6)
    attributes = {"strides": [2, 1], "dilations": [1, 2]}
    stride2 = {"strides": [2, 2]}
    return [
        Case("conv valid", [x], lambda v: mb.conv(x=v, weight=w, bias=bias, pad_type="valid", **attributes), onnx("Conv", x, w, bias, **attributes)),
        Case("conv custom", [x], lambda v: mb.conv(x=v, weight=w, pad_type="custom", pad=[1, 0, 2, 1]), onnx("Conv", x, w, pads=[1, 2, 0, 1])),
        Case("conv same", [x], lambda v: mb.conv(x=v, weight=w, pad_type="same", **stride2), onnx("Conv", x, w, auto_pad="SAME_UPPER", **stride2)),
        Case("conv same_lower", [x], lambda v: mb.conv(x=v, weight=w, pad_type="same_lower", **stride2), onnx("Conv", x, w, auto_pad="SAME_LOWER", **stride2)),
        Case("conv depthwise", [x], lambda v: mb.conv(x=v, weight=depthwise, groups=4, pad_type="valid"), onnx("Conv", x, depthwise, group=4)),
        Case("conv 1-D", [x1], lambda v: mb.conv(x=v, weight=w1, pad_type="valid"), onnx("Conv", x1, w1)),
        Case("conv_transpose valid", [x], lambda v: mb.conv_transpose(x=v, weight=wt, **stride2), onnx("ConvTranspose", x, wt, **stride2)),
        Case(
            "conv_transpose custom, groups, bias",
            [x],
            lambda v: mb.conv_transpose(x=v, weight=wt, bias=bias, groups=2, pad_type="custom", pad=[1, 0, 1, 1], strides=[2, 2]),
            onnx("ConvTranspose", x, wt, bias, group=2, pads=[1, 1, 0, 1], strides=[2, 2]),
        ),
        Case(
            "conv_transpose output_shape",
            [x],
            lambda v: mb.conv_transpose(x=v, weight=wt, pad_type="custom", pad=[1, 1, 1, 1], strides=[2, 2], output_shape=[1, 3, 18, 15]),
            onnx("ConvTranspose", x, wt, pads=[1, 1, 1, 1], output_padding=[1, 1], strides=[2, 2]),
        ),
        Case(
            "conv_transpose same",
            [x],
            lambda v: mb.conv_transpose(x=v, weight=wt, pad_type="same", strides=[2, 2]),
            onnx("ConvTranspose", x, wt, auto_pad="SAME_UPPER", strides=[2, 2]),
        ),
        Case("linear", [m], lambda v: mb.linear(x=v, weight=w1[:, :, 0], bias=bias), m @ w1[:, :, 0].T + bias),
        Case("matmul transposed", [m, n], lambda v, u: mb.matmul(x=v, y=u, transpose_y=True), onnx("MatMul", m, n.swapaxes(1, 2))),
        Case("einsum", [m, k], lambda v, u: mb.einsum(values=(v, u), equation="chw,whr->chr"), np.einsum("chw,whr->chr", m, k)),
    ]


def pool() -> list[Case]:
    x, x1 = normal(1, 3, 9, 8), normal(1, 3, 10)
    size = {"kernel_sizes": [3, 2], "strides": [2, 2]}
    same = {"kernel_shape": [3, 2], "strides": [2, 2]}
    padded = {**size, "pad_type": "custom", "pad": [1, 1, 1, 1]}
    onnx_padded = {**same, "pads": [1, 1, 1, 1]}
    # torch's count of a window: the padding counts, what ceil_mode adds does not. One axis by hand: x1 padded by 1, kernel 3, stride 2.
    ends = np.pad(x1, [(0, 0), (0, 0), (1, 1)])
    ceil = np.stack([ends[..., i : i + 3].mean(-1) for i in range(0, 9, 2)] + [ends[..., 10:12].sum(-1) / 2], -1)
    return [
        Case("max_pool valid", [x], lambda v: mb.max_pool(x=v, pad_type="valid", **size), onnx("MaxPool", x, **same)),
        Case("max_pool same", [x], lambda v: mb.max_pool(x=v, pad_type="same", **size), onnx("MaxPool", x, auto_pad="SAME_UPPER", **same)),
        Case("max_pool custom", [x], lambda v: mb.max_pool(x=v, **padded), onnx("MaxPool", x, **onnx_padded)),
        Case("max_pool ceil", [x], lambda v: mb.max_pool(x=v, ceil_mode=True, **padded), onnx("MaxPool", x, ceil_mode=1, **onnx_padded)),
        Case("avg_pool valid", [x], lambda v: mb.avg_pool(x=v, pad_type="valid", **size), onnx("AveragePool", x, **same)),
        Case(
            "avg_pool without padding",
            [x],
            lambda v: mb.avg_pool(x=v, exclude_padding_from_average=True, **padded),
            onnx("AveragePool", x, count_include_pad=0, **onnx_padded),
        ),
        Case(
            "avg_pool with padding",
            [x],
            lambda v: mb.avg_pool(x=v, exclude_padding_from_average=False, **padded),
            onnx("AveragePool", x, count_include_pad=1, **onnx_padded),
        ),
        Case(
            "avg_pool ceil",
            [x1],
            lambda v: mb.avg_pool(x=v, kernel_sizes=[3], strides=[2], pad_type="custom", pad=[1, 1], ceil_mode=True),
            ceil,
        ),
        Case("l2_pool", [x], lambda v: mb.l2_pool(x=v, pad_type="valid", **size), onnx("LpPool", x, p=2, **same)),
    ]


def normalization() -> list[Case]:
    x, gamma, beta, mean, variance, wide = normal(2, 3, 4, 5), normal(3), normal(3), normal(3), positive(3), normal(4, 5)
    last = positive(5)
    return [
        Case(
            "batch_norm",
            [x],
            lambda v: mb.batch_norm(x=v, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=1e-3),
            onnx("BatchNormalization", x, gamma, beta, mean, variance, epsilon=1e-3),
        ),
        Case(
            "instance_norm",
            [x],
            lambda v: mb.instance_norm(x=v, gamma=gamma, beta=beta, epsilon=1e-3),
            onnx("InstanceNormalization", x, gamma, beta, epsilon=1e-3),
        ),
        Case("layer_norm last axis", [x], lambda v: mb.layer_norm(x=v, axes=[-1], gamma=last), onnx("LayerNormalization", x, last, axis=-1)),
        Case("layer_norm two axes", [x], lambda v: mb.layer_norm(x=v, axes=[2, 3], gamma=wide, beta=wide), onnx("LayerNormalization", x, wide, wide, axis=2)),
        Case("l2_norm", [x], lambda v: mb.l2_norm(x=v, epsilon=1e-6), x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-6)),
        Case(
            "local_response_norm",
            [x],
            lambda v: mb.local_response_norm(x=v, size=3, alpha=0.5, beta=0.6, k=1.5),
            onnx("LRN", x, size=3, alpha=0.5, beta=0.6, bias=1.5),
        ),
    ]


def reduce() -> list[Case]:
    x, p = normal(2, 3, 4), positive(2, 3, 4)
    ties = np.array([[1, 5, 5, 0], [2, 2, 0, 1]], np.float32)
    names = {"l1_norm": "L1", "l2_norm": "L2", "log_sum_exp": "LogSumExp", "max": "Max", "mean": "Mean", "min": "Min", "prod": "Prod", "sum": "Sum"}
    names["sum_square"] = "SumSquare"
    cases = [
        Case(f"reduce_{m}", [x], lambda v, m=m: getattr(mb, f"reduce_{m}")(x=v, axes=[0, 2], keep_dims=False), onnx(f"Reduce{o}", x, i64(0, 2), keepdims=0))
        for m, o in names.items()
    ]
    return [
        *cases,
        Case("reduce_log_sum", [p], lambda v: mb.reduce_log_sum(x=v, axes=[1], keep_dims=True), onnx("ReduceLogSum", p, i64(1))),
        Case("reduce_argmax", [ties], lambda v: mb.reduce_argmax(x=v, axis=1), onnx("ArgMax", ties, axis=1, keepdims=0)),
        Case("reduce_argmin", [ties], lambda v: mb.reduce_argmin(x=v, axis=0, keep_dims=True), onnx("ArgMin", ties, axis=0)),
        Case("softmax", [50 * x], lambda v: mb.softmax(x=v, axis=1), onnx("Softmax", 50 * x, axis=1)),
        Case("cumsum", [x], lambda v: mb.cumsum(x=v, axis=2, exclusive=True, reverse=True), onnx("CumSum", x, np.array(2, np.int64), exclusive=1, reverse=1)),
        Case("topk values", [x], lambda v: mb.topk(x=v, k=2, axis=1)[0], onnx("TopK", x, i64(2), axis=1, outputs=2)[0]),
        Case("topk indices", [x], lambda v: mb.topk(x=v, k=2, axis=1, ascending=True)[1], onnx("TopK", x, i64(2), axis=1, largest=0, outputs=2)[1]),
        Case("argsort", [x], lambda v: mb.argsort(x=v, axis=2, ascending=True), np.argsort(x, 2)),
        Case("non_zero", [np.float32([[0, 1], [2, 0]])], lambda v: mb.non_zero(x=v), np.array([[0, 1], [1, 0]])),
    ]
