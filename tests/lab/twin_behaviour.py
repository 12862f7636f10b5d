"""What a twin does beside computing, out as JSON: hooks, captured tensors, statistics of batches, samples together; run by the torch toolchain.

<torch toolchain's python> -m tests.lab.twin_behaviour
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.lab.backend_suite import be_a_worker
from tests.lab.onnx_cases import FLOAT, classifier, draw, model


def facts() -> dict[str, Any]:
    import torch

    from edgekit.hub.graph import Refusal
    from edgekit.toolchains.torch.twin import Twin

    torch.manual_seed(0)
    hub = classifier()
    twin = Twin(hub)
    x = torch.randn(2, 1, 8, 8)
    (plain,), caught = twin.forward_with(["a", "d"], x)
    found: dict[str, Any] = {
        "weights": sorted(twin.weights),
        "names": twin.tensor_names,
        "same_captured": bool(torch.equal(plain, torch.softmax(caught["d"], 1))),
        "captured": {name: list(value.shape) for name, value in caught.items()},
    }
    twin.weight_through["w"] = lambda weight: weight * 0
    _, caught = twin.forward_with(["a"], x)
    found["weight_through"] = float(caught["a"].abs().max())
    copy, kept = onnx.ModelProto(), onnx.ModelProto()
    copy.CopyFrom(hub)
    kept.CopyFrom(hub)
    found["written_through"] = float(np.abs(stored(twin.write_back(copy, through=True), "w")).max())
    found["written_plain"] = bool(np.array_equal(stored(twin.write_back(kept), "w"), stored(hub, "w")))
    twin.weight_through.clear()
    twin.tensor_through["b"] = lambda value: value + 1
    _, caught = twin.forward_with(["a", "b"], x)
    found["tensor_through"] = bool(torch.equal(caught["b"], torch.relu(caught["a"]) + 1))
    twin.tensor_through.clear()
    found["as_before"] = bool(torch.equal(twin(x)[0], plain))

    norm = Twin(with_norm())
    before = {name: value.clone() for name, value in norm.statistics.items()}
    norm.eval()(torch.randn(8, 2, 4, 4) * 3 + 5)
    found["statistics_kept"] = all(torch.equal(before[name], value) for name, value in norm.statistics.items())
    for _ in range(100):
        norm.train()(torch.randn(64, 2, 4, 4) * 3 + 5)
    written = norm.write_back(with_norm())
    found["mean"], found["variance"] = stored(written, "mean").tolist(), stored(written, "variance").tolist()

    mixing = Twin(across()).eval()
    both = mixing(torch.cat([x[:1, 0], x[1:, 0]]))[0]
    found["mixing"] = [mixing.apart, bool(torch.allclose(both, torch.cat([mixing(x[:1, 0])[0], mixing(x[1:, 0])[0]]), atol=1e-6))]
    try:
        Twin(unique())
    except Refusal as refusal:
        found["refused"] = [str(refusal), refusal.op, refusal.kind]
    return found


def stored(made: onnx.ModelProto, name: str) -> Any:
    return next(onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer if tensor.name == name)


def with_norm() -> onnx.ModelProto:
    """A batch norm that no convolution can hold: it comes first."""
    tensors = [draw("scale", 2), draw("bias", 2), onnx.numpy_helper.from_array(np.zeros(2, np.float32), "mean")]
    tensors.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "variance"))
    node = helper.make_node("BatchNormalization", ["x", "scale", "bias", "mean", "variance"], ["y"])
    return model([node], [("x", FLOAT, [1, 2, 4, 4])], [("y", FLOAT, [1, 2, 4, 4])], tensors)


def across() -> onnx.ModelProto:
    """A softmax over the axis that counts samples: 1 in the hub, and more where samples lie along it."""
    nodes = [helper.make_node("Mul", ["x", "w"], ["a"]), helper.make_node("Softmax", ["a"], ["y"], axis=0)]
    return model(nodes, [("x", FLOAT, [1, 8, 8])], [("y", FLOAT, [1, 8, 8])], [draw("w", 8)])


def unique() -> onnx.ModelProto:
    """An operator that no one trains through."""
    nodes = [helper.make_node("BitShift", ["x", "x"], ["y"], direction="LEFT", name="shift")]
    return model(nodes, [("x", onnx.TensorProto.UINT8, [1, 4])], [("y", onnx.TensorProto.UINT8, [1, 4])])


if __name__ == "__main__":
    be_a_worker()
    print(json.dumps(facts()))
