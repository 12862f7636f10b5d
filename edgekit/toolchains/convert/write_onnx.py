"""hub.onnx in, model.onnx out: the hub itself, signed and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.form import form
from edgekit.hub.graph import walk
from edgekit.hub.save import save
from edgekit.hub.shapes import skeleton

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """Write out/model.onnx; what the exporter left in descriptions is dropped. Refuses a graph that breaks the ONNX standard."""
    job.progress("writing ONNX")
    model = onnx.load(job.inputs["hub"])
    model.producer_name, model.producer_version, model.doc_string = "edgekit", "", ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    try:
        onnx.checker.check_model(skeleton(model))
    except onnx.checker.ValidationError as exc:
        job.refuse(f"the model's graph breaks the ONNX standard ({str(exc).splitlines()[0]}): export it again with a newer exporter")
    save(model, job.out / "model.onnx")
    opsets = ", ".join(f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import)
    return {"route": [f"hub, opset {opsets}"], "notes": [], **form(model, "nchw")([node.op_type for node in walk(model.graph.node)])}
