"""Runs in the `convert` toolchain: one sound package in, JSON out: what the evaluator does with damaged copies of it.

    python mil_hostile.py <edgekit/toolchains/convert> <package> <scratch folder> <how many>

Bits are flipped in, and bytes cut off, its model.mlmodel and weight.bin. Printed: {"refused": n, "evaluated": n, "other": [what else was raised],
"crafted": {what was done: the refusal}}.
"""

import json
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(sys.argv[1])
from mil.evaluate import EvaluationError, Program
from mil.schema import parse

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # an allocation beyond what any of these needs fails, and is then seen
SPEC, WEIGHTS = "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"


def outcome(package: Path, feeds: dict[str, Any]) -> str:
    try:
        program = Program(package)
        program.run({**feeds, **{f.name: np.zeros(f.shape, f.dtype) for f in program.inputs if -1 not in f.shape and f.name not in feeds}})
    except EvaluationError as exc:
        return f"refused: {exc}"
    except Exception as exc:  # noqa: BLE001  anything else is what this looks for
        return f"other: {type(exc).__name__}: {exc}"
    return "evaluated"


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.2:
        return data[: rng.integers(0, len(data))]
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 6)):
        changed[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def block(model: Any) -> Any:
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def cycle(model: Any) -> None:
    """The first computed operation reads what the last one gives."""
    operations = block(model).operations
    first = next(op for op in operations if op.type == "conv")
    first.inputs["x"].arguments[0].name = operations[-1].outputs[0].name


def unknown_op(model: Any) -> None:
    next(op for op in block(model).operations if op.type == "relu").type = "relv"


def wrong_offset(model: Any) -> None:
    value(model).blobFileValue.offset += 64


def far_offset(model: Any) -> None:
    value(model).blobFileValue.offset = 1 << 60


def value(model: Any) -> Any:
    return next(v for op in block(model).operations for v in op.attributes.values() if v.HasField("blobFileValue"))


def huge_value(model: Any) -> None:
    for dimension in value(model).type.tensorType.dimensions:
        dimension.constant.size = 1 << 40


def huge_result(model: Any) -> None:
    for operation in block(model).operations:
        if operation.type == "conv":
            for dimension in operation.outputs[0].type.tensorType.dimensions:
                dimension.constant.size = 1 << 40


def huge_pad(model: Any) -> None:
    """A convolution padded to terabytes."""
    for operation in block(model).operations:
        if operation.type == "const" and operation.outputs[0].name.endswith("pad_0") and "pad_type" not in operation.outputs[0].name:
            held = operation.attributes["val"].immediateValue.tensor.ints.values
            held[:] = [1 << 30] * len(held)
        if operation.type == "const" and "pad_type" in operation.outputs[0].name:
            operation.attributes["val"].immediateValue.tensor.strings.values[:] = ["custom"]


def elsewhere(model: Any) -> None:
    value(model).blobFileValue.fileName = "@model_path/../../../../etc/passwd"


CRAFTED: list[Callable[[Any], None]] = [cycle, unknown_op, wrong_offset, far_offset, huge_value, huge_result, huge_pad, elsewhere]


def main(package: Path, scratch: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    feeds = {f.name: rng.standard_normal(f.shape).astype(f.dtype) for f in Program(package).inputs}
    sound = {name: (package / name).read_bytes() for name in (SPEC, WEIGHTS)}
    copy = scratch / "damaged.mlpackage"
    shutil.copytree(package, copy)
    told: dict[str, Any] = {"refused": 0, "evaluated": 0, "other": [], "crafted": {}}
    for index in range(count):
        name = SPEC if index % 4 else WEIGHTS
        for one, data in sound.items():
            (copy / one).write_bytes(damaged(data, rng) if one == name else data)
        found = outcome(copy, feeds)
        kind = found.partition(":")[0]
        if kind == "other":
            told["other"].append(found)
        else:
            told[kind] += 1
    for change in CRAFTED:
        model = parse(sound[SPEC])
        change(model)
        (copy / SPEC).write_bytes(model.SerializeToString())
        (copy / WEIGHTS).write_bytes(sound[WEIGHTS])
        told["crafted"][change.__name__] = outcome(copy, feeds)
    print(json.dumps(told))


main(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
