"""A float32 model.onnx in, the same under a recipe out; inputs and outputs stay float32.

fp16 and w8 store weights smaller; w8d and w8a8 are ONNX Runtime's own quantizers. w8a8 is signed 8 bit on both sides with
QuantizeLinear/DequantizeLinear pairs: the form that neither saturates on x86 without VNNI (unsigned activations would, unless
weights gave up a bit) nor is slow on ARM.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgekit.hub.graph import makers
from edgekit.toolchains.convert.onnx_weights import store_half, store_int8
from edgekit.toolchains.convert.runners import CannotRunError, OnnxRuntime

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

DYNAMIC = ("MatMul", "Gemm", "LSTM")
"""Operators that have a dynamic form worth its name; a dynamic Conv is several times slower than a float one, so it keeps int8 weights only."""

QUANTIZER_ERRORS = (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError, onnx.checker.ValidationError)
"""ONNX Runtime's quantizer has no error of its own."""


def run(job: Job) -> dict[str, Any]:
    """`float` (model.onnx), `calibration` (tensor folder; w8a8 only), option `recipe` → `out/model.onnx`.

    Refuses w8a8 without calibration samples, and a result that does not run or gives nothing but zeros.
    """
    recipe, target = job.options["recipe"], job.out / "model.onnx"
    if recipe == "w8a8" and "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    job.progress("quantizing")
    model = onnx.load(job.inputs["float"])
    try:
        model, method, notes = {"fp16": half, "w8": weights, "w8d": dynamic, "w8a8": static}[recipe](job, model)
    except QUANTIZER_ERRORS as exc:
        job.refuse(f"ONNX Runtime cannot make {recipe} of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")
    slim(model)
    onnx.save(model, target)
    check(job, target)
    return {"route": [method], "notes": notes}


Quantized = tuple[onnx.ModelProto, str, list[str]]


def half(_: Job, model: onnx.ModelProto) -> Quantized:
    return model, "float16 weights", store_half(model)


def weights(_: Job, model: onnx.ModelProto) -> Quantized:
    return model, "int8 weights per channel", store_int8(model)


def dynamic(job: Job, model: onnx.ModelProto) -> Quantized:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = job.out.parent / "dynamic.onnx"
    quantize_dynamic(model, made, op_types_to_quantize=list(DYNAMIC), per_channel=True, weight_type=QuantType.QInt8)
    model = onnx.load(made)
    store_int8(model)
    notes = ["convolutions keep float32 activations: their dynamic form is slower than float32"] if has(model, "Conv") else []
    return model, f"onnxruntime {version('onnxruntime')} quantize_dynamic", notes


def static(job: Job, model: onnx.ModelProto) -> Quantized:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Folder(CalibrationDataReader):  # type: ignore[misc]
        """Samples one after the other."""

        def __init__(self) -> None:
            self.feeds = samples(job)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    logging.getLogger().setLevel(logging.ERROR)  # it advises pre-processing, which the hub has had
    made = job.out.parent / "static.onnx"
    kept, notes = left_float(model)
    job.progress("calibrating")
    quantize_static(
        model,
        made,
        Folder(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
    )
    return onnx.load(made), f"onnxruntime {version('onnxruntime')} quantize_static QDQ S8S8 per channel", notes


def left_float(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Names of nodes that w8a8 does not touch, and why: a softmax that makes an output has no room in 8 bits for small probabilities."""
    made = makers(model.graph)
    last = [made[value.name] for value in model.graph.output if value.name in made]
    kept = [node.name for node in last if node.op_type == "Softmax"]
    return kept, [f"Softmax {name!r} left in float32: int8 has no room for small probabilities" for name in kept]


def samples(job: Job) -> Iterator[dict[str, Any]]:
    """Calibration samples one after the other, by input name."""
    inputs = OnnxRuntime(job.inputs["float"]).inputs
    arrays = [np.load(job.inputs["calibration"] / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(inputs))]
    for index in range(len(arrays[0]) if arrays else 0):
        yield {spec["name"]: np.asarray(array[index]).astype(spec["dtype"]) for spec, array in zip(inputs, arrays, strict=True)}
        job.progress("calibrating", (index + 1) / len(arrays[0]))


def has(model: onnx.ModelProto, op_type: str) -> bool:
    return any(node.op_type == op_type for node in model.graph.node)


def slim(model: onnx.ModelProto) -> None:
    """Drop what only people and tools read: shapes of inner tensors, names of nodes, descriptions; shorten names of inner tensors."""
    model.producer_name, model.producer_version = "edgekit", ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    kept = {value.name for value in [*model.graph.input, *model.graph.output]}
    made = [name for node in model.graph.node for name in node.output if name]
    names = {name: f"{i:x}" for i, name in enumerate([*made, *(t.name for t in model.graph.initializer)]) if name not in kept}
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
        tensor.doc_string = ""
    for node in model.graph.node:
        node.name = node.doc_string = ""
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def check(job: Job, target: Path) -> None:
    """Run both files on one sample: a quantized file that gives nothing but zeros is no answer."""
    try:
        before, after = OnnxRuntime(job.inputs["float"]), OnnxRuntime(target)
        if "calibration" in job.inputs:
            feeds = list(next(samples(job)).values())
        else:
            feeds = [np.full(spec["shape"], 0.5).astype(spec["dtype"]) for spec in before.inputs]
        for spec, a, b in zip(before.outputs, before.run(feeds), after.run(feeds), strict=True):
            if np.any(a != 0) and not np.any(b != 0):
                job.refuse(f"{job.options['recipe']} makes the output {spec['name']!r} all zero: use another recipe (w8 touches weights only)")
    except CannotRunError as exc:
        job.refuse(f"the {job.options['recipe']} file does not run: {exc}; use another recipe or format")
