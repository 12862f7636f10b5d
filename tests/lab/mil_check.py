"""Runs in the `convert` toolchain: cases of MIL operations in, JSON out: how far the evaluator is from what they must give.

    python mil_check.py <edgekit/toolchains/convert> <scratch folder>

Each family becomes one ML Program, built with coremltools' builder, saved as a package without optimisation, loaded and evaluated.
Printed: {"errors": {family: {case: largest error relative to the expected range}}, "uncovered": [operations without a case],
"unknown": what the evaluator says of an operation that it does not have}.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import mil_cases
import mil_cases_more
import mil_cases_shape
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, get_new_symbol, types

sys.path.append(sys.argv[1])
from mil.evaluate import OPS, EvaluationError, UnknownOp
from mil.evaluate import Program as Evaluated

TYPES = {"float32": types.fp32, "int32": types.int32, "bool": types.bool}
FAMILIES: list[Callable[[], list[mil_cases.Case]]] = [
    mil_cases.elementwise,
    mil_cases.conv,
    mil_cases.pool,
    mil_cases.normalization,
    mil_cases.reduce,
    mil_cases_shape.shape,
    mil_cases_shape.gather,
    mil_cases_shape.resize,
    mil_cases_shape.recurrent,
    mil_cases_shape.constexpr,
    mil_cases_shape.quantization,
    mil_cases_shape.ios18,
    mil_cases_more.rearranged,
    mil_cases_more.image,
    mil_cases_more.control,
    mil_cases_more.constexpr18,
]


def package(cases: list[mil_cases.Case], path: Path, target: Any) -> dict[str, Any]:
    """Save the cases as one program; the feeds of its inputs. Booleans cross the boundary as integers."""
    feeds = {f"c{n}_{i}": np.asarray(array) for n, case in enumerate(cases) for i, array in enumerate(case.inputs)}
    plain = {name: array.astype(np.int32) if array.dtype == bool else array for name, array in feeds.items()}
    specs = {name: mb.placeholder(shape=array.shape, dtype=TYPES[array.dtype.name]) for name, array in plain.items()}
    with Function(specs, opset_version=target) as function:
        outputs = []
        for n, case in enumerate(cases):
            given = [function.inputs[f"c{n}_{i}"] for i in range(len(case.inputs))]
            given = [mb.cast(x=v, dtype="bool") if a.dtype == bool else v for v, a in zip(given, case.inputs, strict=True)]
            made = case.build(*given)
            if types.is_bool(made.dtype):
                made = mb.cast(x=made, dtype="int32")
            outputs.append(mb.identity(x=made, name=f"o{n}"))
        function.set_outputs(outputs)
    save(function, path, target)
    return plain


def save(function: Any, path: Path, target: Any) -> None:
    """The function as a package, not optimised."""
    program = Program()
    program.add_function("main", function)
    ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    ).save(str(path))


def distance(got: Any, expected: Any) -> float:
    """Largest error relative to the expected range; infinite where the shapes differ."""
    expected = np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(got - expected))) / max(float(np.ptp(expected)), float(np.max(np.abs(expected))), 1e-6)


def unknown(path: Path) -> dict[str, str]:
    """What loading a program with a random operation, for which there is no rule, raises."""
    x = np.ones((1, 4), np.float32)
    case = mil_cases.Case("random", [x], lambda v: mb.add(x=v, y=mb.random_normal(shape=[1, 4])), None)
    package([case], path, ct.target.iOS17)
    try:
        Evaluated(path)
    except UnknownOp as exc:
        return {"error": type(exc).__name__, "message": str(exc)}
    return {}


def states(path: Path) -> dict[str, float]:
    """A program that adds its input to a state and gives twice the sum: run twice with one state, once without."""
    specs = {"x": mb.placeholder(shape=(2, 3), dtype=types.fp32), "sum": mb.state_tensor_placeholder(shape=(2, 3), dtype=types.fp16)}
    with Function(specs, opset_version=ct.target.iOS18) as function:
        held = mb.cast(x=mb.read_state(input=function.inputs["sum"]), dtype="fp32")
        new = mb.cast(x=mb.add(x=held, y=function.inputs["x"]), dtype="fp16")
        given = mb.coreml_update_state(state=function.inputs["sum"], value=new)
        function.set_outputs([mb.mul(x=mb.cast(x=given, dtype="fp32"), y=np.float32(2), name="y")])
    save(function, path, ct.target.iOS18)
    program = Evaluated(path)
    x = np.float32([[1, 2, 3], [4, 5, 6]])
    state = program.make_state()
    first, second = (program.run({"x": x}, state=state)["y"] for _ in range(2))
    return {"first": distance(first, 2 * x), "second": distance(second, 4 * x), "without": distance(program.run({"x": x})["y"], 2 * x)}


def flexible(path: Path, enumerated: bool) -> dict[str, Any]:
    """A program whose batch is open, with a range or two shapes described: what it gives at which batch, or why it refuses."""
    with Function({"x": mb.placeholder(shape=(get_new_symbol(), 3), dtype=types.fp32)}, opset_version=ct.target.iOS17) as function:
        x = function.inputs["x"]
        total = mb.reduce_sum(x=x, axes=[1], keep_dims=True)
        function.set_outputs([mb.concat(values=[x, total], axis=1, name="y")])
    save(function, path, ct.target.iOS17)
    file = path / "Data/com.apple.CoreML/model.mlmodel"
    spec = ct.utils.load_spec(str(path))
    array = spec.description.input[0].type.multiArrayType
    array.ClearField("shapeRange")
    array.shape[:] = [2, 3]
    if enumerated:
        for batch in (2, 5):
            array.enumeratedShapes.shapes.add(shape=[batch, 3])
    else:
        array.shapeRange.sizeRanges.add(lowerBound=2, upperBound=4)
        array.shapeRange.sizeRanges.add(lowerBound=3, upperBound=3)
    file.write_bytes(spec.SerializeToString())
    program = Evaluated(path)
    told: dict[str, Any] = {"shape": [list(f.shape) for f in (*program.inputs, *program.outputs)]}
    for batch in (1, 2, 3, 5):
        x = np.arange(3.0 * batch, dtype=np.float32).reshape(batch, 3)
        try:
            told[str(batch)] = distance(program.run({"x": x})["y"], np.concatenate([x, x.sum(1, keepdims=True)], 1))
        except EvaluationError as exc:
            told[str(batch)] = str(exc)
    return told


def main(scratch: Path) -> None:
    errors: dict[str, dict[str, float]] = {}
    met: set[str] = set()
    for family in FAMILIES:
        path = scratch / f"{family.__name__}.mlpackage"
        cases = family()
        feeds = package(cases, path, ct.target.iOS18 if "18" in family.__name__ else ct.target.iOS17)
        program = Evaluated(path)
        results = program.run(feeds)
        met |= program.op_types
        errors[family.__name__] = {case.name: distance(results[f"o{n}"], case.expected) for n, case in enumerate(cases)}
    errors["state"] = states(scratch / "state.mlpackage")
    met |= {"read_state", "write_state", "coreml_update_state"}
    open_ = {kind: flexible(scratch / f"{kind}.mlpackage", kind == "enumerated") for kind in ("range", "enumerated")}
    json.dump({"errors": errors, "uncovered": sorted(set(OPS) - met), "unknown": unknown(scratch / "unknown.mlpackage"), "flexible": open_}, sys.stdout)


main(Path(sys.argv[2]))
