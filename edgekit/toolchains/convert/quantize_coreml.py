"""A float Core ML package in, the same with int8 weights out (recipe w8): symmetric, one scale per output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import coremltools as ct
from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

from edgekit.hub.mlpackage import save

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

SMALLEST = 512
"""Weights of fewer elements stay float: their scales would eat the saving, and they are where the error shows."""


def run(job: Job) -> dict[str, Any]:
    """`float`: .mlpackage, option `recipe` (`w8`) → out/model.mlpackage, {"route", "notes"}."""
    if job.options["recipe"] != "w8":
        job.refuse(f"Core ML carries w8 here, not {job.options['recipe']}: choose fp32, fp16 or w8")
    job.progress("reading the float package")
    model = ct.models.MLModel(str(job.inputs["float"]), skip_model_load=True)
    spared = float32_weights(model.get_spec())
    job.progress("quantizing weights")
    each = OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=SMALLEST)
    quantized = linear_quantize_weights(model, OptimizationConfig(global_config=each, op_name_configs=dict.fromkeys(spared)))
    save(quantized, quantized.get_spec(), job.out / "model.mlpackage")
    notes = [f"{len(spared)} weights that need float32 stay so"] if spared else []
    return {"route": ["coremltools linear_quantize_weights"], "notes": notes}


def float32_weights(spec: Any) -> list[str]:
    """Names of the matrices that a float16 program keeps in float32, because float16 was too coarse; none in a float32 program."""
    types = ct.proto.MIL_pb2
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    computed = {value.type.tensorType.dataType for op in operations if op.type != "const" for value in op.outputs}
    if types.FLOAT16 not in computed:
        return []
    constants = [(op, op.outputs[0].type.tensorType) for op in operations if op.type == "const"]
    return [str(op.attributes["name"].immediateValue.tensor.strings.values[0]) for op, t in constants if t.dataType == types.FLOAT32 and t.rank > 1]
