"""Two fixed Core ML packages of one model at two sizes in, one with flexible inputs out: ranges, or enumerated shapes.

The package of the second size is taken, for its tables are the larger ones. Its types say unknown where the two differ, a reshape's
target -1; another size is read from a tensor that has it (`shape`, `gather`). The features keep the first size as their default
(Model.proto, FeatureTypes.proto: ArrayFeatureType.ShapeFlexibility).
"""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING, Any

import coremltools as ct

from edgekit.toolchains.convert.flex.mil_graph import Comparison, dimensions
from edgekit.toolchains.convert.flex.steps import Axes, FixedError, symbols

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

MOST_SHAPES = 128
"""Core ML takes no more enumerated shapes of an input."""


def run(job: Job) -> dict[str, Any]:
    """`file` and `other` (.mlpackage), options `flexible` (axes), `defaults` (shapes of inputs and outputs) → `out/model.mlpackage`; `notes`.

    Refuses, naming the op that holds a size fixed.
    """
    job.progress("keeping sizes flexible")
    first, second = (ct.utils.load_spec(str(job.inputs[name])) for name in ("file", "other"))
    mine, theirs = (job.inputs[name] / "Data/com.apple.CoreML/weights/weight.bin" for name in ("file", "other"))
    own = {key.removeprefix("edgekit.name."): name for key, name in first.description.metadata.userDefined.items() if key.startswith("edgekit.name.")}
    features = {own.get(feature.name, feature.name): feature.name for feature in first.description.input}
    own_name = {feature.name: own.get(feature.name, feature.name) for feature in [*first.description.input, *first.description.output]}
    defaults = {feature: job.options["defaults"][name] for feature, name in own_name.items()}
    axes = [{**axis, "input": features[axis["input"]]} for axis in job.options["flexible"]]
    shapes = [{feature.name: list(feature.type.multiArrayType.shape) for feature in spec.description.input} for spec in (first, second)]
    try:
        known = symbols(axes, *shapes)
        comparison = Comparison(function(first), function(second), (mine, theirs), known)
        comparison.run()
    except FixedError as exc:
        job.refuse(str(exc))
    notes = describe(first, second, axes, defaults, comparison.outputs)
    target = job.out / "model.mlpackage"
    shutil.copytree(job.inputs["other"], target)
    (target / "Data/com.apple.CoreML/model.mlmodel").write_bytes(second.SerializeToString(deterministic=True))
    return {"notes": notes}


def function(spec: Any) -> Any:
    return spec.mlProgram.functions["main"]


def describe(first: Any, second: Any, axes: Axes, defaults: dict[str, list[int]], outputs: dict[str, Any]) -> list[str]:
    """Give the features of `second` their default shapes and the sizes that they may have; returns notes."""
    notes = []
    enumerated = {axis["input"] for axis in axes if axis["listed"]}
    for mine, theirs in zip(first.description.input, second.description.input, strict=True):
        own = {axis["axis"]: axis for axis in axes if axis["input"] == mine.name}
        default = defaults[mine.name]
        theirs.type.multiArrayType.shape[:] = default
        if not own:
            continue
        choices = [[size, *(own[place]["listed"] if place in own else [])] for place, size in enumerate(default)]
        shapes = list(itertools.islice(itertools.product(*map(dict.fromkeys, choices)), MOST_SHAPES + 1))
        if all(axis["listed"] for axis in own.values()) and len(shapes) <= MOST_SHAPES and len(enumerated) == 1:
            for shape in shapes:
                theirs.type.multiArrayType.enumeratedShapes.shapes.add().shape[:] = shape
            continue
        if any(axis["listed"] for axis in own.values()):
            notes.append(f"input {mine.name!r} takes any size within its listed ones: Core ML lists whole shapes, at most {MOST_SHAPES}, of one input")
        for place, size in enumerate(default):
            bounds = theirs.type.multiArrayType.shapeRange.sizeRanges.add()
            bounds.lowerBound, bounds.upperBound = (own[place]["low"], own[place]["high"]) if place in own else (size, size)
    told = second.description.metadata.userDefined
    for mine, theirs in zip(first.description.output, second.description.output, strict=True):
        sizes = dimensions(outputs[mine.name])
        del theirs.type.multiArrayType.shape[:]
        if None not in sizes:
            theirs.type.multiArrayType.shape.extend(sizes)
    for name, default in defaults.items():
        told[f"edgekit.shape.{name}"] = "x".join(map(str, default))
    return notes
