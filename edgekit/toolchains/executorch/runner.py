"""A .pte file in, a Runner of it out: ExecuTorch's runtime with XNNPACK, on one thread."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.toolchains.convert.runtime.runners import Array, CannotRunError, Spec

BOUNDARY = "edgekit_boundary"
FAULTS = (RuntimeError, ValueError, TypeError, IndexError)
runtime = importlib.import_module("executorch.extension.pybindings._C")


class ExecuTorch:
    """One loaded program. Names are those that edgekit has put into the file; else `input_0`, `output_0` and so on."""

    delegate = "XNNPACK"

    def __init__(self, path: Path) -> None:
        torch.set_num_threads(1)
        runtime._unsafe_reset_threadpool(1)
        try:
            self.module = runtime._load_for_executorch(str(path))
            self.inputs, self.outputs = boundary(self.module)
        except FAULTS as exc:
            raise CannotRunError(f"ExecuTorch does not load it ({' '.join(str(exc).split())[:300]})") from exc

    def run(self, feeds: list[Array]) -> list[Array]:
        try:
            found = self.module.run_method("forward", tuple(torch.from_numpy(np.array(feed)) for feed in feeds))
        except FAULTS as exc:
            raise CannotRunError(f"ExecuTorch does not run it ({' '.join(str(exc).split())[:300]})") from exc
        return [np.array(value.numpy()) for value in found]  # the runtime writes the next results over these


open_runner = ExecuTorch


def boundary(module: Any) -> tuple[list[Spec], list[Spec]]:
    """Inputs and outputs of `forward`."""
    meta = module.method_meta("forward")
    named: dict[str, list[Spec]] = {}
    if BOUNDARY in module.method_names():
        named = json.loads(bytes(module.run_method(BOUNDARY, ())[0].tolist()))
    sides = []
    for side, count, tensor in (("inputs", meta.num_inputs(), meta.input_tensor_meta), ("outputs", meta.num_outputs(), meta.output_tensor_meta)):
        found = []
        for index in range(count):
            dtype = DTYPES[tensor(index).dtype()]
            name = named[side][index]["name"] if side in named else f"{side[:-1]}_{index}"
            found.append({"name": name, "dtype": dtype, "shape": list(tensor(index).sizes())})
        sides.append(found)
    return sides[0], sides[1]


DTYPES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool"}
"""ExecuTorch's ScalarType."""
