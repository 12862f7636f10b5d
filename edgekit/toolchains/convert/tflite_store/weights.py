"""A float .tflite file and its constants' integers in; the same with each constant in the type that downloads smallest at full speed out.

Integers stand before a DEQUANTIZE, what is left without zeros before a DENSIFY: XNNPACK computes both once, when the file is loaded. It does so
for int8, and not for INT4 and INT2, with which layers lose XNNPACK: so those are int8 too, and few different integers deflate well.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.toolchains.convert.quantize.tflite_layers import PLACES, constant
from edgekit.toolchains.convert.runtime.runners import Array
from edgekit.toolchains.convert.tflite.file import FLOAT32, TfliteFile
from edgekit.toolchains.convert.tflite_store.edit import compute, new_tensor
from edgekit.toolchains.convert.tflite_store.slices import WHOLE, Whole, even, on_grid, pattern
from edgekit.toolchains.convert.tflite_store.sparse import content, sparsity

FLOAT16, INT8 = 1, 9
"""Tensor types of the schema."""

OPERANDS = {kind: (1, axis) for kind, (_, axis) in PLACES.items()} | {"GATHER": (0, 0)}
"""Operator → which operand the weights are, and their axis of output channels. TFLite computes a table's DEQUANTIZE once too, in the first run."""

LEAST_BYTES = 512
"""Of a smaller constant a tensor and an operator more take what is saved."""

TENSOR_BYTES = 160
"""What a tensor with its operator takes beside its values and scales."""

KEPT = 16
"""A byte on the device counts this much less than one that is downloaded."""

SAMPLE = 1 << 20
"""Of a larger constant so many bytes are deflated to judge by."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to store a constant."""

    values: Array
    dtype: int
    whole: Whole | None = None
    sparse: bool = False


@dataclass(slots=True)
class Done:
    """What was stored how, for notes: numbers of constants."""

    integers: int = 0
    halves: int = 0
    sparse: int = 0
    floats: int = 0


def store(model: TfliteFile, known: dict[bytes, float]) -> Done:
    """Every weight of the main graph in its best form; `known` as `slices.scales_of` gives it."""
    graph, done, added = model.table.subgraphs[0], Done(), []
    for index, axis in weights(model).items():
        values = constant(model, index)
        assert values is not None
        form = best(values, [axis, *(i for i in range(values.ndim) if i != axis), WHOLE], known)
        done.integers += form.whole is not None
        done.halves += form.dtype == FLOAT16
        done.sparse += form.sparse
        done.floats += form.dtype == FLOAT32 and not form.sparse
        if form.dtype != FLOAT32 or form.sparse:
            added += put(model, index, form)
    graph.operators = [*added, *graph.operators]
    return done


def weights(model: TfliteFile) -> dict[int, int]:
    """Float constants that are worth it and are operands of layers, or looked up in → the axis of output channels, or of rows."""
    found: dict[int, int] = {}
    for op in model.operators():
        place, axis = OPERANDS.get(op.kind, (None, 0))
        if place is not None and op.inputs[place] not in model.table.subgraphs[0].outputs:
            values = constant(model, op.inputs[place])
            if values is not None and values.nbytes >= LEAST_BYTES:
                found.setdefault(op.inputs[place], axis)
    return found


def best(values: Array, axes: list[int], known: dict[bytes, float]) -> Form:
    """The form that costs least, of those that give the values back."""
    whole = on_grid(values, axes, known) or pattern(values, axes) or even(values)
    forms = [Form(values, FLOAT32)]
    if whole is not None:
        forms.append(Form(whole.values, INT8, whole))
    elif np.array_equal(half := half_of(values), values):
        forms.append(Form(half, FLOAT16))
    if (values == 0).mean() > 0.25:
        forms += [Form(one.values, one.dtype, one.whole, sparse=True) for one in forms if one.dtype != FLOAT16]
    return min(forms, key=cost)


def half_of(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def cost(form: Form) -> float:
    """Bytes after deflate, and a little of those before it."""
    stored = content(*sparsity(form.values)) if form.sparse else form.values.tobytes()
    sample = stored[:SAMPLE]
    deflated = len(zlib.compress(sample, 6)) * len(stored) / max(len(sample), 1)
    steps = form.sparse + (form.dtype != FLOAT32)
    scales = form.whole.scale.nbytes * 3 if form.whole else 0  # zero points are int64
    return deflated + len(stored) / KEPT + scales / 2 + steps * TENSOR_BYTES


def put(model: TfliteFile, index: int, form: Form) -> list[Any]:
    """Store a constant in a form; the operators that make it float32 again."""
    scale, axis = (form.whole.scale, max(form.whole.axis, 0)) if form.whole else (None, 0)
    values, where = sparsity(form.values) if form.sparse else (form.values, None)
    if form.dtype == FLOAT32:
        return [compute(model, "DENSIFY", new_tensor(model, index, values, FLOAT32, sparsity=where), index)]
    source = new_tensor(model, index, values, form.dtype, scale, axis, where)
    if not form.sparse:
        return [compute(model, "DEQUANTIZE", source, index)]
    dense = new_tensor(model, index, None, form.dtype, scale, axis)
    return [compute(model, "DENSIFY", source, dense), compute(model, "DEQUANTIZE", dense, index)]
