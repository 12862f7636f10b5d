"""A PyTorch program (`.pt2`) in, its ONNX graph out: inputs named as the forward's arguments."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from edgekit.hub.names import name_boundary, rename
from edgekit.hub.save import save
from edgekit.toolchains.torch.source import input_names, load, output_names, torch

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

    from edgekit.toolchains.worker import Job

OPSET = 18
SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this the exporter notes on each node the modules that it lies in, from the outermost, and its own name."""


def run(job: Job) -> dict[str, Any]:
    """`model` (.pt2) → `out/raw.onnx`; `source`, `notes` and `ranges` of its symbols. Open axes stay open: the hub fixes them."""
    job.progress("loading the program in PyTorch")
    program = load(job)
    job.progress("writing it as ONNX")
    try:
        exported = torch.onnx.export(program, dynamo=True, external_data=False, opset_version=OPSET, verbose=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as exc:
        words = " ".join(str(exc.__cause__ or exc).split())[:300]
        job.refuse(f"PyTorch cannot write this program as ONNX ({words}): replace that operator in the model, or export it to ONNX yourself")
    model = exported.model_proto
    names, results = input_names(program), output_names(program)
    if len(names) != len(model.graph.input) or len(results) != len(model.graph.output):
        job.refuse(
            f"the ONNX graph has {len(model.graph.input)} inputs and {len(model.graph.output)} outputs, and the program {len(names)} and {len(results)}: "
            "let its forward take and give each tensor once"
        )
    name_weights(model.graph)
    name_boundary(model, {value.name: name for value, name in zip(model.graph.input, names, strict=True)}, results)
    save(model, job.out / "raw.onnx")
    return {"source": "pt2", "notes": [], "ranges": ranges(program)}


def name_weights(graph: GraphProto) -> None:
    """Give the weights of linear layers, which the exporter transposes and calls `val_34`, back the name of their module: `blocks.0.query.weight`.

    So are the products called, of which the hub makes Gemm nodes. A module that is used twice, or multiplies twice, keeps its numbers.
    """
    numbered = {tensor.name for tensor in graph.initializer if tensor.name.startswith("val_")}
    taken = {tensor.name for tensor in graph.initializer} | {name for node in graph.node for name in node.output}
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        scopes: list[str] = next((ast.literal_eval(entry.value) for entry in node.metadata_props if entry.key == SCOPES), [])
        if node.op_type == "MatMul" and node.input[1] in numbered and len(scopes) > 1 and scopes[-2]:
            found.setdefault(scopes[-2], []).append(node)
    names: dict[str, str] = {}
    for module, (node, *others) in found.items():
        own = {node.input[1]: f"{module}.weight", node.output[0]: module}
        if not others and taken.isdisjoint(own.values()) and names.keys().isdisjoint(own):
            names |= own
    rename(graph, names)


def ranges(program: Any) -> dict[str, list[int | None]]:
    """The least and the largest size (None: any) of each symbol, as the program was exported with (`torch.export.Dim`)."""
    found = {}
    for symbol, allowed in program.range_constraints.items():
        low, high = allowed.lower, allowed.upper
        found[str(symbol)] = [max(1, int(low)) if low.is_finite else 1, int(high) if high.is_finite and high.is_Integer else None]
    return found
