"""A .pte file on a device in, its outputs out: ExecuTorch's runtime with XNNPACK, which takes and gives PyTorch's tensors."""

from __future__ import annotations

import importlib
import json
from functools import partial
from typing import Any

from cpu import only  # type: ignore[import-not-found]  # of the agent's archive
from refusal import check  # type: ignore[import-not-found]

DTYPES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool"}
"""ExecuTorch's ScalarType."""
VERSION = "1.5.1"


class RUNTIME:
    """As the runtimes of `cpu.py`; names of inputs and outputs are those that edgekit has put into the file."""

    name = "ExecuTorch"

    def __init__(self, delegate: str | None) -> None:
        only(self.name, delegate, "xnnpack")
        import torch

        self.torch = torch
        self.runtime = importlib.import_module("executorch.extension.pybindings._C")
        self.version = VERSION

    def load(self, path: str, threads: int) -> None:
        self.torch.set_num_threads(1)
        self.runtime._unsafe_reset_threadpool(threads)
        self.module = self.runtime._load_for_executorch(path)

    def bind(self, inputs: list[Any], outputs: list[Any]) -> None:
        meta = self.module.method_meta("forward")
        told = json.loads(bytes(self.module.run_method("edgekit_boundary", ())[0].tolist())) if "edgekit_boundary" in self.module.method_names() else {}
        places = []
        for kind, wanted, count, tensor in (
            ("input", inputs, meta.num_inputs(), meta.input_tensor_meta),
            ("output", outputs, meta.num_outputs(), meta.output_tensor_meta),
        ):
            named = told.get(f"{kind}s")
            names = [named[index]["name"] if named else f"{kind}_{index}" for index in range(count)]
            check(kind, wanted, {name: (DTYPES[tensor(index).dtype()], list(tensor(index).sizes())) for index, name in enumerate(names)})
            places.append((names, [spec["name"] for spec in wanted]))
        self.into = [places[0][1].index(name) for name in places[0][0]]
        self.out_of = [places[1][0].index(name) for name in places[1][1]]

    def feed(self, arrays: list[Any]) -> None:
        tensors = [self.torch.from_numpy(array.copy()) for array in arrays]
        self.invoke = partial(self.module.run_method, "forward", tuple(tensors[index] for index in self.into))

    def outputs(self, returned: list[Any]) -> list[Any]:
        return [returned[index].numpy().copy() for index in self.out_of]

    def delegation(self) -> dict[str, Any]:
        """What XNNPACK takes is decided when the file is written; how many operators it left is not told at run time."""
        return {"asked": "XNNPACK", "ran": "XNNPACK", "ops": None, "outside": None}
