"""A PyTorch program (`.pt2`) and samples in, its outputs by PyTorch itself out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub.sets import sets
from edgekit.toolchains.torch.source import input_names, load, output_names, torch

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`model` (.pt2), `samples` (tensor folder, or one of several) → `out/*.npy`, one array [n, *shape] for each output; `runtime`, `version`."""
    from torch.utils import _pytree as pytree

    program = load(job)
    module = program.module()
    results = output_names(program)
    wanted = [results.index(spec["name"]) for spec in job.options["outputs"]]
    names = [spec["name"] for spec in job.options["inputs"]]
    tensors = set(input_names(program))
    given = [spec.arg for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    for folder, out in sets(job.inputs["samples"], job.out):
        samples = dict(zip(names, (np.load(folder / f"{index}.npy") for index in range(len(names))), strict=True))
        n = len(next(iter(samples.values()))) if samples else 1
        outputs = []
        for index in range(n):
            flat = [torch.from_numpy(samples[arg.name][index]) if arg.name in tensors else arg.value for arg in given]
            args, kwargs = pytree.tree_unflatten(flat, program.call_spec.in_spec)
            try:
                with torch.no_grad():
                    found = module(*args, **kwargs)
            except (RuntimeError, ValueError, AssertionError) as exc:
                job.refuse(f"the program does not run in PyTorch ({' '.join(str(exc).split())[:300]}): check --shape")
            values = [value.numpy() for value in pytree.tree_leaves(found) if isinstance(value, torch.Tensor)]
            outputs.append([values[position] for position in wanted])
            job.progress("running the source model", (index + 1) / n)
        for position in range(len(wanted)):
            np.save(out / f"{position}.npy", np.stack([output[position] for output in outputs]))
    return {"runtime": "torch", "version": torch.__version__}
