"""hub.onnx in, model.pte out: ExecuTorch's own export of the twin, with XNNPACK for all that it takes.

A .pte names no inputs and outputs, so the file has a second method, `edgekit_boundary`, which gives JSON as bytes: names, dtypes and shapes.
"""

from __future__ import annotations

import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import onnx
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

from edgekit.hub.graph import Refusal, spec
from edgekit.toolchains.executorch.integers import has_pairs, prepare
from edgekit.toolchains.executorch.lowered import Parts, parts_of
from edgekit.toolchains.executorch.pairs import OPERATORS
from edgekit.toolchains.torch.twin import Twin

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

BOUNDARY = "edgekit_boundary"
# ExecuTorch and torch.export have no error of their own: what they do not take ends in any of these.
FAULTS = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError)


def run(job: Job) -> dict[str, Any]:
    """`hub`, with QuantizeLinear/DequantizeLinear pairs or without → out/model.pte, {"route", "notes", "ops"}.

    Options: `dynamic`: linear layers get integers as weights, and what they take is quantized at run time. `ops` are the operators of the program, a
    part that XNNPACK runs counted as one.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    job.progress("building the network in PyTorch")
    edge, parts = lowered(job, frozenset())
    if parts.left:
        edge, parts = lowered(job, parts.left)
    if job.options.get("dynamic") and not parts.whole:
        job.refuse("XNNPACK quantizes what linear layers take at run time, and this model has none of a size for it: use w8a8 or fp32")
    try:
        program = edge.to_executorch()
    except FAULTS as exc:
        job.refuse(refused(exc))
    with (job.out / "model.pte").open("wb") as file:
        program.write_to_file(file)
    return {
        "route": [f"torch.export of torch {torch.__version__.partition('+')[0]}", "ExecuTorch with XNNPACK"],
        "notes": parts.notes,
        "ops": parts.delegated + parts.others,
    }


def lowered(job: Job, left: frozenset[str]) -> tuple[Any, Parts]:
    """The program after the partitioner, and what runs it.

    Args:
        left: stored integers that are to be float32.
    """
    hub = onnx.load(str(job.inputs["hub"]))
    boundary = {"inputs": [spec(value) for value in hub.graph.input], "outputs": [spec(value) for value in hub.graph.output]}
    try:
        dynamic = bool(job.options.get("dynamic"))
        pairs = dynamic or has_pairs(hub)
        if pairs:
            prepare(hub, left, dynamic)
        twin = Twin(hub, OPERATORS if pairs else {}).eval()
    except Refusal as refusal:
        job.refuse(
            f"ExecuTorch takes PyTorch's operators: {refusal}".replace("use steps without tune", "write another format"), op=refusal.op, node=refusal.node
        )
    inputs = tuple(torch.zeros(one["shape"], dtype=getattr(torch, one["dtype"])) for one in boundary["inputs"])
    told = torch.tensor(list(json.dumps(boundary).encode()), dtype=torch.uint8)
    job.progress("writing an ExecuTorch program")
    try:
        with torch.no_grad():
            exported = torch.export.export(twin, inputs)
            edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()], constant_methods={BOUNDARY: told})
            return edge, parts_of(edge.exported_program())
    except FAULTS as exc:
        job.refuse(refused(exc))


def refused(exc: Exception) -> str:
    return f"ExecuTorch cannot write this program ({' '.join(str(exc).split())[:300]}): write another format"
