"""A float32 model.tflite in, the same under a recipe out, by litert-quantizer; inputs and outputs stay float32 unless asked otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub.ranges import limits
from edgekit.toolchains.convert.quantize.attempts import Attempt, Options, Search, Wish, choose, decibels, left_words, methods, short_of, told, untouched
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet, Statistics, collect, require_variety
from edgekit.toolchains.convert.quantize.sensitive import Judge, before_logarithm
from edgekit.toolchains.convert.quantize.tflite_layers import layers, prepare
from edgekit.toolchains.convert.quantize.tflite_rules import METHODS, WEIGHTED, higher_precision, left_float, rules_for, weight_bits
from edgekit.toolchains.convert.runtime.integer_io import FloatBoundary, quantization
from edgekit.toolchains.convert.runtime.runners import Array, CannotRunError, LiteRt
from edgekit.toolchains.convert.tflite.file import FLOAT32, INT4, TfliteFile, read, slim, write

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

CALIBRATED = {"w8a8": 8, "w8a16": 16}
"""Recipe → bits of activations."""

QUANTIZER_ERRORS = (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError, AssertionError)
"""litert-quantizer has no error of its own."""

SLOW = {
    "w8d": "on x86 a dynamically quantized file is smaller, but slower than float32",
    "w4": "on x86 a file with 4-bit weights is smaller, but slower than float32",
    "w8a16": "on x86 a file with 16-bit activations is smaller, but far slower than float32: the kernels are for DSPs",
}


def run(job: Job) -> dict[str, Any]:
    """`float` (model.tflite), `float_equalised`?, `calibration` (tensor folder; w8a8 and w8a16) → `out/model.tflite`.

    Options: `recipe`, `calibration`, `keep_float`, `io`. With `io: integer` the result has `quantization`: of each input and output
    scale, zero point and dtype. Refuses a calibrated recipe without samples, integer ends without calibration, an SQNR floor that cannot
    be kept, and a result that does not run or gives nothing but zeros.
    """
    recipe, wish = job.options["recipe"], Wish.of(job.options)
    refuse_unusable(job, recipe, wish)
    maker = Maker(job, recipe, wish)
    if recipe in CALIBRATED:
        require_variety(job, maker.calibration)
    judge = Judge(maker.before, maker.calibration.judges())
    search = Search(maker.make, lambda path: judge.loss(maker.runner(path)), (CannotRunError, *QUANTIZER_ERRORS))
    try:
        best = choose(search, recipe, maker.options, wish.floor_db)
        maker.make(best).rename(job.out / "model.tflite")
    except CannotRunError as exc:
        job.refuse(f"the {recipe} file does not run: {exc}; use another recipe or format")
    except QUANTIZER_ERRORS as exc:
        job.refuse(f"litert-quantizer cannot make {recipe} of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")
    lost = search.loss(best)
    if lost.zero_output:
        job.refuse(f"{recipe} makes the output {lost.zero_output!r} all zero: use another recipe (w8 touches weights only)")
    notes = maker.notes + told(search, best, maker.calibration.origin) + maker.kept(best, lost.sqnr_db)
    if (job.out / "model.tflite").stat().st_size >= job.inputs["float"].stat().st_size:
        notes.append("no smaller than float32: the model has few weights that this recipe touches")
    made = read(job.out / "model.tflite")
    notes += untouched(recipe, made.constants(FLOAT32) < read(job.inputs["float"]).constants(FLOAT32), made.constants(INT4) > 0)
    result = {
        "route": [f"litert-quantizer {version('litert-quantizer')} {METHODS[recipe]}"],
        "notes": notes,
        "judged": maker.calibration.origin,
        "ops": len(list(made.operators())),
    }
    return result if wish.io == "float" else {**result, "quantization": quantization(LiteRt(job.out / "model.tflite"))}


def refuse_unusable(job: Job, recipe: str, wish: Wish) -> None:
    if recipe in CALIBRATED and "calibration" not in job.inputs:
        job.refuse(f"{recipe} needs samples to calibrate with: give some with --data, or use w8", kind="input")
    if wish.io == "integer" and recipe not in CALIBRATED:
        job.refuse(f"integer inputs and outputs need calibrated activations, which {recipe} has not: use w8a8, or --io float", kind="input")


class Maker:
    """Makes the file of an attempt; what attempts share (operators, histograms, edited float files) is made once."""

    def __init__(self, job: Job, recipe: str, wish: Wish) -> None:
        self.job, self.recipe, self.wish = job, recipe, wish
        source = job.inputs["float"]
        self.before = LiteRt(source)
        self.calibration = CalibrationSet(job.inputs.get("calibration"), self.before.inputs)
        self.ops = list(read(source).operators())
        self.notes = [SLOW[recipe]] if recipe in SLOW else []
        self.rules = rules_for(recipe)
        if recipe == "w4" and any(weight_bits(recipe, op.kind) == 8 for op in self.ops if op.kind in WEIGHTED):
            self.notes.append("depthwise and transposed convolutions have int8 weights: litert-quantizer has no 4-bit form of them")
        if recipe in CALIBRATED:
            rules, notes = left_float(self.ops, integer_ends=wish.io == "integer")
            self.rules, self.notes = self.rules + rules, self.notes + notes
        self.statistics: dict[bool, Statistics] = {}

    @property
    def options(self) -> Options:
        bits = CALIBRATED.get(self.recipe)
        size = self.job.inputs["float"].stat().st_size
        logarithm = before_logarithm([(op.kind, op.inputs, op.outputs) for op in self.ops]) if bits or self.recipe == "fp16" else set()
        return Options(
            methods=methods(self.wish.calibration, size, bits) if bits else [None],
            equalised="float_equalised" in self.job.inputs,
            clipped=self.recipe == "w4",
            corrected=self.recipe in ("w4", *CALIBRATED) and self.calibration.count > 0,
            sensitive=frozenset(logarithm),
            positions=[index for index, op in enumerate(self.ops) if bits or op.kind in WEIGHTED],
        )

    def runner(self, path: Path) -> Any:
        found = LiteRt(path)
        return found if self.wish.io == "float" else FloatBoundary(found, quantization(found))

    def make(self, attempt: Attempt) -> Path:
        """
        Raises:
            QUANTIZER_ERRORS
        """
        from litert_quantizer import Quantizer

        rules = self.rules + [higher_precision(self.recipe, self.ops[index]) for index in sorted(attempt.left)]
        quantizer = Quantizer(str(self.prepared(attempt)), rules)
        ranges = self.ranges(attempt) if quantizer.need_calibration else None
        self.job.progress(f"quantizing, {attempt}")
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        model = read(bytes(result.quantized_model))
        slim(model)
        path = self.job.out.parent / "attempt.tflite"
        write(model, path)
        return path

    def source(self, attempt: Attempt) -> Path:
        return self.job.inputs["float_equalised" if attempt.equalised else "float"]

    def prepared(self, attempt: Attempt) -> Path:
        """The float file that is to be quantized: weights cut off and biases corrected, where the attempt says so."""
        source = self.source(attempt)
        if not attempt.clipped and not attempt.corrected:
            return source
        path = self.job.out.parent / "prepared.tflite"
        model = read(source)
        means = self.seen(attempt.equalised).means if attempt.corrected else None
        prepare(model, lambda layer: 8 if layer.position in attempt.left else weight_bits(self.recipe, layer.kind), attempt.clipped, means)
        write(model, path)
        return path

    def seen(self, equalised: bool) -> Statistics:
        """What the calibration samples do inside the plain or the equalised float file."""
        if equalised not in self.statistics:
            path = self.source(Attempt(equalised=equalised))
            axes = {layer.source: -1 for layer in layers(read(path))}
            samples = self.calibration.samples(self.job.progress)
            self.statistics[equalised] = collect(inner_tensors(path, read(path)), samples, axes)
        return self.statistics[equalised]

    def ranges(self, attempt: Attempt) -> dict[str, Any]:
        """Tensor → {min, max}, as litert-quantizer takes calibration results."""
        bits = CALIBRATED[self.recipe]
        assert attempt.ranges is not None
        found = {}
        for name, histogram in self.seen(attempt.equalised).histograms.items():
            low, high = limits(histogram, attempt.ranges, bits, symmetric=bits == 16)
            found[name] = {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        return found

    def kept(self, best: Attempt, sqnr_db: float) -> list[str]:
        """What was left in a higher precision, and why; refuses where the floor is not kept."""
        floor = self.wish.floor_db
        if floor is not None and sqnr_db < floor:
            judged = self.calibration.origin
            if self.wish.keep_float != "auto":
                self.job.refuse(short_of(sqnr_db, floor, "TFLite", self.recipe, judged, "operators"))
            words = f"{self.recipe} keeps {decibels(sqnr_db)} on {judged}, {floor:g} dB were asked for"
            return [f"{words}: not reached by leaving operators in higher precision"]
        return left_words(best, sqnr_db, self.options, self.recipe, [f"{op.kind} {op.output}" for op in self.ops])


def inner_tensors(path: Path, model: TfliteFile) -> Callable[[list[Array]], Iterator[tuple[str, Array]]]:
    """A function that runs a float file on feeds and gives every computed float tensor, and the inputs, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all tensors in memory, which is the purpose
        runner = LiteRt(path)
        interpreter = runner.load(experimental_preserve_all_tensors=True)
    graph = model.table.subgraphs[0]
    wanted = {*(int(index) for index in graph.inputs), *(int(index) for op in graph.operators for index in op.outputs)}
    details = [d for d in interpreter.get_tensor_details() if d["index"] in wanted and d["dtype"] == np.float32]

    def tensors(feeds: list[Array]) -> Iterator[tuple[str, Array]]:
        runner.invoke(interpreter, feeds)
        for detail in details:
            try:
                yield detail["name"], interpreter.get_tensor(detail["index"])
            except ValueError:  # never needed, so never computed
                continue

    return tensors
