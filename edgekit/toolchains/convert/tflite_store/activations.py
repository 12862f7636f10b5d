"""A float .tflite file, its hub and the grids of activations in; the file in integers, by litert-quantizer, with exactly these grids, out.

The quantizer is given ranges that make the scales; what rounding leaves between its scales and the Spec's, and the weights that it rounds in
its own way, are then put right in its file. Tensors of the two graphs are told to be one by their values: names, layout and fusions differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.hub.compressed import Grid, Spec
from edgekit.toolchains.convert.quantize.attempts import named as listed
from edgekit.toolchains.convert.quantize.tflite_layers import PLACES, constant, put
from edgekit.toolchains.convert.quantize.tflite_rules import left_float, rules_for, untouched
from edgekit.toolchains.convert.quantize_tflite import inner_tensors
from edgekit.toolchains.convert.runtime.departure import figures
from edgekit.toolchains.convert.runtime.runners import Array, OnnxRuntime
from edgekit.toolchains.convert.tflite.file import FLOAT32, Operator, TfliteFile, read
from edgekit.toolchains.convert.tflite_store.slices import WHOLE, Whole, on_grid

NEAR_DB = 60.0
"""Two graphs compute one tensor: float32 in another order is 100 dB and more from itself, an activation and its input 30 or less."""

PASSING = {
    *("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "SLICE", "STRIDED_SLICE", "GATHER", "SPACE_TO_DEPTH"),
    *("DEPTH_TO_SPACE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
}
"""What they give has the scale of what they take (TFLite quantization specification); a writer adds some that the hub has not."""

INT8 = 9
"""Tensor type of the schema."""


@dataclass(frozen=True, slots=True)
class Step:
    """Of a tensor: value = scale · (q - zero), q in int8."""

    scale: float
    zero: int

    @property
    def range(self) -> dict[str, Array]:
        """As litert-quantizer takes a calibration result."""
        return {name: np.array([self.scale * (end - self.zero)], np.float32) for name, end in (("min", -128), ("max", 127))}


def step_of(grid: Grid) -> Step | None:
    """A grid as int8; None where it is not one of 8 bits for the whole tensor."""
    if grid.bits != 8 or len(grid.scale) != 1:
        return None
    return Step(grid.scale[0], grid.zero_point[0] - (0 if grid.signed else 128))


def steps_of(hub: Path, path: Path, spec: Spec, samples: Sequence[list[Array]]) -> dict[str, Step]:
    """Tensor of the float file → the grid of the hub's tensor that has its values in every sample."""
    known = {name: step for name, grid in spec.activations.items() if (step := step_of(grid)) is not None}
    runner, inner = OnnxRuntime(hub), inner_tensors(path, read(path))
    inputs = [one["name"] for one in runner.inputs]
    scores: dict[str, dict[str, float]] = {}
    for feeds in samples:
        truth = {**dict(zip(inputs, feeds, strict=True)), **runner.tensors(feeds)}
        truth = {name: values for name, values in truth.items() if name in known and values.any()}
        for name, values in inner(feeds):
            for other, expected in truth.items():
                if expected.size == values.size and scores.get(name, {}).get(other, NEAR_DB) >= NEAR_DB:
                    found = figures(expected, values)[0]
                    scores.setdefault(name, {})[other] = min(found, scores.get(name, {}).get(other, found))
    best = {name: max(ones, key=lambda one: (ones[one], one == name)) for name, ones in scores.items()}
    return spread(read(path), {name: known[other] for name, other in best.items() if scores[name][other] >= NEAR_DB})


def spread(model: TfliteFile, steps: Mapping[str, Step]) -> dict[str, Step]:
    """The same with what operators that compute nothing hand on."""
    found, tensors = dict(steps), model.table.subgraphs[0].tensors
    for op in model.operators():
        source = (tensors[op.inputs[0]].name or b"").decode() if op.inputs else ""
        if op.kind in PASSING and source in found:
            found.setdefault(op.output, found[source])
    return found


