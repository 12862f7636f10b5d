"""hub.onnx in, out/hub.onnx out: the same function with equalised weights, where there is something to equalise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.equalise import equalise
from edgekit.hub.save import save
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet
from edgekit.toolchains.convert.quantize.sensitive import Judge
from edgekit.toolchains.convert.runtime.runners import CannotRunError, OnnxRuntime

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

EQUAL = 1e-5
"""Largest difference over the output's range: factors cost a rounding each, which is a hundredth of it."""


def run(job: Job) -> dict[str, Any]:
    """`hub` → {"equalised", "pairs", "notes"}, and out/hub.onnx if it is `equalised`.

    Verified on seeded samples in ONNX Runtime: a hub that differs by more than EQUAL is dropped.
    """
    job.progress("equalising")
    path = job.out / "hub.onnx"
    model = onnx.load(job.inputs["hub"])
    moved = equalise(model)
    if not moved:
        return {"equalised": False, "pairs": 0, "notes": []}
    save(model, path)
    try:
        before = OnnxRuntime(job.inputs["hub"])
        lost = Judge(before, CalibrationSet(None, before.inputs).judges()).loss(OnnxRuntime(path))
    except CannotRunError as exc:
        path.unlink()
        return {"equalised": False, "pairs": moved, "notes": [f"not equalised: {exc}"]}
    if not lost.max_rel <= EQUAL:
        path.unlink()
        return {"equalised": False, "pairs": moved, "notes": [f"not equalised: outputs would change by {lost.max_rel:.1g} of their range"]}
    return {"equalised": True, "pairs": moved, "notes": [f"{moved} pairs of layers equalised"]}
