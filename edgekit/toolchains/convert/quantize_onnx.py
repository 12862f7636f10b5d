"""A float32 model.onnx in, the same under a recipe out; inputs and outputs stay float32 unless asked otherwise.

fp16, w8, w4 and w4b32 store weights smaller; w8d and w8a8 are ONNX Runtime's own quantizers. w8a8 is signed 8 bit on both sides with
QuantizeLinear/DequantizeLinear pairs: the form that neither saturates on x86 without VNNI (unsigned activations would, unless
weights gave up a bit) nor is slow on ARM.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgekit.hub.ranges import limits
from edgekit.hub.weights import rounded
from edgekit.toolchains.convert.onnx_store.opset import NEEDS, rise
from edgekit.toolchains.convert.quantize.attempts import Attempt, Options, Search, Wish, choose, decibels, left_words, methods, short_of, told, untouched
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet, Statistics, collect, require_variety
from edgekit.toolchains.convert.quantize.onnx_int4 import as_stored, has_int4, store_int4
from edgekit.toolchains.convert.quantize.onnx_integer_io import integer_ends, tell
from edgekit.toolchains.convert.quantize.onnx_integer_io import told as told_ends
from edgekit.toolchains.convert.quantize.onnx_layers import correct, input_axes
from edgekit.toolchains.convert.quantize.onnx_qdq import dynamic, left_float, rename, slim, static
from edgekit.toolchains.convert.quantize.onnx_weights import channel_axes, float_values, store_half, store_int8
from edgekit.toolchains.convert.quantize.sensitive import Judge, before_logarithm
from edgekit.toolchains.convert.runtime.integer_io import FloatBoundary
from edgekit.toolchains.convert.runtime.runners import Array, CannotRunError, OnnxRuntime

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

METHODS = {
    "fp16": "float16 weights",
    "w8": "int8 weights per channel",
    "w4": "int4 weights per channel",
    "w4b32": "int4 weights per block of 32",
    "w8d": "onnxruntime {} quantize_dynamic",
    "w8a8": "onnxruntime {} QDQ S8S8 per channel",
}
BLOCKS = {"w4": None, "w4b32": 32}

QUANTIZER_ERRORS = (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError, onnx.checker.ValidationError)
"""ONNX Runtime's quantizer has no error of its own."""


def run(job: Job) -> dict[str, Any]:
    """`float` (model.onnx), `float_equalised`?, `calibration` (tensor folder; w8a8) → `out/model.onnx`.

    Options: `recipe`, `calibration`, `keep_float`, `io`. With `io: integer` the result has `quantization`: of each input and output
    scale, zero point and dtype. Refuses w8a8 without samples, integer ends without calibration, an SQNR floor that cannot be kept, and a
    result that does not run or gives nothing but zeros.
    """
    recipe, wish = job.options["recipe"], Wish.of(job.options)
    if recipe == "w8a8" and "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    if wish.io == "integer" and recipe != "w8a8":
        job.refuse(f"integer inputs and outputs need calibrated activations, which {recipe} has not: use w8a8, or --io float", kind="input")
    job.progress("quantizing")
    maker, target = Maker(job, recipe, wish), job.out / "model.onnx"
    if recipe == "w8a8":
        require_variety(job, maker.calibration)
    judge = Judge(maker.before, maker.calibration.judges())
    maker.before.release()
    search = Search(maker.make, lambda path: judge.loss(maker.runner(path)), (CannotRunError, *QUANTIZER_ERRORS))
    try:
        best = choose(search, recipe, maker.options, wish.floor_db)
        maker.make(best).rename(target)
    except CannotRunError as exc:
        job.refuse(f"the {recipe} file does not run: {exc}; use another recipe or format")
    except QUANTIZER_ERRORS as exc:
        job.refuse(f"ONNX Runtime cannot make {recipe} of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")
    lost = search.loss(best)
    if lost.zero_output:
        job.refuse(f"{recipe} makes the output {lost.zero_output!r} all zero: use another recipe (w8 touches weights only)")
    notes = maker.notes + told(search, best, maker.calibration.origin) + maker.kept(best, lost.sqnr_db)
    result = {
        "route": [METHODS[recipe].format(version("onnxruntime"))],
        "notes": notes,
        "ops": len(onnx.load(target).graph.node),
        "judged": maker.calibration.origin,
    }
    return result if wish.io == "float" else {**result, "quantization": told_ends(target)}