def quantize(source: Path, steps: Mapping[str, Step], scales: dict[bytes, float], integer_ends: bool) -> tuple[TfliteFile, list[str]]:
    """The file in integers, and notes.

    Args:
        scales: of slices of weights, as `slices.scales_of` gives them.
    """
    from litert_quantizer import Quantizer

    model = read(source)
    ops = list(model.operators())
    wholes = {op.output: whole for op in ops if (whole := weights_of(model, op, scales)) is not None}
    biases = {op.output: constant(model, bias) for op in ops if (bias := bias_of(op)) is not None}
    rules, notes = left_float(ops, integer_ends)
    left = [op for op in ops if not in_integers(model, op, steps, wholes)]
    named = [op for op in left if op.kind in PLACES]
    if named:
        notes.append(f"computed in float32, because not all of their scales were learned: {listed([f'{op.kind} {op.output}' for op in named])}")
    quantizer = Quantizer(str(source), [*rules_for("w8a8"), *rules, *map(untouched, left)])
    ranges = {name: step.range for name, step in steps.items()}
    made = read(bytes(quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model))
    other = exact_steps(made, steps)
    if other:
        notes.append(f"{other} {'tensor has' if other == 1 else 'tensors have'} another scale than the learned one, because the kernels take no other")
    for op in made.operators():
        if op.output in wholes and made.table.subgraphs[0].tensors[op.inputs[1]].type == INT8:
            exact_layer(made, op, wholes[op.output], biases.get(op.output))
    return made, notes


def weights_of(model: TfliteFile, op: Operator, scales: dict[bytes, float]) -> Whole | None:
    """The Spec's integers of a layer's weights, along the axis that its kernel takes."""
    values = constant(model, op.inputs[1]) if op.kind in PLACES else None
    return None if values is None else on_grid(values, [PLACES[op.kind][1], WHOLE], scales)


def bias_of(op: Operator) -> int | None:
    place = 3 if op.kind == "TRANSPOSE_CONV" else 2
    return op.inputs[place] if op.kind in PLACES and len(op.inputs) > place and op.inputs[place] >= 0 else None


def in_integers(model: TfliteFile, op: Operator, steps: Mapping[str, Step], wholes: Mapping[str, Whole]) -> bool:
    """Whether all is known that an operator needs: grids of what it reads and gives, integers of its weights."""
    graph = model.table.subgraphs[0]
    floats = [i for i in [*op.inputs, *op.outputs] if i >= 0 and graph.tensors[i].type == FLOAT32 and constant(model, i) is None]
    return all((graph.tensors[i].name or b"").decode() in steps for i in floats) and (op.kind not in PLACES or op.output in wholes)


def exact_steps(model: TfliteFile, steps: Mapping[str, Step]) -> int:
    """Give tensors the Spec's own scales; how many have others by the rules of their kernels."""
    other = 0
    for tensor in model.table.subgraphs[0].tensors:
        step = steps.get((tensor.name or b"").decode().removesuffix("_quantized"))
        if step is None or tensor.type != INT8 or tensor.quantization is None:
            continue
        scale, zero = tensor.quantization.scale, tensor.quantization.zeroPoint
        if abs(scale[0] - step.scale) <= 1e-3 * step.scale and abs(int(zero[0]) - step.zero) <= 1:
            tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([step.scale], np.float32), np.array([step.zero], np.int64)
        else:
            other += 1
    return other


def exact_layer(model: TfliteFile, op: Operator, whole: Whole, bias: Array | None) -> None:
    """Put the Spec's integers and scales in the place of a layer's own; its bias in steps of their product with the input's scale."""
    tensors: Any = model.table.subgraphs[0].tensors
    weights = tensors[op.inputs[1]]
    axis = PLACES[op.kind][1]
    scale = np.broadcast_to(whole.scale, [whole.values.shape[axis]]).astype(np.float32)
    put(model, op.inputs[1], whole.values)
    weights.quantization.scale, weights.quantization.zeroPoint = scale, np.zeros(scale.size, np.int64)
    weights.quantization.quantizedDimension = axis
    place = bias_of(op)
    if place is not None and bias is not None:
        step = np.float32(tensors[op.inputs[PLACES[op.kind][0]]].quantization.scale[0]) * scale
        put(model, place, np.rint(bias.astype(np.float64) / step).astype(np.int32))
        tensors[place].quantization.scale, tensors[place].quantization.zeroPoint = step, np.zeros(step.size, np.int64)
