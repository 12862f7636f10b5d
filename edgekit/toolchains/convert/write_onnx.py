"""hub.onnx in, model.onnx out: the hub itself, signed and checked."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.form import form
from edgekit.hub.graph import walk
from edgekit.hub.normalise import is_signed, sign
from edgekit.hub.save import data_of, save
from edgekit.hub.shapes import skeleton

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """Write out/model.onnx; what the exporter left in descriptions is dropped. Refuses a graph that breaks the ONNX standard."""
    job.progress("writing ONNX")
    hub, file = job.inputs["hub"], job.out / "model.onnx"
    model = onnx.load(hub)
    try:
        onnx.checker.check_model(skeleton(model))
    except onnx.checker.ValidationError as exc:
        job.refuse(f"the model's graph breaks the ONNX standard ({str(exc).splitlines()[0]}): export it again with a newer exporter")
    if not data_of(hub).exists() and is_signed(model):
        link(hub, file)
    else:
        sign(model)
        save(model, file)
    opsets = ", ".join(f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import)
    return {"route": [f"hub, opset {opsets}"], "notes": [], **form(model, "nchw")([node.op_type for node in walk(model.graph.node)])}


def link(hub: Path, file: Path) -> None:
    """The hub's own bytes under another name, without a copy where the file system can: results are never changed."""
    try:
        os.link(hub, file)
    except OSError:
        shutil.copyfile(hub, file)
