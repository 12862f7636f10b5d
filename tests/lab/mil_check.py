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
import mil_cases_shape
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types

sys.path.append(sys.argv[1])
from mil.evaluate import OPS, UnknownOp
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
    return plain


def distance(got: Any, expected: Any) -> float:
    """Largest error relative to the expected range; infinite where the shapes differ."""
    expected = np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(got - expected))) / max(float(np.ptp(expected)), float(np.max(np.abs(expected))), 1e-6)


def unknown(path: Path) -> dict[str, str]:
    """What loading a program with `affine`, for which there is no rule, raises."""
    modes = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "coordinates_mode": "normalized_minus_one_to_one"}
    x = np.ones((1, 1, 4, 4), np.float32)
    matrix = np.ones((1, 6), np.float32)
    case = mil_cases.Case("affine", [x], lambda v: mb.affine(x=v, transform_matrix=matrix, output_height=2, output_width=2, align_corners=True, **modes), None)
    package([case], path, ct.target.iOS17)
    try:
        Evaluated(path)
    except UnknownOp as exc:
        return {"error": type(exc).__name__, "message": str(exc)}
    return {}


def main(scratch: Path) -> None:
    errors: dict[str, dict[str, float]] = {}
    met: set[str] = set()
    for family in FAMILIES:
        path = scratch / f"{family.__name__}.mlpackage"
        cases = family()
        feeds = package(cases, path, ct.target.iOS18 if family.__name__ == "ios18" else ct.target.iOS17)
        program = Evaluated(path)
        results = program.run(feeds)
        met |= {step.op_type for step in program.steps}
        errors[family.__name__] = {case.name: distance(results[f"o{n}"], case.expected) for n, case in enumerate(cases)}
    json.dump({"errors": errors, "uncovered": sorted(set(OPS) - met), "unknown": unknown(scratch / "unknown.mlpackage")}, sys.stdout)


main(Path(sys.argv[2]))
