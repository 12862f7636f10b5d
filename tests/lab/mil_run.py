"""Runs in the `convert` toolchain: packages and feeds in, outputs out.

    python mil_run.py <edgekit/toolchains/convert> <package> <feeds.npz> <outputs.npz>

Feeds and outputs are arrays by feature name. Printed: {"inputs", "outputs": [[name, dtype, shape]], "names": {feature: model's own name},
"dtypes": {value: dtype recorded for it}}; or {"error": class, "message"} where the evaluator refuses.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(sys.argv[1])
from mil.evaluate import EvaluationError, Program

try:
    program = Program(Path(sys.argv[2]))
    every = program.run(dict(np.load(sys.argv[3])), keep=True)
    np.savez(sys.argv[4], **{f.name: every[f.name] for f in program.outputs})
    print(
        json.dumps(
            {
                "inputs": [[f.name, f.dtype, list(f.shape)] for f in program.inputs],
                "outputs": [[f.name, f.dtype, list(f.shape)] for f in program.outputs],
                "names": program.model_names,
                "dtypes": {name: array.dtype.name for name, array in every.items()},
                "ops": [step.op_type for step in program.steps],
            }
        )
    )
except EvaluationError as exc:
    print(json.dumps({"error": type(exc).__name__, "message": str(exc)}))
