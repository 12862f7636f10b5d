"""A float Core ML package in, the same with integer weights (w8, w4, w4b32), or integer weights and activations (w8a8), out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools as ct

from edgekit.hub.mlpackage import save
from edgekit.toolchains.convert.quantize.attempts import Attempt, Options, Search, Wish, choose, decibels, methods, named, short_of, told, untouched
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet, require_variety
from edgekit.toolchains.convert.quantize.coreml_activations import with_pairs
from edgekit.toolchains.convert.quantize.coreml_ranges import Integers, Simulated, chosen, observed, quantizable, sensitive
from edgekit.toolchains.convert.quantize.coreml_weights import float32_weights, int4, int8, matrices
from edgekit.toolchains.convert.quantize.sensitive import Judge, Loss
from edgekit.toolchains.convert.runtime.coreml import CoreMl
from edgekit.toolchains.convert.runtime.runners import CannotRunError

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
        model, notes, judged = whole(job, wish) if recipe == "w8a8" else weights_only(job, recipe, wish)
    except CannotRunError as exc:
        job.refuse(f"the Core ML file cannot be evaluated: {exc}; use w8, which needs no evaluation")
    spec = model.get_spec()
    save(model, spec, job.out / "model.mlpackage")
    notes += untouched(recipe, *stored(spec))
    target = TARGETS.get(spec.specificationVersion, f"specification version {spec.specificationVersion}")
    weights = f"coremltools {ct.__version__} weights: {WEIGHTS.get(recipe, WEIGHTS['w8'])}"
    route = [weights, "activations: int8 pairs"] if recipe == "w8a8" else [weights]
    result = {"route": route, "notes": [*notes, f"{recipe} needs {target} or later"]}
    return result if judged is None else {**result, "judged": judged}


def weights_only(job: Job, recipe: str, wish: Wish) -> tuple[Any, list[str], str | None]:
    """w8 is one way, and not evaluated unless a floor is to be kept; of four bits the better rounding is taken."""
    job.progress("reading the float package")
    model = opened(job.inputs["float"])
    spared = float32_weights(model.get_spec())
    notes = [f"{len(spared)} weights that need float32 stay so"] if spared else []
    job.progress("quantizing weights")
    if recipe == "w8" and wish.floor_db is None:
        return int8(model, spared), notes, None
    names = matrices(model, spared)
    del model

    def made(attempt: Attempt) -> tuple[Any, list[str]]:
        left = [names[index] for index in attempt.left]
        floats = opened(job.inputs["float"])
        return (int8(floats, [*spared, *left]), []) if recipe == "w8" else int4(floats, spared, BLOCKS[recipe], attempt.clipped, left)

    before = CoreMl(job.inputs["float"])
    calibration = CalibrationSet(job.inputs.get("calibration"), before.inputs)
    judge = Judge(before, calibration.judges())
    before.release()
    search = Simulations(lambda attempt: measured(job, judge, made(attempt)[0]))
    options = Options([None], equalised=False, clipped=recipe in BLOCKS, corrected=False, sensitive=frozenset(), positions=range(len(names)))
    best = choose(search, recipe, options, wish.floor_db)
    model, more = made(best)
    tried = told(search, best, calibration.origin)
    return model, [*notes, *more, *tried, *kept(job, wish, options, best, search.loss(best), names, calibration.origin)], calibration.origin


def stored(spec: Any) -> tuple[bool, bool]:
    """Whether any weight is stored smaller than float16, and any in 4 bits."""
    function = spec.mlProgram.functions["main"]
    found = [op for op in function.block_specializations[function.opset].operations if op.type.startswith("constexpr_")]
    dtypes = {value.value.type.tensorType.dataType for op in found for binding in op.inputs.values() for value in binding.arguments}
    dtypes |= {value.type.tensorType.dataType for op in found for value in op.attributes.values()}
    return bool(found), ct.proto.MIL_pb2.INT4 in dtypes


def opened(path: Path) -> Any:
    return ct.models.MLModel(str(path), skip_model_load=True)


def measured(job: Job, judge: Judge, model: Any) -> Loss:
    """How much the model, written and evaluated, loses."""
    path = job.out.parent / "attempt.mlpackage"
    shutil.rmtree(path, ignore_errors=True)
    save(model, model.get_spec(), path)
    return judge.loss(CoreMl(path))


def eight(path: Path) -> Any:
    """The float package with int8 weights."""
    floats = opened(path)
    return int8(floats, float32_weights(floats.get_spec()))


def whole(job: Job, wish: Wish, weigh: Callable[[Path], Any] = eight) -> tuple[Any, list[str], str]:
    """w8a8: each way to calibrate is simulated, and the best written; `weigh` gives a float package its integer weights."""
    if "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    before = CoreMl(job.inputs["float"])
    if not quantizable(before):
        job.refuse("the model has no convolution, linear layer, pool or addition whose activations could be integers: use w8")
    calibration = CalibrationSet(job.inputs["calibration"], before.inputs)
    require_variety(job, calibration)
    judge = Judge(before, calibration.judges())
    sources = {False: Source.of(job, "float", before, calibration, weigh)}
    if "float_equalised" in job.inputs:
        sources[True] = Source.of(job, "float_equalised", CoreMl(job.inputs["float_equalised"]), calibration, weigh)
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
    names = [f"{step.op_type} {step.name}" for step in before.program.steps]
    left = kept(job, wish, options, best, loss, names, calibration.origin)
    return model, [*told(search, best, calibration.origin), *left, f"{len(choice)} activations are int8"], calibration.origin


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
    def of(cls, job: Job, name: str, before: CoreMl, calibration: CalibrationSet, weigh: Callable[[Path], Any]) -> Source:
        histograms = observed(before, calibration.samples(job.progress))
        before.release()
        model = weigh(job.inputs[name])
        path = job.out.parent / f"{name}.w8.mlpackage"
        save(model, model.get_spec(), path)
        return cls(before, path, histograms)

    def choice(self, attempt: Attempt) -> dict[str, Integers]:
        """The integers of the activations."""
        return chosen(self.before, self.histograms, attempt.ranges or "minmax", attempt.left)


LEFT = {"w8a8": ("operations", "keep float activations"), "w8": ("weights", "stay float")}
"""Recipe → what is left in higher precision, and how; of four bits it is weights that are int8."""


def kept(job: Job, wish: Wish, options: Options, best: Attempt, loss: Loss, names: Sequence[str], judged: str) -> list[str]:
    """What was left in higher precision, and why; refuses where the floor is not kept. `names`: of each position."""
    floor, recipe = wish.floor_db, job.options["recipe"]
    things, how = LEFT.get(recipe, ("weights", "are int8"))
    if floor is not None and loss.sqnr_db < floor:
        if wish.keep_float != "auto":
            job.refuse(short_of(loss.sqnr_db, floor, "Core ML", recipe, judged, things))
        words = f"{recipe} keeps {decibels(loss.sqnr_db)} on {judged}, {floor:g} dB were asked for"
        return [f"{words}: not reached by leaving {things} in higher precision"]
    if not best.left:
        return []
    if best == replace(best, left=options.sensitive):
        return [f"{len(best.left)} operations before a logarithm keep float activations: int8 lost too much there"]
    left = named([names[index] for index in sorted(best.left)])
    return [f"{len(best.left)} of {len(options.positions)} {things} {how} for {decibels(loss.sqnr_db)}: {left}"]
