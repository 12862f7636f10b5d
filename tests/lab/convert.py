"""A hub in, a written and verified artifact out: the convert toolchain's verbs as a test calls them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from edgekit.toolchains.jobs import Job, Outcome, run
from edgekit.write.format import format_named
from tests.lab.onnx_cases import Array, inputs_for, outputs_for, save, specs, tensor_folder


def do(verb: str, files: dict[str, Path], options: dict[str, Any] | None = None) -> Outcome:
    return run(Job("convert", verb, files, options or {}), lambda text, fraction: None)


def written(tmp_path: Path, made: onnx.ModelProto, format_: str) -> Path:
    """The float32 file of a hub."""
    hub = save(made, tmp_path / "hub.onnx")
    return do(f"write_{format_}", {"hub": hub}).folder / f"model.{format_}"


def verified(
    tmp_path: Path,
    made: onnx.ModelProto,
    artifact: Path,
    format_: str,
    recipe: str = "fp32",
    samples: Sequence[Array] | None = None,
    layout: dict[str, Any] | None = None,
    **more: Path,
) -> dict[str, Any]:
    """What `verify` finds on three samples, against ONNX's reference evaluator; `layout`: as the writer told it."""
    samples = samples or inputs_for(made, 3)
    inputs = {
        "artifact": artifact,
        "samples": tensor_folder(tmp_path / "samples", samples),
        "reference": tensor_folder(tmp_path / "reference", outputs_for(made, samples)),
        "hub": save(made, tmp_path / "source.onnx"),
        **more,
    }
    options = {"format": format_, "recipe": recipe, "inputs": specs(made.graph.input), "outputs": specs(made.graph.output)}
    options["dtypes"] = dict(format_named(format_).dtypes)
    options |= {} if layout is None else {"layout": {side: layout[side] for side in ("inputs", "outputs")}}
    return do("verify", inputs, options).result


def quantized(artifact: Path, format_: str, recipe: str, calibration: Path | None = None) -> Outcome:
    """The artifact under a recipe: `model.<format>` in the outcome's folder."""
    files = {"float": artifact} | ({"calibration": calibration} if calibration else {})
    return do(f"quantize_{format_}", files, {"recipe": recipe})
