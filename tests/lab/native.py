"""Jobs for the native runner, run in its unpacked bundle on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekit import native
from edgekit.runtime import platform
from edgekit.toolchains.jobs import Job, run
from tests.lab.tiny import Tiny, tiny

MACHINE = os.uname().machine
SHORT = {"warm_up_min_s": 0.0, "warm_up_max_s": 0.3, "min_runs": 50, "min_s": 0.1, "max_samples": 16384}


FORMS = ("onnx", "tflite")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Format → a folder as a board has it."""
    return {form: unpacked(native.bundle(platform("linux"), form, MACHINE), tmp_path_factory.mktemp(form)) for form in FORMS}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def files(model: Tiny) -> dict[str, Path]:
    """Format → the tiny model in it."""
    return {"onnx": model.onnx, "tflite": written_tflite(model.onnx)}


def unpacked(archive: Path, folder: Path) -> str:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return str(folder)


def written_tflite(hub: Path) -> Path:
    return run(Job("convert", "write_tflite", {"hub": hub}), lambda *_: None).folder / "model.tflite"


def specs(*tensors: tuple[str, str, Sequence[int]]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in tensors]


def job(model: Tiny, path: Path, mode: str = "check", **changes: Any) -> dict[str, Any]:
    return {
        "job": "n1",
        "mode": mode,
        "artifact": str(path),
        "format": path.suffix.removeprefix("."),
        "inputs": [str(model.samples / "0.npy")],
        "inputs_spec": specs(*((one.name, one.dtype, one.shape) for one in model.inputs)),
        "outputs_spec": specs(*((one.name, one.dtype, one.shape) for one in model.outputs)),
        "threads": 1,
        "protocol": SHORT,
    } | changes


def do(job: dict[str, Any], bundle: str, folder: Path) -> list[dict[str, Any]]:
    """Run a job; what it told, line by line."""
    done = subprocess.run(native.argv(bundle, str(folder)), input=native.encode(job, bundle), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[-1]["result"]["job"] == job["job"]
    return told


def refusal(job: dict[str, Any], bundle: str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = do(job, bundle, folder)[-1]["result"]["error"]
    return found


def graph(
    folder: Path,
    nodes: list[Any],
    inputs: list[tuple[str, int, list[int]]],
    outputs: list[tuple[str, int, list[int]]],
    constants: dict[str, np.ndarray[Any, Any]],
) -> Path:
    sides = [[helper.make_tensor_value_info(*one) for one in side] for side in (inputs, outputs)]
    made = helper.make_graph(nodes, "g", *sides, [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")  # the hub knows all shapes
    return folder / "model.onnx"


def io_job(path: Path, inputs: list[Path], there: list[dict[str, Any]], back: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "job": "n2",
        "mode": "check",
        "artifact": str(path),
        "format": path.suffix.removeprefix("."),
        "inputs": [str(one) for one in inputs],
        "inputs_spec": there,
        "outputs_spec": back,
        "threads": 1,
        "protocol": SHORT,
    }