class Maker:
    """Makes the file of an attempt; what attempts share (operators, histograms) is made once."""

    def __init__(self, job: Job, recipe: str, wish: Wish) -> None:
        self.job, self.recipe, self.wish = job, recipe, wish
        self.before = OnnxRuntime(job.inputs["float"])
        self.calibration = CalibrationSet(job.inputs.get("calibration"), self.before.inputs)
        # Copies: a node of a model keeps all of it alive.
        model = onnx.load(job.inputs["float"])
        self.nodes = [copy.deepcopy(node) for node in model.graph.node]
        self.floats = float_values(model)
        self.notes: list[str] = []
        self.statistics: dict[bool, Statistics] = {}

    @property
    def options(self) -> Options:
        calibrated, four_bits = self.recipe == "w8a8", self.recipe in BLOCKS
        kinds = [(node.op_type, node.input, node.output) for node in self.nodes]
        sensitive = before_logarithm(kinds) if calibrated or self.recipe == "fp16" else set()
        model = self.model(Attempt())
        weighted = set(channel_axes(model))
        names = [list(node.input) for node in model.graph.node]
        return Options(
            methods=methods(self.wish.calibration, self.job.inputs["float"].stat().st_size, 8) if calibrated else [None],
            equalised="float_equalised" in self.job.inputs,
            clipped=four_bits,
            corrected=(calibrated or four_bits) and self.calibration.count > 0,
            sensitive=frozenset(sensitive),
            positions=[index for index, inputs in enumerate(names) if calibrated or weighted.intersection(inputs)],
        )

    def runner(self, path: Path) -> Any:
        found = OnnxRuntime(path)
        return found if self.wish.io == "float" else FloatBoundary(found, told_ends(path))

    def model(self, attempt: Attempt) -> onnx.ModelProto:
        """The float model, plain or equalised. The quantizer makes names by adding a number to a name, and meets names that exist: so new ones."""
        model = onnx.load(self.job.inputs["float_equalised" if attempt.equalised else "float"])
        rename(model, ending="_")
        return model

    def make(self, attempt: Attempt) -> Path:
        """
        Raises:
            QUANTIZER_ERRORS
        """
        self.job.progress(f"quantizing, {attempt}")
        model, ends = self.model(attempt), None
        kept = {name for index in attempt.left for name in model.graph.node[index].input}
        if attempt.corrected:
            correct(model, self.seen(attempt.equalised).means, lambda *layer: self.stored(attempt, *layer))
        self.notes.clear()
        if self.recipe == "fp16":
            self.notes += store_half(model, kept)
        elif self.recipe in BLOCKS:
            store_int4(model, BLOCKS[self.recipe], attempt.clipped, kept)
        elif self.recipe == "w8d":
            model = dynamic(model, self.job.out.parent / "dynamic.onnx", attempt.left)
            convolves = any(node.op_type == "Conv" for node in self.nodes)
            self.notes += ["convolutions keep float32 activations: their dynamic form is slower than float32"] if convolves else []
        elif self.recipe == "w8a8":
            model, ends = self.static(model, attempt)
        if self.recipe != "fp16":
            store_int8(model, kept if self.recipe == "w8" else set())  # weights of what was left out
        four_bits = has_int4(model)
        self.notes += untouched(self.recipe, four_bits or float_values(model) < self.floats, four_bits)
        self.notes += [NEEDS] if rise(model) else []
        slim(model)
        if ends:
            tell(model, ends)
        path = self.job.out.parent / "attempt.onnx"
        onnx.save(model, path)
        return path

    def stored(self, attempt: Attempt, position: int, weights: Array, axis: int) -> Array:
        """What storing the weights of one node leaves of them."""
        if self.recipe in BLOCKS and position not in attempt.left:
            return as_stored(weights, axis, BLOCKS[self.recipe], attempt.clipped)
        return rounded(weights, axis, 8)

    def static(self, model: onnx.ModelProto, attempt: Attempt) -> tuple[onnx.ModelProto, Any]:
        assert attempt.ranges is not None
        histograms = self.seen(attempt.equalised).histograms
        excluded, notes = left_float(model)
        self.notes += notes
        excluded += [model.graph.node[index].name for index in sorted(attempt.left)]
        ranges = {name: limits(histogram, attempt.ranges) for name, histogram in histograms.items()}
        model = static(model, ranges, excluded)
        return model, integer_ends(model, histograms, attempt.ranges) if self.wish.io == "integer" else None

    def seen(self, equalised: bool) -> Statistics:
        """What the calibration samples do inside the plain or the equalised model."""
        if equalised not in self.statistics:
            samples = self.calibration.samples(self.job.progress)
            model = self.model(Attempt(equalised=equalised))
            names, axes = expose(model), input_axes(model)
            path = self.job.out.parent / "probe.onnx"
            onnx.save(model, path)
            del model  # a session takes several times the weights
            self.statistics[equalised] = collect(inner_tensors(self.before, path, names), samples, axes)
            path.unlink()
        return self.statistics[equalised]

    def kept(self, best: Attempt, sqnr_db: float) -> list[str]:
        """What was left in a higher precision, and why; refuses where the floor is not kept."""
        floor = self.wish.floor_db
        if floor is not None and sqnr_db < floor:
            judged = self.calibration.origin
            if self.wish.keep_float != "auto":
                self.job.refuse(short_of(sqnr_db, floor, "ONNX", self.recipe, judged, "operators"))
            words = f"{self.recipe} keeps {decibels(sqnr_db)} on {judged}, {floor:g} dB were asked for"
            return [f"{words}: not reached by leaving operators in higher precision"]
        return left_words(best, sqnr_db, self.options, self.recipe, [f"{node.op_type} {node.name or node.output[0]}" for node in self.nodes])


def expose(model: onnx.ModelProto) -> list[str]:
    """Make every computed tensor an output; their names."""
    names = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return names


def inner_tensors(runner: OnnxRuntime, exposed: Path, names: list[str]) -> Callable[[list[Array]], Iterator[tuple[str, Array]]]:
    """A function that runs a model whose computed tensors are outputs, and gives the float ones, and the inputs, by name.

    Args:
        runner: of the same model as it was; says what its inputs are.
    """
    session = runner.load(str(exposed))
    inputs = [one["name"] for one in runner.inputs]

    def tensors(feeds: list[Array]) -> Iterator[tuple[str, Array]]:
        feed = dict(zip(inputs, feeds, strict=True))
        found = {**feed, **dict(zip(names, runner.mapped(lambda: session.run(names, feed)), strict=True))}
        yield from ((name, values) for name, values in found.items() if isinstance(values, np.ndarray) and values.dtype == np.float32)

    return tensors
