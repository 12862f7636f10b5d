"""ONNX's own backend suite in, the cases of it that a mobile format is asked for out: float, integer and bool inference ops.

The suite gives nearly everything as an input. An exporter writes weights, axes, shapes, pads, scales and the like as constants:
`CONSTANT` says which inputs of which operator become initializers here. Data inputs (indices of a Gather, masks, states, positions) stay
inputs.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

Array = np.ndarray[Any, Any]
DTYPES = ("FLOAT", "DOUBLE", "FLOAT16", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")
TRAINING = {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "Momentum", "Adagrad", "Adam", "Gradient"}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
TEXT = {"TfIdfVectorizer", "StringNormalizer", "LabelEncoder"}
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

CONSTANT: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "BlackmanWindow": (0,),
    "CausalConvWithState": (1, 2),
    "CenterCropPad": (1,),
    "Clip": (1, 2),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Conv": (1, 2),
    "ConvInteger": (1, 2, 3),
    "ConvTranspose": (1, 2),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "DeformConv": (1, 3),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "GRU": (1, 2, 3, 4),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3, 4, 7),
    "LayerNormalization": (1, 2),
    "MatMulInteger": (1, 2, 3),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1, 2),
    "PRelu": (1,),
    "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 3, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RMSNormalization": (1,),
    "RNN": (1, 2, 3, 4),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "RotaryEmbedding": (1, 2),
    "STFT": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **{f"Reduce{name}": (1,) for name in REDUCTIONS},
}
"""Operator → the inputs that exporters write as constants."""


ROUNDED = ("DFT",)
"""Operators whose expected values are rounding noise where the truth is 0: one unit of float32 at the range of the output is allowed."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its model with constants stored, the inputs that are left, the outputs that the suite expects, its tolerance."""

    name: str
    op: str
    model: onnx.ModelProto
    inputs: list[Array]
    outputs: list[Array]
    rtol: float
    atol: float


def collect() -> tuple[list[Case], Counter[str]]:
    """The cases, sorted by name, and how many of the suite are left out, by reason."""
    from onnx.backend.test.case.node import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [(case.name, case.model, case.data_sets, case.rtol, case.atol) for case in collect_testcases(None)]
    for kind in ("simple", "pytorch-operator", "pytorch-converted"):
        for case in load_model_tests(kind=kind):
            model, data = stored(Path(case.model_dir or ""))
            found.append((f"{kind}/{case.name}", model, data, case.rtol, case.atol))
    cases, left_out = [], Counter[str]()
    for name, model, data, rtol, atol in sorted(found, key=lambda one: one[0]):
        reason = excluded(name, model) or unusable(data[0])
        if reason:
            left_out[reason] += 1
        else:
            cases.append(prepared(name, model, *data[0], rtol, atol))
    return cases, left_out


def stored(folder: Path) -> tuple[onnx.ModelProto, Any]:
    """A case of the suite's data folders: its model and its first set of inputs and outputs."""
    model = onnx.load(folder / "model.onnx")
    sets = []
    for kind in ("input", "output"):
        arrays = []
        for index in range(len(list((folder / "test_data_set_0").glob(f"{kind}_*.pb")))):
            tensor = TensorProto()
            try:
                tensor.ParseFromString((folder / "test_data_set_0" / f"{kind}_{index}.pb").read_bytes())
                arrays.append(numpy_helper.to_array(tensor))
            except Exception:  # noqa: BLE001  a sequence, which `excluded` leaves out by its type
                arrays.append(np.zeros(0))
        sets.append(arrays)
    return model, [tuple(sets)]


def excluded(name: str, model: onnx.ModelProto) -> str | None:
    """Why a case of the suite is no inference on floats, integers and bools, or None."""
    nodes = list(model.graph.node)
    ops = {node.op_type for node in nodes}
    if "_expanded" in name:
        return "the same case written out by its operator's definition"
    if any(node.domain == "ai.onnx.preview.training" for node in nodes) or ops & TRAINING or "training" in name or "gradient" in name:
        return "training"
    kinds = [kind_of(value) for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]]
    kinds += [TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer]
    strange = sorted(set(kinds) - set(DTYPES))
    if any(kind.endswith("type") for kind in strange) or any(op.startswith(("Sequence", "Optional", "SplitToSequence")) for op in ops):
        return "sequence, optional and map types"
    if "STRING" in strange or ops & TEXT:
        return "text"
    if strange:
        return "bfloat16" if strange == ["BFLOAT16"] else "8-bit floats, and integers and floats of 2 and 4 bits"
    if any(node.domain not in ("", "ai.onnx") for node in nodes):
        return "other operator sets (ai.onnx.ml, ai.onnx.preview)"
    if ops & RANDOM or (ops == {"Dropout"} and "random" in name):
        return "random numbers"
    return None


def unusable(data: Any) -> str | None:
    """Of some cases that once came out of PyTorch, the float64 inputs are memory that was never written."""
    arrays = [values(array) for array in data[0]]
    large = [array for array in arrays if array.dtype == np.float64 and np.any(np.abs(array[np.isfinite(array)]) > np.finfo(np.float32).max)]
    return "inputs that were never written" if large else None


def values(array: Any) -> Array:
    """An input or output of a case; some are stored as TensorProto."""
    return numpy_helper.to_array(array) if isinstance(array, TensorProto) else np.asarray(array)


def kind_of(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value") or "no type"
    return TensorProto.DataType.Name(value.type.tensor_type.elem_type) if kind == "tensor_type" else kind


def prepared(name: str, source: onnx.ModelProto, inputs: Any, outputs: Any, rtol: float, atol: float) -> Case:
    """The case with the inputs that `CONSTANT` names as initializers."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    graph = model.graph
    constant = {node.input[index] for node in graph.node for index in CONSTANT.get(node.op_type, ()) if index < len(node.input)}
    data = {name for node in graph.node for index, name in enumerate(node.input) if index not in CONSTANT.get(node.op_type, ())}
    held = {tensor.name for tensor in graph.initializer}
    left = []
    for value, array in zip([v for v in graph.input if v.name not in held], inputs, strict=False):
        if value.name in constant - data:
            graph.initializer.append(numpy_helper.from_array(values(array), value.name))
        else:
            left.append((value, values(array)))
    kept = [onnx.ValueInfoProto() for _ in left]
    for copy, (value, array) in zip(kept, left, strict=True):
        copy.CopyFrom(onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, array.shape))
    del graph.input[:]
    graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)
    op = graph.node[0].op_type if len(graph.node) == 1 else "several operators"
    expected = [values(array) for array in outputs]
    if op in ROUNDED:
        atol = max(atol, max(np.finfo(np.float32).eps * float(np.abs(array).max()) for array in expected))
    return Case(name, op, model, [array for _, array in left], expected, rtol, atol)
