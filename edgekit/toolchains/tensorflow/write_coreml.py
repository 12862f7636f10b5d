"""A Keras file or a SavedModel, and its hub, in; model.mlpackage out: by coremltools from TensorFlow, with the hub's boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgekit.hub.form import form
from edgekit.hub.graph import spec
from edgekit.hub.mlpackage import boundary_notes, identifiers, operators, rename_inside, save
from edgekit.toolchains.tensorflow.frozen import INPUT, frozen
from edgekit.toolchains.tensorflow.source import tf

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

NARROW = {"int64": np.int32, "int32": np.int32, "float32": np.float32, "float16": np.float16, "float64": np.float32, "bool": np.float32}
"""What Core ML has at a boundary for a model's dtype."""


def run(job: Job) -> dict[str, Any]:
    """`model`, `hub`, option `precision` (`fp32`, `fp16`) → out/model.mlpackage, {"route", "notes", "layout", "ops", "transposes"}."""
    try:
        import coremltools as ct
    except ImportError:
        job.refuse("coremltools has no build for this machine: take the route through the hub")
    job.progress("loading the model in TensorFlow")
    hub = onnx.load(str(job.inputs["hub"]))
    inputs, outputs = [spec(value) for value in hub.graph.input], [spec(value) for value in hub.graph.output]
    function = frozen(job, hub)
    names = identifiers([*(one["name"] for one in inputs), *(one["name"] for one in outputs)])
    given = [tensor.name.partition(":")[0] for tensor in function.outputs]
    if len({*given}) < len(given):
        job.refuse("TensorFlow gives one tensor as two of the model's outputs: take the route through the hub")
    job.progress("writing Core ML")
    half = job.options["precision"] == "fp16"
    try:
        package = ct.convert(
            [function],
            source="tensorflow",
            convert_to="mlprogram",
            inputs=[ct.TensorType(f"{INPUT}{position}", shape=one["shape"], dtype=NARROW[one["dtype"]]) for position, one in enumerate(inputs)],
            # Without a dtype, outputs of a float16 program are float16.
            outputs=[ct.TensorType(name, dtype=NARROW.get(one["dtype"])) for name, one in zip(given, outputs, strict=True)],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            skip_model_load=True,
        )
    except (ValueError, RuntimeError, NotImplementedError, TypeError, KeyError, IndexError, AttributeError, AssertionError, tf.errors.OpError) as exc:
        words = " ".join(str(exc).split())[:300]
        job.refuse(f"coremltools cannot write this model from TensorFlow ({words}): take the route through the hub, or write another format")
    described = package.get_spec()
    for position, one in enumerate(inputs):
        ct.utils.rename_feature(described, f"{INPUT}{position}", names[one["name"]], rename_outputs=False)
        rename_inside(described, f"{INPUT}{position}", names[one["name"]])
    for name, one in zip(given, outputs, strict=True):
        ct.utils.rename_feature(described, name, names[one["name"]], rename_inputs=False)
        rename_inside(described, name, names[one["name"]])
    notes = boundary_notes(described, names, [*inputs, *outputs])
    save(package, described, job.out / "model.mlpackage")
    return {"route": [f"coremltools from tensorflow {tf.__version__}"], "notes": notes, **form(hub, "nchw")(operators(described))}
