"""A float Core ML package in, the same with integer weights (w8, w4, w4b32), or integer weights and activations (w8a8), out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools as ct
from coreml_activations import with_pairs  # type: ignore[import-not-found]
from coreml_weights import float32_weights, int4, int8  # type: ignore[import-not-found]

from edgekit.hub.mlpackage import save
from edgekit.toolchains.convert.attempts import Attempt, Options, Search, Wish, choose, decibels, methods, named, short_of, told
from edgekit.toolchains.convert.calibration import CalibrationSet
from edgekit.toolchains.convert.coreml_ranges import Integers, Simulated, chosen, observed, quantizable, sensitive
from edgekit.toolchains.convert.coreml_runner import CoreMl
from edgekit.toolchains.convert.runners import CannotRunError
from edgekit.toolchains.convert.sensitive import Judge, Loss

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

TARGETS = {8: "iOS 17, macOS 14", 9: "iOS 18, macOS 15"}
"""Specification version → the first systems that load it."""

WEIGHTS = {"w8": "int8 for each output channel", "w4": "int4 for each output channel", "w4b32": "int4 for each 32 input channels"}
BLOCKS = {"w4": None, "w4b32": 32}


def run(job: Job) -> dict[str, Any]:
    """`float` (.mlpackage) and, for w8a8, `calibration` and `float_equalised`?; options `recipe`, `calibration`, `keep_float`, `io`.

    → out/model.mlpackage, {"route", "notes"}. Refuses what a package cannot carry, an SQNR floor that cannot be kept, and a result that
    gives nothing but zeros.
    """
    recipe, wish = job.options["recipe"], Wish.of(job.options)
    if recipe not in (*WEIGHTS, "w8a8"):
        job.refuse(f"Core ML carries w8, w4, w4b32 and w8a8 here, not {recipe}: choose one of those, fp32 or fp16")
    if wish.io != "float":
        job.refuse("a Core ML package takes and gives float32 here: use --io float", kind="input")
    try:
        model, notes = whole(job, wish) if recipe == "w8a8" else weights_only(job, recipe)
    except CannotRunError as exc:
        job.refuse(f"the Core ML file cannot be evaluated: {exc}; use w8, which needs no evaluation")
    spec = model.get_spec()
    save(model, spec, job.out / "model.mlpackage")
    target = TARGETS.get(spec.specificationVersion, f"specification version {spec.specificationVersion}")
    weights = f"coremltools {ct.__version__} weights: {WEIGHTS.get(recipe, WEIGHTS['w8'])}"
    route = [weights, "activations: int8 pairs"] if recipe == "w8a8" else [weights]
    return {"route": route, "notes": [*notes, f"{recipe} needs {target} or later"]}


def weights_only(job: Job, recipe: str) -> tuple[Any, list[str]]:
    job.progress("reading the float package")
    model = opened(job.inputs["float"])
    spared = float32_weights(model.get_spec())
    notes = [f"{len(spared)} weights that need float32 stay so"] if spared else []
    job.progress("quantizing weights")
    if recipe == "w8":
        return int8(model, spared), notes
    before = CoreMl(job.inputs["float"])
    judge = Judge(before, CalibrationSet(job.inputs.get("calibration"), before.inputs).judges())
    tried = [int4(opened(job.inputs["float"]), spared, BLOCKS[recipe], clipped) for clipped in (False, True)]
    best, more = max(tried, key=lambda made: measured(job, judge, made[0]).rank)
    return best, notes + more


def opened(path: Path) -> Any:
    return ct.models.MLModel(str(path), skip_model_load=True)


def measured(job: Job, judge: Judge, model: Any) -> Loss:
    """How much the model, written and evaluated, loses."""
    path = job.out.parent / "attempt.mlpackage"
    shutil.rmtree(path, ignore_errors=True)
    save(model, model.get_spec(), path)
    return judge.loss(CoreMl(path))


def whole(job: Job, wish: Wish) -> tuple[Any, list[str]]:
    """w8a8: each way to calibrate is simulated, and the best written."""
    if "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    before = CoreMl(job.inputs["float"])
    if not quantizable(before):
        job.refuse("the model has no convolution, linear layer, pool or addition whose activations could be integers: use w8")
    calibration = CalibrationSet(job.inputs["calibration"], before.inputs)
    judge = Judge(before, calibration.judges())
    sources = {False: Source.of(job, "float", before, calibration)}
    if "float_equalised" in job.inputs:
        sources[True] = Source.of(job, "float_equalised", CoreMl(job.inputs["float_equalised"]), calibration)
    alike = {tuple(step.op_type for step in source.before.program.steps) for source in sources.values()}

    one = Loaded()

    def simulate(attempt: Attempt) -> Loss:
        job.progress(f"trying {attempt}")
        source = sources[attempt.equalised]
        return judge.loss(Simulated(one.runner(source.weighted), source.choice(attempt)))

    size = sum(file.stat().st_size for file in job.inputs["float"].rglob("*") if file.is_file())
    options = Options(
        methods=methods(wish.calibration, size, 8),
        equalised=True in sources and len(alike) == 1,
        clipped=False,
        corrected=False,
        sensitive=sensitive(before),
        positions=list(quantizable(before)),
    )
    search = Simulations(simulate)
    best = choose(search, "w8a8", options, wish.floor_db)
    one.release()
    job.progress("writing the quantized package")
    source = sources[best.equalised]
    choice = source.choice(best)
    model = with_pairs(opened(source.weighted), choice)
    loss = measured(job, judge, model)
    if loss.zero_output:
        job.refuse(f"w8a8 makes the output {loss.zero_output!r} all zero: use w8, which touches weights only")
    return model, [*told(search, best, calibration.origin), *kept(job, wish, options, best, loss, before), f"{len(choice)} activations are int8"]


class Simulations(Search):
    """A Search that writes nothing: an attempt is measured by simulating it."""

    def __init__(self, simulate: Any) -> None:
        super().__init__(make=lambda _: Path(), measure=simulate, errors=(CannotRunError,))
        self.simulate = simulate

    def loss(self, attempt: Attempt) -> Loss:
        if attempt not in self.losses:
            self.losses[attempt] = self.simulate(attempt)
        return self.losses[attempt]


@dataclass
class Loaded:
    """One package at a time, ready to run: each takes several times its size."""

    path: Path | None = None
    held: CoreMl | None = None

    def runner(self, path: Path) -> CoreMl:
        if self.held is None or path != self.path:
            self.release()
            self.path, self.held = path, CoreMl(path)
        return self.held

    def release(self) -> None:
        if self.held is not None:
            self.held.release()
        self.held = None


@dataclass(frozen=True, slots=True)
class Source:
    """A float file with all that attempts share: its program, what its values are like, and the same with int8 weights, on disk."""

    before: CoreMl
    """Released: its weights are needed no more."""
    weighted: Path
    histograms: dict[str, Any]

    @classmethod
    def of(cls, job: Job, name: str, before: CoreMl, calibration: CalibrationSet) -> Source:
        histograms = observed(before, calibration.samples(job.progress))
        before.release()
        floats = opened(job.inputs[name])
        model = int8(floats, float32_weights(floats.get_spec()))
        path = job.out.parent / f"{name}.w8.mlpackage"
        save(model, model.get_spec(), path)
        return cls(before, path, histograms)

    def choice(self, attempt: Attempt) -> dict[str, Integers]:
        """The integers of the activations."""
        return chosen(self.before, self.histograms, attempt.ranges or "minmax", attempt.left)


def kept(job: Job, wish: Wish, options: Options, best: Attempt, loss: Loss, before: CoreMl) -> list[str]:
    """What was left in float, and why; refuses where the floor is not kept."""
    floor = wish.floor_db
    if floor is not None and loss.sqnr_db < floor:
        if wish.keep_float != "auto":
            job.refuse(short_of(loss.sqnr_db, floor, "Core ML", "w8a8", "calibration samples", "operations"))
        return [f"w8a8 keeps {decibels(loss.sqnr_db)} on calibration samples, {floor:g} dB were asked for: not reached by leaving operations float"]
    if not best.left:
        return []
    if best == replace(best, left=options.sensitive):
        return [f"{len(best.left)} operations before a logarithm keep float activations: int8 lost too much there"]
    steps = before.program.steps
    names = [f"{steps[index].op_type} {steps[index].name}" for index in sorted(best.left)]
    return [f"{len(names)} of {len(options.positions)} operations keep float activations for {decibels(loss.sqnr_db)}: {named(names)}"]
