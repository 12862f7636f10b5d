"""A float32 model.onnx in, the same under a recipe out; inputs and outputs stay float32.

fp16 and w8 store weights smaller; w8d and w8a8 are ONNX Runtime's own quantizers. w8a8 is signed 8 bit on both sides with
QuantizeLinear/DequantizeLinear pairs: the form that neither saturates on x86 without VNNI (unsigned activations would, unless
weights gave up a bit) nor is slow on ARM.
"""

from __future__ import annotations

import itertools
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
from edgekit.toolchains.convert.sensitive import before_logarithm, better, few_samples, loss

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

METHODS = {
    "fp16": "float16 weights",
    "w8": "int8 weights per channel",
    "w8d": "onnxruntime {} quantize_dynamic",
    "w8a8": "onnxruntime {} quantize_static QDQ S8S8 per channel",
}

DYNAMIC = ("MatMul", "Gemm", "LSTM")
"""Operators that have a dynamic form worth its name; a dynamic Conv is several times slower than a float one, so it keeps int8 weights only."""

QUANTIZER_ERRORS = (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError, onnx.checker.ValidationError)
"""ONNX Runtime's quantizer has no error of its own."""


def run(job: Job) -> dict[str, Any]:
    """`float` (model.onnx), `calibration` (tensor folder; w8a8 only), option `recipe` → `out/model.onnx`.

    Refuses w8a8 without calibration samples, and a result that does not run or gives nothing but zeros.
    """
    recipe, source, target = job.options["recipe"], job.inputs["float"], job.out / "model.onnx"
    if recipe == "w8a8" and "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    job.progress("quantizing")
    ops = [(node.op_type, node.input, node.output) for node in onnx.load(source).graph.node]
    before = OnnxRuntime(source)
    few = few_samples(job.inputs.get("calibration"), before.inputs)
    notes: list[str] = []

    def make(left: set[int]) -> Path:
        model = onnx.load(source)
        rename(model, ending="_")  # the quantizer makes names by adding a number to a name, and meets names that exist
        model, notes[:] = {"fp16": half, "w8": weights, "w8d": dynamic, "w8a8": static}[recipe](job, model, left)
        slim(model)
        path = job.out.parent / f"{len(left)}.onnx"
        onnx.save(model, path)
        return path

    sensitive = before_logarithm(ops) if recipe in ("fp16", "w8a8") else set()
    try:
        path, lost, part = better(recipe, make, lambda path: loss(before, OnnxRuntime(path), few), sensitive)
    except CannotRunError as exc:
        job.refuse(f"the {recipe} file does not run: {exc}; use another recipe or format")
    except QUANTIZER_ERRORS as exc:
        job.refuse(f"ONNX Runtime cannot make {recipe} of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")
    if lost.zero_output:
        job.refuse(f"{recipe} makes the output {lost.zero_output!r} all zero: use another recipe (w8 touches weights only)")
    path.rename(target)
    if part:
        notes.append(f"{len(sensitive)} operators before a logarithm keep float32 activations: {recipe} lost too much there")
    return {"route": [METHODS[recipe].format(version("onnxruntime"))], "notes": notes}


Quantized = tuple[onnx.ModelProto, list[str]]


def half(_: Job, model: onnx.ModelProto, left: set[int]) -> Quantized:
    return model, store_half(model, {name for index in left for name in model.graph.node[index].input})


def weights(_: Job, model: onnx.ModelProto, __: set[int]) -> Quantized:
    return model, store_int8(model)


def dynamic(job: Job, model: onnx.ModelProto, _: set[int]) -> Quantized:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = job.out.parent / "dynamic.onnx"
    quantize_dynamic(model, made, op_types_to_quantize=list(DYNAMIC), per_channel=True, weight_type=QuantType.QInt8)
    model = onnx.load(made)
    store_int8(model)
    convolves = any(node.op_type == "Conv" for node in model.graph.node)
    return model, ["convolutions keep float32 activations: their dynamic form is slower than float32"] if convolves else []


def static(job: Job, model: onnx.ModelProto, left: set[int]) -> Quantized:
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
    kept += [model.graph.node[index].name for index in sorted(left)]
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
    model = onnx.load(made)
    store_int8(model)  # weights of what was left out
    return model, notes


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


def slim(model: onnx.ModelProto) -> None:
    """Drop what only people and tools read: shapes of inner tensors, names of nodes, descriptions, long names of inner tensors."""
    model.producer_name, model.producer_version = "edgekit", ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    rename(model)
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
    for node in model.graph.node:
        node.name = node.doc_string = ""


def rename(model: onnx.ModelProto, ending: str = "") -> None:
    """Number the inner tensors, in hexadecimal; inputs, outputs and nodes keep their names."""
    kept = {value.name for value in [*model.graph.input, *model.graph.output]}
    made = [name for node in model.graph.node for name in node.output if name]
    inner = [name for name in [*made, *(tensor.name for tensor in model.graph.initializer)] if name not in kept]
    free = (name for name in (f"{i:x}{ending}" for i in itertools.count()) if name not in kept)
    names = dict(zip(inner, free, strict=False))
    for tensor in [*model.graph.initializer, *model.graph.value_info]:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
