"""A Core ML package written from a compressed hub in, the same with its weights as small as the hub's Spec allows out.

Values stay what they are: float32 ones exactly, float16 ones but for the rounding of scales.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools as ct
import onnx

from edgekit.hub.compressed import load_spec
from edgekit.hub.mlpackage import save
from edgekit.toolchains.convert.attempts import Wish
from edgekit.toolchains.convert.coreml_activations import with_pairs
from edgekit.toolchains.convert.coreml_runner import CoreMl
from edgekit.toolchains.convert.coreml_store.build import stored, weights
from edgekit.toolchains.convert.coreml_store.origin import Initializers
from edgekit.toolchains.convert.coreml_store.places import called, integers
from edgekit.toolchains.convert.coreml_store.plan import Plan, planned
from edgekit.toolchains.convert.coreml_weights import float32_weights
from edgekit.toolchains.convert.quantize_coreml import TARGETS, opened, whole
from edgekit.toolchains.convert.runners import CannotRunError

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

FLOAT = (None, "fp32", "fp16")
WEIGHTS = {"w8": "w8", "w4": "w4", "w4b32": "w4b32", "w8a8": "w8"}
"""Recipe → what becomes of weights without a grid of their own."""


def run(job: Job) -> dict[str, Any]:
    """`float` (.mlpackage), `hub`, `spec` (compress.json) and, for w8a8 without a grid of activations, `calibration`; option `recipe` (or null).

    → out/model.mlpackage, {"route", "notes"}. Refuses what a package cannot carry, and a program that cannot be evaluated where activations
    are to be integers.
    """
    recipe, wish = job.options.get("recipe"), Wish.of(job.options)
    if recipe not in (*FLOAT, *WEIGHTS):
        job.refuse(f"Core ML carries w8, w4, w4b32 and w8a8 here, not {recipe}: choose one of those, fp32 or fp16")
    if wish.io != "float":
        job.refuse("a Core ML package takes and gives float32 here: use --io float", kind="input")
    spec = load_spec(job.inputs["spec"])
    hub = onnx.load(str(job.inputs["hub"]))
    initializers = Initializers(hub, spec, called(hub))
    plans: list[Plan] = []

    def small(path: Path) -> Any:
        job.progress("storing weights small")
        floats = opened(path)
        spared, whole_numbers = float32_weights(floats.get_spec()), recipe == "w8a8" or bool(spec.activations)
        plans.append(planned(weights(floats), initializers, WEIGHTS.get(recipe or ""), spared, whole_numbers))
        return stored(opened(path), plans[-1].chosen, plans[-1].new)

    judged, notes, route = None, [], []
    try:
        if spec.activations:
            runner = CoreMl(job.inputs["float"])
            choice, lost = integers(job.inputs["hub"], runner, spec.activations)
            runner.release()
            model = with_pairs(small(job.inputs["float"]), choice)
            notes = [f"{len(choice)} activations are int8, with the scales that tuning learned"]
            notes += [f"not found in the package, or not of 8 bits for a whole tensor, so float: {', '.join(lost)}"] if lost else []
            route = ["activations: int8 pairs"]
        elif recipe == "w8a8":
            model, notes, judged = whole(job, wish, small)
            route = ["activations: int8 pairs"]
        else:
            model = small(job.inputs["float"])
    except CannotRunError as exc:
        job.refuse(f"the Core ML file cannot be evaluated: {exc}; use a recipe for weights only")
    made = model.get_spec()
    save(model, made, job.out / "model.mlpackage")
    target = TARGETS.get(made.specificationVersion, f"specification version {made.specificationVersion}")
    result = {"route": [f"coremltools {ct.__version__} weights: the hub's", *route], "notes": [*plans[-1].notes, *notes, f"it needs {target} or later"]}
    return result if judged is None else {**result, "judged": judged}
