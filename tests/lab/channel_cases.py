"""Small hubs whose channels hang together in every way that networks know, by name; and hubs put together of such parts at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.hub.shapes import infer

Array = np.ndarray[Any, Any]
OPSET = 21
ACTIVATIONS = ("Relu", "Sigmoid", "HardSwish", "Tanh", "LeakyRelu", "Softplus")


class Net:
    """A hub under construction: each method adds nodes and gives the name of what they compute. Images are [1, channels, 8, 8] at first."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []

    def weights(self, *shape: int, offset: float = 0.0) -> str:
        return self.constant((self.rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:]))) + offset).astype(np.float32))

    def constant(self, values: Any) -> str:
        self.stored.append(numpy_helper.from_array(np.asarray(values), f"w{len(self.stored)}"))
        return self.stored[-1].name

    def integers(self, *values: int) -> str:
        return self.constant(np.asarray(values, np.int64))

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        return self.several(kind, *inputs, outputs=outputs, **attributes)[0]

    def several(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [f"t{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{len(self.nodes)}", **attributes))
        return names

    def conv(self, given: str, channels: int, made: int, kernel: int = 3, group: int = 1, stride: int = 1) -> str:
        shape = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "strides": [stride] * 2, "group": group}
        return self.add("Conv", given, self.weights(made, channels // group, kernel, kernel), self.weights(made), **shape)

    def gemm(self, given: str, size: int, made: int) -> str:
        return self.add("Gemm", given, self.weights(made, size), self.weights(made), transB=1)

    def linear(self, given: str, size: int, made: int) -> str:
        return self.add("Add", self.add("MatMul", given, self.weights(size, made)), self.weights(made))

    def classify(self, given: str, channels: int) -> str:
        return self.gemm(self.add("Flatten", self.add("GlobalAveragePool", given)), channels, 5)

    def norm(self, given: str, size: int) -> str:
        return self.add("LayerNormalization", given, self.weights(size, offset=1), self.weights(size), axis=-1)

    def hub(self, inputs: dict[str, Sequence[int]], output: str) -> onnx.ModelProto:
        """The finished hub; its output is `y`."""
        self.add("Identity", output)
        self.nodes[-1].output[0] = "y"
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
        graph = helper.make_graph(self.nodes, "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], self.stored)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        infer(made)
        return made


IMAGE = {"x": [1, 3, 8, 8]}


def residual(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    stem = net.add("Relu", net.conv("x", 3, 12))
    for _ in range(2):
        stem = net.add("Relu", net.add("Add", stem, net.conv(net.add("Relu", net.conv(stem, 12, 8)), 8, 12)))
    return net.hub(IMAGE, net.classify(stem, 12))


def concat(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    stem = net.add("Relu", net.conv("x", 3, 6))
    wide = net.add("Concat", stem, net.conv(stem, 6, 8), "x", net.conv(stem, 6, 4, 1), axis=1)
    return net.hub(IMAGE, net.classify(net.conv(wide, 21, 10), 10))


def depthwise(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    stem = net.add("Sigmoid", net.conv("x", 3, 8))
    deep = net.add("HardSwish", net.conv(stem, 8, 16, group=8))
    return net.hub(IMAGE, net.classify(net.conv(deep, 16, 12, 1), 12))


def grouped(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    stem = net.conv(net.conv("x", 3, 16), 16, 24, group=4)
    return net.hub(IMAGE, net.classify(net.add("Relu", stem), 24))


def flattened(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    stem = net.add("MaxPool", net.add("Relu", net.conv("x", 3, 6)), kernel_shape=[2, 2], strides=[2, 2])
    return net.hub(IMAGE, net.gemm(net.add("Tanh", net.gemm(net.add("Flatten", stem), 96, 14)), 14, 5))


def channels_last(seed: int = 0) -> onnx.ModelProto:
    """Flattened behind a transpose: channels are the fast axis."""
    net = Net(seed)
    turned = net.add("Transpose", net.conv("x", 3, 6), perm=[0, 2, 3, 1])
    return net.hub(IMAGE, net.gemm(net.add("Reshape", turned, net.integers(1, -1)), 384, 5))


def squeeze_excite(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    stem = net.conv("x", 3, 16)
    gate = net.conv(net.add("Relu", net.conv(net.add("ReduceMean", stem, net.integers(2, 3)), 16, 4, 1)), 4, 16, 1)
    return net.hub(IMAGE, net.classify(net.add("Mul", stem, net.add("HardSigmoid", gate)), 16))


def normalised(seed: int = 0) -> onnx.ModelProto:
    """Batch, instance and group normalisation, PRelu and constants that are added and multiplied by."""
    net = Net(seed)
    stem = net.conv("x", 3, 12)
    moments = net.weights(12), net.constant(np.abs(net.rng.normal(size=12)).astype(np.float32) + 1)
    stem = net.add("PRelu", net.add("BatchNormalization", stem, net.weights(12, offset=1), net.weights(12), *moments), net.weights(12, 1, 1))
    stem = net.add("InstanceNormalization", net.conv(stem, 12, 10), net.weights(10, offset=1), net.weights(10))
    stem = net.add("GroupNormalization", net.conv(stem, 10, 12), net.weights(12, offset=1), net.weights(12), num_groups=4)
    return net.hub(IMAGE, net.classify(net.add("Mul", net.add("Add", stem, net.weights(1, 12, 1, 1)), net.weights(12, 8, 8)), 12))


def unet(seed: int = 0) -> onnx.ModelProto:
    net = Net(seed)
    high = net.add("Relu", net.conv("x", 3, 8))
    low = net.add("Relu", net.conv(high, 8, 12, stride=2))
    up = net.add("ConvTranspose", low, net.weights(12, 6, 2, 2), net.weights(6), strides=[2, 2], kernel_shape=[2, 2])
    sizes = net.integers(1, 12, 8, 8)
    wide = net.add("Concat", up, high, net.add("Resize", low, "", "", sizes, mode="nearest"), axis=1)
    up = net.add("ConvTranspose", net.conv(wide, 26, 8), net.weights(8, 2, 3, 3), strides=[1, 1], kernel_shape=[3, 3], pads=[1] * 4, group=4)
    return net.hub(IMAGE, net.conv(up, 8, 2))


def pieces(seed: int = 0) -> onnx.ModelProto:
    """Split, Slice, Pad, Gather, Tile and Expand of channels."""
    net = Net(seed)
    stem = net.conv("x", 3, 16)
    one, two = net.several("Split", stem, net.integers(6, 10), outputs=2, axis=1)
    run = net.add("Slice", stem, net.integers(-12), net.integers(1000), net.integers(1))
    turned = net.add("Gather", two, net.integers(9, 8, 7, 6, 5, 4, 3, 2, 1, 0), axis=1)
    padded = net.add("Pad", one, net.integers(0, 1, 1, 1, 0, 3, 1, 1), net.constant(np.float32(0.5)))
    run = net.add("Slice", net.conv(run, 12, 16), net.integers(0), net.integers(9), net.integers(1))
    joined = net.add("Concat", net.conv(run, 9, 8), net.conv(turned, 10, 8), net.conv(net.add("Slice", padded, *crop(net)), 10, 8), axis=1)
    return net.hub(IMAGE, net.classify(net.add("Tile", joined, net.integers(1, 2, 1, 1)), 48))


def rows(seed: int = 0) -> onnx.ModelProto:
    """Two images joined along their rows."""
    net = Net(seed)
    return net.hub(IMAGE, net.classify(net.add("Concat", net.conv("x", 3, 8), net.conv("x", 3, 8), axis=2), 8))


def bilinear(seed: int = 0) -> onnx.ModelProto:
    """Channels of one layer times channels of another, flattened: those of one go, those of the other stay."""
    net = Net(seed)
    one = net.add("Reshape", net.conv("x", 3, 6), net.integers(1, 6, 64))
    two = net.add("Transpose", net.add("Reshape", net.conv("x", 3, 4), net.integers(1, 4, 64)), perm=[0, 2, 1])
    return net.hub(IMAGE, net.gemm(net.add("Flatten", net.add("MatMul", one, two)), 24, 5))


def crop(net: Net) -> tuple[str, str, str]:
    return net.integers(1, 1), net.integers(9, 9), net.integers(2, 3)


def shuffled(seed: int = 0) -> onnx.ModelProto:
    """A channel shuffle, blocks of places turned into channels and back."""
    net = Net(seed)
    stem = net.conv("x", 3, 12)
    apart = net.add("Transpose", net.add("Reshape", stem, net.integers(1, 2, 6, 8, 8)), perm=[0, 2, 1, 3, 4])
    deep = net.add("SpaceToDepth", net.conv(net.add("Reshape", apart, net.integers(1, 12, 8, 8)), 12, 6), blocksize=2)
    wide = net.add("DepthToSpace", net.conv(deep, 24, 16), blocksize=2, mode="CRD")
    wide = net.add("DepthToSpace", net.conv(wide, 4, 24), blocksize=2)
    return net.hub(IMAGE, net.classify(wide, 6))


def attention(seed: int = 0, heads: int = 4, stacked: bool = False) -> onnx.ModelProto:
    """Attention on [1, 6, 10]; heads of 5; no sum with the input, so that only whole heads and what is between layers can go."""
    net = Net(seed)
    x, inner = net.linear("x", 10, 12), heads * 5
    if stacked:
        all_three = net.add("Reshape", net.linear(x, 12, 3 * inner), net.integers(1, 6, 3, heads, 5))
        turned = net.add("Transpose", all_three, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.add("Squeeze", part, net.integers(0)) for part in net.several("Split", turned, outputs=3, axis=0, num_outputs=3))
        k = net.add("Transpose", k, perm=[0, 1, 3, 2])
    else:
        q, k, v = (net.add("Reshape", net.linear(x, 12, inner), net.integers(1, 6, heads, 5)) for _ in range(3))
        q, v = (net.add("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
        k = net.add("Transpose", k, perm=[0, 2, 3, 1])
    scores = net.add("Softmax", net.add("Div", net.add("MatMul", q, k), net.constant(np.float32(np.sqrt(5)))), axis=-1)
    mixed = net.add("Transpose", net.add("MatMul", scores, v), perm=[0, 2, 1, 3])
    flat = net.add("Reshape", mixed, net.integers(1, 6, inner))
    return net.hub({"x": [1, 6, 10]}, net.linear(net.linear(flat, inner, 12), 12, 5))


def stacked_attention(seed: int = 0) -> onnx.ModelProto:
    return attention(seed, stacked=True)


def two_heads(seed: int = 0) -> onnx.ModelProto:
    """So few heads that parts of them go: the same in each."""
    return attention(seed, heads=2)


def recurrent(seed: int = 0) -> onnx.ModelProto:
    """An LSTM of both directions, then a GRU, on [7, 1, 4]."""
    net = Net(seed)
    hidden = net.add("LSTM", "x", net.weights(2, 24, 4), net.weights(2, 24, 6), net.weights(2, 48), hidden_size=6, direction="bidirectional")
    flat = net.add("Reshape", net.add("Transpose", hidden, perm=[0, 2, 1, 3]), net.integers(0, 0, -1))
    start = net.constant(np.zeros((1, 1, 8), np.float32))
    _, last = net.several(
        "GRU", flat, net.weights(1, 24, 12), net.weights(1, 24, 8), net.weights(1, 48), "", start, outputs=2, hidden_size=8, linear_before_reset=1
    )
    return net.hub({"x": [7, 1, 4]}, net.gemm(net.add("Squeeze", last, net.integers(0)), 8, 3))


def shared(seed: int = 0) -> onnx.ModelProto:
    """One weight in two layers: what goes from one goes from the other."""
    net = Net(seed)
    weights = net.weights(10, 10)
    once = net.add("Relu", net.add("MatMul", net.linear("x", 4, 10), weights))
    return net.hub({"x": [1, 4]}, net.linear(net.add("Relu", net.add("MatMul", once, weights)), 10, 3))


CASES: dict[str, Callable[[int], onnx.ModelProto]] = {
    made.__name__: made
    for made in (
        residual, concat, depthwise, grouped, flattened, channels_last, squeeze_excite, normalised, unet, pieces, rows, bilinear, shuffled, attention,
        stacked_attention, two_heads, recurrent, shared,
    )
}  # fmt: skip


def classifier(seed: int = 0) -> onnx.ModelProto:
    """Two convolutions and two matrix products, as wide as those of a small real network."""
    net = Net(seed)
    stem = net.add("MaxPool", net.add("Relu", net.conv("x", 3, 32)), kernel_shape=[2, 2], strides=[2, 2])
    stem = net.add("MaxPool", net.add("Relu", net.conv(stem, 32, 64)), kernel_shape=[2, 2], strides=[2, 2])
    return net.hub(IMAGE, net.gemm(net.add("Relu", net.gemm(net.add("Flatten", stem), 256, 128)), 128, 5))


def transformer(seed: int = 0, heads: int = 4, width: int = 16) -> onnx.ModelProto:
    """An encoder block on tokens [1, 6] → [1, 5]: embedding, positions, attention, LayerNormalization before each part, GELU by Erf, residual sums."""
    net = Net(seed)
    x = net.add("Add", net.add("Gather", net.weights(20, width), net.add("Cast", "x", to=TensorProto.INT64)), net.weights(1, 6, width))
    given = net.norm(x, width)
    q, k, v = (net.add("Reshape", net.linear(given, width, 4 * heads), net.integers(1, 6, heads, 4)) for _ in range(3))
    scores = net.add("MatMul", net.add("Transpose", q, perm=[0, 2, 1, 3]), net.add("Transpose", k, perm=[0, 2, 3, 1]))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), net.add("Transpose", v, perm=[0, 2, 1, 3]))
    flat = net.add("Reshape", net.add("Transpose", mixed, perm=[0, 2, 1, 3]), net.integers(1, 6, 4 * heads))
    x = net.add("Add", x, net.linear(flat, 4 * heads, width))
    inner = net.linear(net.norm(x, width), width, 4 * width)
    erf = net.add("Add", net.add("Erf", net.add("Mul", inner, net.constant(np.float32(0.7071)))), net.constant(np.float32(1)))
    x = net.add("Add", x, net.linear(net.add("Mul", inner, erf), 4 * width, width))
    pooled = net.add("ReduceMean", net.norm(x, width), net.integers(1), keepdims=0)
    return net.hub({"x": [1, 6]}, net.gemm(pooled, width, 5))


def random(seed: int) -> onnx.ModelProto:
    """Three to six parts drawn at random, on an image."""
    net = Net(seed)
    rng = net.rng
    channels = int(rng.choice([8, 12, 16]))
    x = net.add("Relu", net.conv("x", 3, channels))
    for _ in range(int(rng.integers(3, 7))):
        x, channels = PARTS[int(rng.integers(len(PARTS)))](net, x, channels)
        x = net.add(str(rng.choice(ACTIVATIONS)), x)
    if rng.random() < 0.5:
        return net.hub(IMAGE, net.classify(x, channels))
    return net.hub(IMAGE, net.gemm(net.add("Relu", net.gemm(net.add("Flatten", x), channels * 64, 12)), 12, 4))


def wider(net: Net, x: str, channels: int) -> tuple[str, int]:
    made = int(net.rng.choice([8, 12, 16]))
    return net.conv(x, channels, made, int(net.rng.choice([1, 3]))), made


def added(net: Net, x: str, channels: int) -> tuple[str, int]:
    return net.add("Add", x, net.conv(net.add("Relu", net.conv(x, channels, 8)), 8, channels)), channels


def separable(net: Net, x: str, channels: int) -> tuple[str, int]:
    return net.conv(net.add("Relu", net.conv(x, channels, channels, group=channels)), channels, 12, 1), 12


def in_groups(net: Net, x: str, channels: int) -> tuple[str, int]:
    return net.conv(x, channels, 2 * channels, group=math.gcd(4, channels)), 2 * channels


def joined(net: Net, x: str, channels: int) -> tuple[str, int]:
    return net.add("Concat", x, net.conv(x, channels, 4), axis=1), channels + 4


def gated(net: Net, x: str, channels: int) -> tuple[str, int]:
    return net.add("Mul", x, net.add("Sigmoid", net.conv(net.add("GlobalAveragePool", x), channels, channels, 1))), channels


def halves(net: Net, x: str, channels: int) -> tuple[str, int]:
    one, two = net.several("Split", x, outputs=2, axis=1, num_outputs=2)  # the first is the larger where they are not equal
    return net.add("Concat", net.conv(two, channels // 2, 8), one, axis=1), 8 + channels - channels // 2


def batch_normalised(net: Net, x: str, channels: int) -> tuple[str, int]:
    variance = net.constant(np.abs(net.rng.normal(size=channels)).astype(np.float32) + 0.5)
    return net.add("BatchNormalization", x, net.weights(channels, offset=1), net.weights(channels), net.weights(channels), variance), channels


def shuffle(net: Net, x: str, channels: int) -> tuple[str, int]:
    if channels % 2:
        return x, channels
    apart = net.add("Transpose", net.add("Reshape", x, net.integers(1, 2, channels // 2, 8, 8)), perm=[0, 2, 1, 3, 4])
    return net.add("Reshape", apart, net.integers(1, channels, 8, 8)), channels


def down_and_up(net: Net, x: str, channels: int) -> tuple[str, int]:
    low = net.conv(x, channels, 12, stride=2)
    return net.add("ConvTranspose", low, net.weights(12, 8, 2, 2), net.weights(8), strides=[2, 2], kernel_shape=[2, 2]), 8


PARTS = (wider, added, separable, in_groups, joined, gated, halves, batch_normalised, shuffle, down_and_up)
