"""PyTorch programs → hub: the outputs of PyTorch itself, named arguments, and no pickle loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import InputError
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Outcome, run

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]
SCRIPT = Path(__file__).parent / "lab" / "models" / "odd_torch.py"


def work(name: str, verb: str, files: dict[str, Path], /, **options: Any) -> Outcome:
    return run(Job(name, verb, files, options), lambda text, fraction: None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([toolchain("torch").python, SCRIPT, folder], check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("batch.pt2", {"input": [1, 3, 8, 8]}, {"linear": [1, 5]}),
        ("two.pt2", {"a": [2, 3], "unused": [1, 2], "scale": [3]}, {"product": [2, 3], "total": [], "same": [2, 3]}),
        ("echo.pt2", {"a": [2, 3]}, {"a_out": [2, 3], "add": [2, 3]}),
        ("lstm.pt2", {"input": [1, 6, 3]}, {"getitem": [1, 6, 4], "getitem_1": [1, 1, 4], "getitem_2": [1, 1, 4]}),
    ],
)
def test_outputs_and_names_are_the_programs(models: Path, name: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> None:
    raw = work("torch", "read", {"model": models / name}, shapes={})
    hub = work("convert", "read_onnx", {"model": raw.folder / "raw.onnx"}, shapes={})
    io = {key: hub.result[key] for key in ("inputs", "outputs")}
    assert {spec["name"]: spec["shape"] for spec in io["inputs"]} == inputs
    assert {spec["name"]: spec["shape"] for spec in io["outputs"]} == outputs
    samples = work("convert", "samples", {}, inputs=io["inputs"], need_calibration=False, max_evaluation=4, seed=0)
    given = samples.folder / "evaluation"
    reference = work("torch", "reference", {"model": models / name, "samples": given}, **io)
    assert reference.result["runtime"] == "torch"
    ours = work("convert", "reference_onnx", {"model": hub.folder / "hub.onnx", "samples": given}, **io)
    for index, shape in enumerate(outputs.values()):
        want, found = np.load(reference.folder / f"{index}.npy"), np.load(ours.folder / f"{index}.npy")
        assert want.shape == found.shape == (4, *shape)
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5 * float(np.ptp(want)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train.pt2", "exported in training mode (node 'batch_norm'): call model.eval()"),
        ("script.pt2", "holds weights or TorchScript"),
        ("pickled.pt", "Python objects, which are never loaded"),
    ],
)
def test_refusals(models: Path, name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        work("torch", "read", {"model": models / name}, shapes={})
    assert words in str(caught.value)


def test_a_truncated_program(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes((models / "batch.pt2").read_bytes()[:900])
    with pytest.raises(InputError, match="truncated or something else"):
        work("torch", "read", {"model": path}, shapes={})
