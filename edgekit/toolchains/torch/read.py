"""A PyTorch program (`.pt2`) in, its ONNX graph out: inputs named as the forward's arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.hub.names import name_boundary
from edgekit.hub.save import save
from edgekit.toolchains.torch.source import input_names, load, output_names, torch

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

OPSET = 18


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
    name_boundary(model, {value.name: name for value, name in zip(model.graph.input, names, strict=True)}, results)
    save(model, job.out / "raw.onnx")
    return {"source": "pt2", "notes": [], "ranges": ranges(program)}


def ranges(program: Any) -> dict[str, list[int | None]]:
    """The least and the largest size (None: any) of each symbol, as the program was exported with (`torch.export.Dim`)."""
    found = {}
    for symbol, allowed in program.range_constraints.items():
        low, high = allowed.lower, allowed.upper
        found[str(symbol)] = [max(1, int(low)) if low.is_finite else 1, int(high) if high.is_finite and high.is_Integer else None]
    return found
