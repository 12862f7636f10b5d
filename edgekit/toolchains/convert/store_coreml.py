"""A Core ML package written from a compressed hub in, the same with its weights as small as the hub's Spec allows out.

Values stay what they are: float32 ones exactly, float16 ones but for the rounding of scales. A recipe rounds what has no grid of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools as ct
import onnx

from edgekit.hub.compressed import Spec, load_spec
from edgekit.hub.mlpackage import save
from edgekit.toolchains.convert.coreml_store.build import stored, weights
from edgekit.toolchains.convert.coreml_store.origin import Initializers
from edgekit.toolchains.convert.coreml_store.places import called, integers
from edgekit.toolchains.convert.coreml_store.plan import Plan, Rounding, planned
from edgekit.toolchains.convert.quantize.attempts import Attempt, Options, Wish, choose
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet
from edgekit.toolchains.convert.quantize.coreml_activations import with_pairs
from edgekit.toolchains.convert.quantize.coreml_weights import float32_weights
from edgekit.toolchains.convert.quantize.sensitive import Judge
from edgekit.toolchains.convert.quantize_coreml import TARGETS, Simulations, kept, measured, opened, whole
from edgekit.toolchains.convert.runtime.coreml import CoreMl
from edgekit.toolchains.convert.runtime.runners import CannotRunError

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

FLOAT = (None, "fp32", "fp16")
WEIGHTS = {"w8": "w8", "w4": "w4", "w4b32": "w4b32", "w8a8": "w8"}
"""Recipe → what becomes of weights without a grid of their own."""


def run(job: Job) -> dict[str, Any]:
    """`float` (.mlpackage), `hub`, `spec` (compress.json) and, for w8a8 without a grid of activations, `calibration`.

    Options `recipe` (or null), `calibration`, `keep_float`, `io`. → out/model.mlpackage, {"route", "notes"}. Refuses what a package cannot
    carry, an SQNR floor that cannot be kept, and a program that cannot be evaluated where that is needed.
    """
    recipe, wish = job.options.get("recipe"), Wish.of(job.options)
    if recipe not in (*FLOAT, *WEIGHTS):
        job.refuse(f"Core ML carries w8, w4, w4b32 and w8a8 here, not {recipe}: choose one of those, fp32 or fp16")
    if wish.io != "float":
        job.refuse("a Core ML package takes and gives float32 here: use --io float", kind="input")
    spec, hub = load_spec(job.inputs["spec"]), onnx.load(str(job.inputs["hub"]))
    small = Small(job, Initializers(hub, spec, called(hub)), Rounding(WEIGHTS.get(recipe or ""), whole=recipe == "w8a8" or bool(spec.activations)))
    route, judged = [f"coremltools {ct.__version__} weights: the hub's"], None
    try:
        if spec.activations:
            model, notes = with_grids(job, spec, small)
        elif recipe == "w8a8":
            model, notes, judged = whole(job, wish, small)
        elif recipe in WEIGHTS and wish.floor_db is not None:
            model, notes, judged = above(job, wish, small)
        else:
            model, notes = small(job.inputs["float"]), []
    except CannotRunError as exc:
        job.refuse(f"the Core ML file cannot be evaluated: {exc}; use a recipe for weights only, without --keep-float")
    if small.rounding.whole:
        route.append("activations: int8 pairs")
    made = model.get_spec()
    save(model, made, job.out / "model.mlpackage")
    target = TARGETS.get(made.specificationVersion, f"specification version {made.specificationVersion}")
    result = {"route": route, "notes": [*small.plan.notes, *notes, f"needs {target} or later"]}
    return result if judged is None else {**result, "judged": judged}


class Small:
    """A float package in, the model with small weights out; `plan` is how the last one's are stored."""

    plan: Plan

    def __init__(self, job: Job, initializers: Initializers, rounding: Rounding) -> None:
        self.job, self.initializers, self.rounding = job, initializers, rounding

    def __call__(self, path: Path, left: Collection[str] = ()) -> Any:
        """`left`: names of weights that have a higher precision than the recipe's."""
        self.job.progress("storing weights small")
        floats = opened(path)
        spared = float32_weights(floats.get_spec())
        finer = {"spared": [*spared, *left]} if self.rounding.recipe == "w8" else {"spared": spared, "eight": left}
        self.plan = planned(weights(floats), self.initializers, replace(self.rounding, **finer))
        return stored(opened(path), self.plan.chosen, self.plan.new)


def with_grids(job: Job, spec: Spec, small: Callable[[Path], Any]) -> tuple[Any, list[str]]:
    """The model with the Spec's integers for activations, and notes."""
    runner = CoreMl(job.inputs["float"])
    choice, lost = integers(job.inputs["hub"], runner, spec.activations)
    runner.release()
    notes = [f"{len(choice)} activations are int8, with the scales that tuning learned"]
    if lost:
        notes.append(f"not found in the package, or not of 8 bits for a whole tensor, so float: {', '.join(lost)}")
    return with_pairs(small(job.inputs["float"]), choice), notes


def above(job: Job, wish: Wish, small: Small) -> tuple[Any, list[str], str]:
    """The model with as few weights in higher precision as keep the floor; notes, and what it was judged by."""
    recipe, before = job.options["recipe"], CoreMl(job.inputs["float"])
    calibration = CalibrationSet(job.inputs.get("calibration"), before.inputs)
    judge = Judge(before, calibration.judges())
    before.release()
    small(job.inputs["float"])
    names = small.plan.rough

    def made(attempt: Attempt) -> Any:
        return small(job.inputs["float"], [names[index] for index in attempt.left])

    search = Simulations(lambda attempt: measured(job, judge, made(attempt)))
    options = Options([None], equalised=False, clipped=False, corrected=False, sensitive=frozenset(), positions=range(len(names)))
    best = choose(search, recipe, options, wish.floor_db)
    return made(best), kept(job, wish, options, best, search.loss(best), names, calibration.origin), calibration.origin
