"""A float file and its task in, the file in the recipe's numbers out: quantized, or stored small where compression knows its tensors' values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.recipe import Recipe
from edgekit.records import Model, Samples
from edgekit.toolchains.jobs import Job, Progress, run
from edgekit.toolchains.workers import script_of
from edgekit.verbs.compressed import Network
from edgekit.write.format import Format
from edgekit.write.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Numbers:
    """Which worker puts the numbers in, and with what."""

    verb: str | Path
    recipe: str | None
    """What the worker is asked for; None: only what is known of the tensors already."""
    stores: bool
    """Whether it works by the network's spec."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file with its numbers, and what its worker told of it."""

    path: Path
    route: tuple[str, ...]
    notes: tuple[str, ...]
    result: Mapping[str, Any]


def numbers_of(recipe: Recipe, fmt: Format, network: Network | None) -> Numbers | None:
    """What follows the writer; None where the float file is the last one.

    What is known of values (grids that were learned, palettes, zeros) is for the format's store worker. A recipe that rounds afterwards is the
    quantizer's, which leaves zeros zero; where the store worker can round too, it is that one's.
    """
    quantize = fmt.steps_of(recipe.numbers, recipe.learned).quantize
    asked = None if recipe.learned or recipe.numbers not in recipe.steps else recipe.numbers
    if network is not None and network.held and fmt.store_verb is not None and script_of(fmt.toolchain, fmt.store_verb).exists():
        rounds = asked is not None and asked != "fp32"
        if not rounds or asked in fmt.stores:
            return Numbers(fmt.store_verb, asked if rounds else None, stores=True)
    return None if quantize is None else Numbers(fmt.quantize_verb, quantize, stores=False)


def put_in(
    numbers: Numbers,
    path: Path,
    recipe: Recipe,
    fmt: Format,
    network: Network | None,
    samples: Samples,
    wishes: Wishes,
    equalised: Callable[[], Path | None],
    progress: Progress,
) -> Made:
    """Run the worker.

    Args:
        equalised: gives the float file of the equalised hub, where there is one.

    Raises:
        ConvertError: it refused, or failed.
    """
    inputs = {"float": path}
    options: dict[str, Any] = {"recipe": numbers.recipe}
    if numbers.recipe is not None:
        calibrated = recipe.needs_calibration
        if (recipe.uses_calibration or wishes.keep_float is not None) and samples.calibration is not None:
            inputs["calibration"] = samples.calibration
        options |= wishes.for_quantizers(calibrated)
        if calibrated and (more := equalised()) is not None:
            inputs["float_equalised"] = more
    elif recipe.has_integer_ends:
        options["io"] = wishes.io
    if numbers.stores:
        assert network is not None
        inputs |= {"hub": network.model.hub, "spec": network.spec}
    done = run(Job(fmt.toolchain, numbers.verb, inputs, options), progress)
    return Made(done.folder / f"model{fmt.suffix}", tuple(done.result["route"]), tuple(done.result["notes"]), done.result)


def counted(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker tells of its file beside the steps and notes."""
    return {key: result[key] for key in ("layout", "ops", "transposes", "quantization", "judged") if key in result}


def integer_ends(model: Model, quantization: Mapping[str, Any] | None) -> Iterator[str]:
    """What the integers stand for that a file takes and gives."""
    for kind, specs in (("inputs", model.inputs), ("outputs", model.outputs)) if quantization else ():
        for spec, how in zip(specs, (quantization or {})[kind], strict=True):
            if how is not None:
                yield f"{kind[:-1]} {spec.name!r} is {how['dtype']}: its values are {how['scale']:.9g} × (q − {how['zero_point']})"
