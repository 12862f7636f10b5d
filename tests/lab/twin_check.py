"""Models in, what their twins do out, as JSON: in two steps, because ONNX Runtime and PyTorch live in toolchains of their own.

<convert toolchain's python> -m tests.lab.twin_check prepare DIR [MODEL.onnx]…   families, and these: DIR/NAME/{hub.onnx, in*.npy, out*.npy}
<torch toolchain's python> -m tests.lab.twin_check check DIR                     what is printed: NAME → facts
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.lab.backend_suite import Job, Refused, be_a_worker, worker
from tests.lab.onnx_cases import Array, inputs_for

SAMPLES = 3


def prepare(folder: Path, more: list[Path]) -> None:
    """Each model as a hub, three samples for it, and ONNX Runtime's outputs on them."""
    import onnxruntime

    from tests.lab.families.onnx_models import MODELS

    onnxruntime.set_default_logger_severity(3)
    for name, model in {**{name: make() for name, make in MODELS.items()}, **{path.stem: onnx.load(path) for path in more}}.items():
        (folder / name).mkdir(parents=True)
        onnx.save(model, folder / name / "source.onnx")
        try:
            worker("read_onnx").run(Job({"model": folder / name / "source.onnx"}, {"shapes": {}}, folder / name))
        except Refused:
            (folder / name / "hub.onnx").unlink(missing_ok=True)
            continue
        hub = onnx.load(folder / name / "hub.onnx")
        session = onnxruntime.InferenceSession(hub.SerializeToString(), providers=["CPUExecutionProvider"])
        inputs = bools(hub, inputs_for(hub, SAMPLES))
        names = [value.name for value in hub.graph.input]
        rows = [session.run(None, dict(zip(names, sample, strict=True))) for sample in zip(*inputs, strict=True)]
        for kind, arrays in (("in", inputs), ("out", [np.stack(column) for column in zip(*rows, strict=True)])):
            for index, array in enumerate(arrays):
                np.save(folder / name / f"{kind}{index}.npy", array)


def bools(hub: onnx.ModelProto, inputs: list[Array]) -> list[Array]:
    """Both truths, where normal values would all be one."""
    return [array if array.dtype != bool else np.random.default_rng(1).integers(0, 2, array.shape).astype(bool) for array in inputs]


def check(folder: Path) -> dict[str, dict[str, Any]]:
    import torch

    from edgekit.hub.graph import Refusal
    from edgekit.toolchains.torch.twin import Twin

    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/hub.onnx")):
        hub = onnx.load(path)
        try:
            twin = Twin(hub).eval()
        except Refusal as exc:
            found[path.parent.name] = {"refused": str(exc), "op": exc.op}
            continue
        inputs, outputs = (
            [np.load(path.parent / f"{kind}{index}.npy") for index in range(len(values))]
            for kind, values in (("in", hub.graph.input), ("out", hub.graph.output))
        )
        facts: dict[str, Any] = {"apart": twin.apart, "weights": len(twin.weights), "without_gradient": [], "one": 0.0, "three": 0.0}
        for what, n in (("one", 1), ("three", SAMPLES)):
            for given, expected in zip(twin(*(torch.from_numpy(joined(array[:n])) for array in inputs)), outputs, strict=True):
                facts[what] = max(facts[what], error(given.detach().numpy(), joined(expected[:n])))
        floats = [value for value in twin(*(torch.from_numpy(joined(array)) for array in inputs)) if value.requires_grad]
        if floats:
            sum((value * torch.linspace(1, 2, value.numel()).reshape(value.shape)).sum() for value in floats).backward()
        facts["without_gradient"] = [name for name, weight in twin.weights.items() if weight.grad is None or not bool(weight.grad.abs().sum() > 0)]
        copy = onnx.ModelProto()
        copy.CopyFrom(hub)
        facts["round_trip"] = stored(twin.write_back(copy)) == stored(hub)
        found[path.parent.name] = facts
    return found


def joined(samples: Array) -> Array:
    """[n, *shape] as the twin takes it: n times the hub's first axis."""
    return samples.reshape(-1, *samples.shape[2:]) if samples.ndim > 1 else samples


def error(found: Array, expected: Array) -> float:
    """The largest difference by the largest value; infinite where shapes or dtypes differ, or an integer does."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if found.dtype.kind != "f":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


def stored(model: onnx.ModelProto) -> dict[str, tuple[Any, ...]]:
    """Each initializer's dtype, shape and bytes."""
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


if __name__ == "__main__":
    be_a_worker()
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]])
    else:
        print(json.dumps(check(Path(sys.argv[2]))))
