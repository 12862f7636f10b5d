"""Each family as an ONNX model, weights drawn from a fixed seed: what an exporter would write, with constants as initializers.

<convert toolchain's python> onnx_models.py DIR FAMILY… → DIR/FAMILY.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL


class Net:
    """A graph under construction; `net.Relu(x)` adds a node and gives its result's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def put(self, values: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        return self.put(self.rng.normal(size=shape) / np.sqrt(max(int(np.prod(shape[1:])), 1)), np.float32)

    def op(self, op_type: str, *inputs: str, results: int = 1, **attributes: Any) -> Any:
        names = [f"t{len(self.nodes)}_{index}" for index in range(results)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"{op_type}_{len(self.nodes)}", **attributes))
        return names if results > 1 else names[0]

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        if op_type.startswith("_"):
            raise AttributeError(op_type)
        return lambda *inputs, **attributes: self.op(op_type, *inputs, **attributes)

    def model(self, inputs: Sequence[tuple[str, int, list[int]]], outputs: dict[str, tuple[str, int]]) -> ModelProto:
        """Inputs (name, type, shape); outputs name → (tensor, type)."""
        for name, (tensor, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"to_{name}"))
        given = [helper.make_tensor_value_info(*value) for value in inputs]
        found = [helper.make_tensor_value_info(name, kind, None) for name, (_, kind) in outputs.items()]
        graph = helper.make_graph(self.nodes, "family", given, found, self.stored)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(made, strict_mode=True)

    def conv(self, x: str, before: int, after: int, kernel: int = 3, **attributes: Any) -> str:
        attributes.setdefault("pads", [kernel // 2] * 4)
        return str(self.Conv(x, self.weights(after, before // attributes.get("group", 1), kernel, kernel), self.weights(after), **attributes))

    def linear(self, x: str, before: int, after: int) -> str:
        return str(self.Add(self.MatMul(x, self.weights(before, after)), self.weights(after)))

    def norm(self, x: str, width: int) -> str:
        return str(self.LayerNormalization(x, self.weights(width), self.weights(width), axis=-1, epsilon=1e-5))

    def attend(self, x: str, length: int, width: int, heads: int) -> str:
        """Scaled dot-product attention of several heads, [1, length, width]."""
        each = width // heads
        split = self.put([1, length, heads, each])
        q, k, v = (self.Transpose(self.Reshape(self.linear(x, width, width), split), perm=perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        scores = self.Softmax(self.Mul(self.MatMul(q, k), self.put(each**-0.5, np.float32)), axis=-1)
        joined = self.Reshape(self.Transpose(self.MatMul(scores, v), perm=[0, 2, 1, 3]), self.put([1, length, width]))
        return self.linear(joined, width, width)

    def recurrent(self, kind: str, x: str, width: int, hidden: int, *, both: bool = False, state: Sequence[str] = ()) -> Any:
        """Results Y [length, directions, 1, hidden], Y_h and, of an LSTM, Y_c."""
        gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if both else 1
        tensors = [self.weights(ways, gates * hidden, size) for size in (width, hidden)] + [self.weights(ways, 2 * gates * hidden)]
        attributes = {"hidden_size": hidden, "direction": "bidirectional" if both else "forward"} | ({"linear_before_reset": 1} if kind == "GRU" else {})
        return self.op(kind, x, *tensors, *(["", *state] if state else []), results=3 if kind == "LSTM" else 2, **attributes)


IMAGE = ("image", FLOAT, [1, 3, 16, 16])
SERIES = ("series", FLOAT, [1, 12, 6])
TOKENS = ("tokens", INT64, [1, 10])


def classify(net: Net, x: str, channels: int) -> dict[str, tuple[str, int]]:
    scores = net.Softmax(net.Gemm(net.Flatten(net.GlobalAveragePool(x)), net.weights(5, channels), net.weights(5), transB=1), axis=-1)
    return {"scores": (scores, FLOAT)}


def cnn() -> ModelProto:
    net = Net()
    x = net.MaxPool(net.Relu(net.conv("image", 3, 8)), kernel_shape=[2, 2], strides=[2, 2])
    return net.model([IMAGE], classify(net, net.Relu(net.conv(x, 8, 12, strides=[2, 2])), 12))


def depthwise() -> ModelProto:
    net = Net()
    x = net.Clip(net.conv("image", 3, 8, strides=[2, 2]), net.put(0, np.float32), net.put(6, np.float32))
    x = net.Relu(net.conv(x, 8, 8, group=8))
    return net.model([IMAGE], classify(net, net.Add(x, net.conv(x, 8, 8, kernel=1)), 8))


def transposed() -> ModelProto:
    net = Net()
    x = net.Relu(net.ConvTranspose(net.conv("image", 3, 8, strides=[2, 2]), net.weights(8, 6, 2, 2), net.weights(6), strides=[2, 2]))
    x = net.ConvTranspose(x, net.weights(6, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    return net.model([IMAGE], {"picture": (net.Sigmoid(x), FLOAT)})


def conv1d() -> ModelProto:
    net = Net()
    x = net.Relu(net.Conv(net.Transpose("series", perm=[0, 2, 1]), net.weights(8, 6, 3), net.weights(8), pads=[1, 1]))
    x = net.MaxPool(x, kernel_shape=[2], strides=[2])
    return net.model([SERIES], {"scores": (net.linear(net.ReduceMean(x, axes=[2], keepdims=0), 8, 4), FLOAT)})


def sequence(kind: str, both: bool, length: int = 12) -> ModelProto:
    net = Net()
    results = net.recurrent(kind, net.Transpose("series", perm=[1, 0, 2]), 6, 8, both=both)
    y = net.Reshape(net.Transpose(results[0], perm=[2, 0, 1, 3]), net.put([1, length, 16 if both else 8]))
    last = net.Reshape(net.Transpose(results[1], perm=[1, 0, 2]), net.put([1, 16 if both else 8]))
    return net.model([("series", FLOAT, [1, length, 6])], {"steps": (y, FLOAT), "scores": (net.linear(last, 16 if both else 8, 4), FLOAT)})


def rnn_state() -> ModelProto:
    net = Net()
    y, h, c = net.recurrent("LSTM", net.Transpose("step", perm=[1, 0, 2]), 6, 8, state=["h", "c"])
    scores = net.linear(net.Reshape(y, net.put([1, 8])), 8, 4)
    state = [1, 1, 8]
    return net.model(
        [("step", FLOAT, [1, 1, 6]), ("h", FLOAT, state), ("c", FLOAT, state)], {"scores": (scores, FLOAT), "h_next": (h, FLOAT), "c_next": (c, FLOAT)}
    )


def attention() -> ModelProto:
    net = Net()
    return net.model([("series", FLOAT, [1, 12, 16])], {"steps": (net.attend("series", 12, 16, 2), FLOAT)})


def transformer() -> ModelProto:
    net = Net()
    x = net.Add(net.Gather(net.weights(50, 16), "tokens"), net.weights(1, 10, 16))
    for _ in range(2):
        x = net.norm(net.Add(x, net.attend(x, 10, 16, 2)), 16)
        inner = net.linear(x, 16, 32)
        gelu = net.Mul(net.Mul(inner, net.put(0.5, np.float32)), net.Add(net.Erf(net.Mul(inner, net.put(0.5**0.5, np.float32))), net.put(1, np.float32)))
        x = net.norm(net.Add(x, net.linear(gelu, 32, 16)), 16)
    return net.model([TOKENS], {"scores": (net.linear(x, 16, 50), FLOAT)})


def embedding() -> ModelProto:
    net = Net()
    x = net.ReduceMean(net.Gather(net.weights(50, 8), "tokens"), axes=[1], keepdims=0)
    return net.model([TOKENS], {"scores": (net.Softmax(net.linear(x, 8, 4), axis=-1), FLOAT)})


def resize() -> ModelProto:
    net = Net()
    x = net.conv("image", 3, 4)
    near = net.Resize(x, "", net.put([1, 1, 2, 2], np.float32), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    fine = net.Resize(x, "", "", net.put([1, 4, 24, 40]), mode="linear", coordinate_transformation_mode="half_pixel")
    return net.model([IMAGE], {"near": (near, FLOAT), "fine": (fine, FLOAT)})


def gather_scatter() -> ModelProto:
    net = Net()
    picked = net.Gather("series", net.put([3, 1, 1, 7]), axis=1)
    elements = net.GatherElements("series", net.put(np.arange(12).reshape(1, 12, 1) % 6), axis=2)
    placed = net.ScatterND("series", net.put([[0, 2], [0, 5]]), net.put(net.rng.normal(size=(2, 6)), np.float32))
    return net.model([SERIES], {"picked": (picked, FLOAT), "elements": (elements, FLOAT), "placed": (placed, FLOAT)})


def norm_softmax() -> ModelProto:
    net = Net()
    return net.model([SERIES], {"shares": (net.Softmax(net.norm("series", 6), axis=1), FLOAT), "logs": (net.LogSoftmax("series", axis=-1), FLOAT)})


def several() -> ModelProto:
    net = Net()
    features = net.Flatten(net.GlobalAveragePool(net.conv("image", 3, 6)))
    gated = net.Where("keep", features, net.put(0, np.float32))
    return net.model(
        [IMAGE, ("keep", BOOL, [1, 6]), ("scale", FLOAT, [6])],
        {"scaled": (net.Mul(gated, "scale"), FLOAT), "best": (net.ArgMax(gated, axis=1, keepdims=0), INT64)},
    )


def integers() -> ModelProto:
    net = Net()
    total = net.Add(net.Mul("a", net.put(3, np.int32)), "b")
    return net.model(
        [("a", INT32, [1, 5]), ("b", INT32, [1, 5])],
        {"total": (total, INT32), "even": (net.Equal(net.Mod(total, net.put(2, np.int32)), net.put(0, np.int32)), BOOL)},
    )


def branch(op: str, name: str) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node(op, ["series"], [name], name=f"{name}_node")], name, [], [helper.make_tensor_value_info(name, FLOAT, [1, 12, 6])]
    )


def if_() -> ModelProto:
    net = Net()
    positive = net.Greater(net.ReduceSum("series", keepdims=0), net.put(0, np.float32))
    return net.model([SERIES], {"found": (net.If(positive, then_branch=branch("Tanh", "then_out"), else_branch=branch("Neg", "else_out")), FLOAT)})


def loop() -> ModelProto:
    net = Net()
    values = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (("i", INT64, []), ("go", BOOL, []), ("v", FLOAT, [1, 12, 6]))]
    nodes = [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Tanh", ["v"], ["v_next"])]
    results = [helper.make_tensor_value_info("go_on", BOOL, []), helper.make_tensor_value_info("v_next", FLOAT, [1, 12, 6])]
    body = helper.make_graph(nodes, "body", values, results)
    count = net.Cast(net.ReduceMax("counts", keepdims=0), to=INT64)
    return net.model([SERIES, ("counts", INT32, [2])], {"found": (net.Loop(count, "", "series", body=body), FLOAT)})


def unet() -> ModelProto:
    net = Net()
    high = net.Relu(net.conv("image", 3, 6))
    low = net.Relu(net.conv(net.MaxPool(high, kernel_shape=[2, 2], strides=[2, 2]), 6, 8))
    up = net.Resize(low, "", net.put([1, 1, 2, 2], np.float32), mode="linear", coordinate_transformation_mode="half_pixel")
    return net.model([IMAGE], {"mask": (net.Sigmoid(net.conv(net.Concat(high, up, axis=1), 14, 2)), FLOAT)})


def squeeze_excite() -> ModelProto:
    net = Net()
    x = net.conv("image", 3, 8)
    gate = net.HardSigmoid(net.conv(net.Relu(net.conv(net.GlobalAveragePool(x), 8, 2, kernel=1)), 2, 8, kernel=1), alpha=1 / 6, beta=0.5)
    return net.model([IMAGE], classify(net, net.HardSwish(net.Mul(x, gate)), 8))


MODELS: dict[str, Callable[[], ModelProto]] = {
    "cnn": cnn,
    "depthwise": depthwise,
    "transposed": transposed,
    "conv1d": conv1d,
    "lstm": lambda: sequence("LSTM", False),
    "bilstm": lambda: sequence("LSTM", True),
    "gru": lambda: sequence("GRU", False),
    "bigru": lambda: sequence("GRU", True),
    "rnn_state": rnn_state,
    "long": lambda: sequence("LSTM", False, 400),
    "attention": attention,
    "transformer": transformer,
    "embedding": embedding,
    "resize": resize,
    "gather_scatter": gather_scatter,
    "norm_softmax": norm_softmax,
    "several": several,
    "integers": integers,
    "if": if_,
    "loop": loop,
    "unet": unet,
    "squeeze_excite": squeeze_excite,
}


if __name__ == "__main__":
    for family in sys.argv[2:]:
        onnx.save(MODELS[family](), str(Path(sys.argv[1]) / f"{family}.onnx"))
