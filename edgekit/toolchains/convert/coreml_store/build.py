"""A MIL program and the form of each of its weights in, the program with those weights in their forms out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.models.utils import _apply_graph_pass

from edgekit.toolchains.convert.coreml_store.forms import Array, Form
from edgekit.toolchains.convert.quantize.coreml_weights import is_matrix

IOS17, IOS18 = 8, 9
"""Specification versions."""


class Weights(AbstractGraphPass):  # type: ignore[misc]
    """Changes nothing: reads the constants that layers read, by the names of their operations."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def apply(self, program: Any) -> None:
        self.found = {one.name: one for function in program.functions.values() for one in function.operations if is_weight(one)}


def is_weight(operation: Any) -> bool:
    """Whether it is a float constant, of two axes at least, that only layers read."""
    return is_matrix(operation, least=0)


def weights(model: Any) -> dict[str, Any]:
    """The operations of a model's weights, by name, in order of computation."""
    found = Weights()
    _apply_graph_pass(model, found, spec_version=IOS17, return_pymil_prog=True)
    return found.found


def stored(model: Any, chosen: Mapping[str, Form], new: bool) -> Any:
    """The model with each of these weights, by name of the operation, in its form; `new`: for iOS 18."""
    return _apply_graph_pass(model, Small(chosen, new), spec_version=IOS18 if new else IOS17)


class Small(AbstractGraphPass):  # type: ignore[misc]
    """Weights become what makes them when the model is loaded."""

    def __init__(self, chosen: Mapping[str, Form], new: bool) -> None:
        self.chosen, self.new = chosen, new

    def apply(self, program: Any) -> None:
        for function in program.functions.values():
            with function:
                for operation in [one for one in function.operations if one.op_type == "const" and one.name in self.chosen]:
                    old = operation.outputs[0]
                    made = (ios18 if self.new else ios16)(self.chosen[operation.name], old.shape, operation)
                    function.replace_uses_of_var_after_op(anchor_op=operation, old_var=old, new_var=made, force_replace=True)
                    function.remove_ops([operation])


def ios16(form: Form, shape: tuple[int, ...], before: Any) -> Any:
    """The form in the operations of iOS 16, which take packed bytes and one table."""
    name = {"before_op": before, "name": f"{before.name}_{form.kind}"}
    sizes = np.array(shape, np.uint32)
    if form.kind == "integers":
        assert form.scale is not None
        axis = next((i for i, n in enumerate(form.scale.shape) if n > 1), 0)
        # A vector even where one scale is for all: its size has to be the axis', and a scalar's need not.
        scale = form.scale.reshape(-1) if form.scale.size > 1 else form.scale.reshape(())
        zero = np.zeros(scale.shape, np.int8) if form.offset is None else form.offset.reshape(scale.shape)
        return mb.constexpr_affine_dequantize(quantized_data=form.data, zero_point=zero, scale=scale, axis=np.int32(axis), **name)
    if form.kind == "palette":
        assert form.lut is not None
        return mb.constexpr_lut_to_dense(indices=packed(form.data, form.bits), lut=form.lut.reshape(-1), shape=sizes, **name)
    assert form.mask is not None
    return mb.constexpr_sparse_to_dense(nonzero_data=form.data, mask=packed(form.mask, 1), shape=sizes, **name)


def packed(values: Array, bits: int) -> Array:
    """Elements of so many bits, from the least significant bit on (uint8)."""
    wide = np.unpackbits(values.reshape(-1, 1).astype(np.uint8), axis=1, count=bits, bitorder="little")
    return np.packbits(wide, bitorder="little")


def ios18(form: Form, shape: tuple[int, ...], before: Any) -> Any:
    """The form in the operations of iOS 18, which take types of less than a byte, and each other's results."""
    at, name = {"before_op": before}, f"{before.name}_{form.kind.replace(' ', '_')}"
    mask = None if form.mask is None else narrow(form.mask, "uint1")
    if form.kind == "integers":
        return mb.constexpr_blockwise_shift_scale(**of_integers(form, "data"), name=name, **at)
    if form.kind == "palette":
        return mb.constexpr_lut_to_dense(indices=narrow(form.data, f"uint{form.bits}"), lut=table(form, before), name=name, **at)
    if form.kind == "sparse":
        return mb.constexpr_sparse_to_dense(nonzero_data=form.data, mask=mask, name=name, **at)
    if form.kind == "sparse integers":
        given = of_integers(form, "nonzero_data")
        mask, values = mb.constexpr_sparse_blockwise_shift_scale(data_mask=mask, **given, name=f"{name}_values", **at)
    else:
        indices = narrow(form.data, f"uint{form.bits}")
        mask, values = mb.constexpr_lut_to_sparse(indices_mask=mask, indices_nonzero_data=indices, lut=table(form, before), name=f"{name}_values", **at)
    return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask, name=name, **at)


def of_integers(form: Form, parameter: str) -> dict[str, Any]:
    """Parameters of an operation that scales integers."""
    dtype = f"int{form.bits}"
    given = {parameter: narrow(form.data, dtype), "scale": form.scale}
    return given | ({} if form.offset is None else {"offset": narrow(form.offset, dtype)})


def table(form: Form, before: Any) -> Any:
    """The palette; one of integers is scaled first, since systems before iOS 26 do not scale what a palette gives rightly
    (coremltools, canonicalize_quantized_lut_pattern)."""
    if form.scale is None:
        return form.lut
    return mb.constexpr_blockwise_shift_scale(data=form.lut, scale=form.scale, before_op=before, name=f"{before.name}_entries")


def narrow(values: Array, dtype: str) -> Array:
    """The same integers in coremltools' type of less than a byte."""
    return values.astype(types.nptype_from_builtin(types.string_to_builtin(dtype)))
