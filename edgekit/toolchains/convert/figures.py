"""A hub in, its figures out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.figures import figures

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`hub` → inputs, outputs, ops by kind, parameters, MACs, bytes of weights, opset."""
    return figures(onnx.load(str(job.inputs["hub"])))
