"""A framework's own file beside the hub's: the same boundary, the same outputs, and no state between calls."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgekit.toolchains.jobs import Job, Outcome, run
from tests.lab.convert import verified
from tests.lab.networks import made

pytestmark = pytest.mark.toolchain
MODELS = Path(__file__).parent / "lab" / "models"


def work(name: str, verb: str, files: dict[str, Path], /, **options: object) -> Outcome:
    return run(Job(name, verb, files, options), lambda text, fraction: None)


def hub_of(source: Path, toolchain: str) -> Path:
    raw = work(toolchain, "read", {"model": source}, **({"shapes": {}} if toolchain == "tensorflow" else {}))
    return work("convert", "read_onnx", {"model": raw.folder / "raw.onnx"}, shapes={}).folder / "hub.onnx"


@pytest.mark.parametrize(("name", "form"), [("two.keras", "tflite"), ("two_sm", "coreml"), ("lstm.keras", "tflite")])
def test_tensorflow_writes_what_the_hub_computes(name: str, form: str, tmp_path: Path) -> None:
    # given two inputs and two outputs, as Keras and as SavedModel, or a recurrent layer
    source = made(MODELS / "odd_keras.py", "tensorflow", ".") / name
    hub = hub_of(source, "tensorflow")
    # when TensorFlow's own converter, or coremltools from TensorFlow, writes it
    written = work("tensorflow", f"write_{form}", {"model": source, "hub": hub}, precision="fp32")
    # then names, order and outputs over several calls are the hub's
    found = verified(tmp_path, onnx.load(hub), written.folder / {"tflite": "model.tflite", "coreml": "model.mlpackage"}[form], form)
    assert found["boundary"] is None
    assert found["first_wrong"] is None
    assert found["parity"]["max_rel"] < 1e-5
    assert written.result["ops"] > 0


@pytest.mark.parametrize("name", ["batch.pt2", "lstm.pt2"])
def test_torch_writes_what_the_hub_computes(name: str, tmp_path: Path) -> None:
    # given an open batch axis, or a recurrent layer, which only a trace keeps whole
    source = made(MODELS / "odd_torch.py", "torch", ".") / name
    hub = hub_of(source, "torch")
    written = work("torch", "write_coreml", {"model": source, "hub": hub}, precision="fp32")
    found = verified(tmp_path, onnx.load(hub), written.folder / "model.mlpackage", "coreml")
    assert found["boundary"] is None
    assert found["first_wrong"] is None
    assert found["parity"]["max_rel"] < 1e-5
    assert written.result["transposes"][0] == sum(node.op_type == "Transpose" for node in onnx.load(hub).graph.node)
