"""A fixed float file and its Model in, the file with the axes flexible that its format can keep so out; and what is wrong with one at other sizes.

The model is read and written at a second size too, by the same route, and the format's own worker compares the two files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.errors import ConvertError, InputError
from edgekit.model import open_model, source_of, spec_json
from edgekit.records import FlexibleAxis, Model, Samples
from edgekit.toolchains.jobs import Job, Outcome, Progress, run
from edgekit.toolchains.workers import VERIFY_SIZES
from edgekit.verify import ends
from edgekit.write.format import Format

Sizes = Mapping[str, int]
"""Symbol → size."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A float file, and the axes that are flexible in it; the notes say why others are not."""

    file: Path
    axes: tuple[FlexibleAxis, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A float file, and the order of its axes where that is not the model's."""

    path: Path
    layout: Mapping[str, Any] | None


def as_it_is(hub: Path) -> Path:
    """Nothing is done to the hub before it is written."""
    return hub


def keep(model: Model, fmt: Format, write: Job, file: Path, progress: Progress, prepare: Callable[[Path], Path] = as_it_is) -> Kept:
    """The file that `write` made, with the model's flexible axes where the format can keep them.

    Where not all can be kept together, each symbol is tried in turn.

    Args:
        prepare: what was done to the model's hub before it was written, and is to be done to the one of another size.
    """
    reasons = {axis: refusal(model, fmt, axis) for axis in model.flexible}
    refused = tuple(fixed_note(fmt, [axis], reason) for axis, reason in reasons.items() if reason is not None)
    wanted = tuple(axis for axis, reason in reasons.items() if reason is None)
    symbols = list(dict.fromkeys(axis.symbol for axis in wanted))
    if not symbols:
        return Kept(file, (), refused)
    attempted = attempt(model, fmt, write, file, wanted, progress, prepare)
    if isinstance(attempted, Kept):
        return replace(attempted, notes=(*refused, *attempted.notes))
    best = Kept(file, (), ())
    failed = list(refused)
    for symbol in symbols:
        one = tuple(axis for axis in wanted if axis.symbol == symbol)
        if len(symbols) > 1:
            attempted = attempt(model, fmt, write, file, (*best.axes, *one), progress, prepare)
        if isinstance(attempted, Kept):
            best = attempted
        else:
            failed.append(fixed_note(fmt, one, attempted))
    return replace(best, notes=(*failed, *best.notes))


def fixed(model: Model, fmt: Format, file: Path, reason: str) -> Kept:
    """The fixed file, and why it is fixed."""
    return Kept(file, (), (fixed_note(fmt, model.flexible, reason),))


def refusal(model: Model, fmt: Format, axis: FlexibleAxis) -> str | None:
    """Why a format is not tried with an axis, or None."""
    if fmt.flexible_verb is None:
        return "this format has fixed sizes only"
    if fmt.flexible_needs_bounds and (axis.high is None or not axis.asked):
        low = axis.default
        bounded, listed = (shape_text(model, axis, words) for words in (f"{low}..{8 * low}", f"{low}|{2 * low}|{4 * low}"))
        return f"it needs bounds, so keep the axis flexible with --shape {bounded} or --shape {listed}"
    return None


def shape_text(model: Model, axis: FlexibleAxis, words: str) -> str:
    """`x=1..8x3x224x224`: an input's shape with one axis in other words."""
    (spec,) = [spec for spec in model.inputs if spec.name == axis.input]
    return f"{spec.name}={'x'.join(words if place == axis.axis else str(size) for place, size in enumerate(spec.shape))}"


def fixed_note(fmt: Format, axes: Iterable[FlexibleAxis], reason: str) -> str:
    """Which axes are fixed, where, and why."""
    told = ", ".join(f"axis {axis.axis} of input {axis.input!r} is fixed at {axis.default}" for axis in axes)
    return f"{told} in {fmt.title}: {reason}"


def attempt(
    model: Model, fmt: Format, write: Job, file: Path, axes: tuple[FlexibleAxis, ...], progress: Progress, prepare: Callable[[Path], Path]
) -> Kept | str:
    """The file with these axes flexible, or why there is none."""
    sizes = probe(axes)
    try:
        written = written_at(model, fmt, write, axes, sizes, progress, prepare)
        try:
            outcome = compared(model, fmt, file, written.path, axes, written.layout, progress)
        except ConvertError as exc:
            # At a size of 1 a graph may be simpler than at any other: then two larger ones are compared.
            third = {axis.symbol: next((size for size in second_sizes(axis) if size != sizes[axis.symbol]), None) for axis in axes}
            if all(axis.default != 1 for axis in axes) or None in third.values():
                return str(exc)
            larger = written_at(model, fmt, write, axes, {symbol: size or 0 for symbol, size in third.items()}, progress, prepare)
            outcome = compared(model, fmt, larger.path, written.path, axes, written.layout, progress)
    except (InputError, ConvertError) as exc:
        return str(exc)
    return Kept(outcome.folder / f"model{fmt.suffix}", axes, tuple(outcome.result["notes"]))


def written_at(
    model: Model, fmt: Format, write: Job, axes: Sequence[FlexibleAxis], sizes: Sizes, progress: Progress, prepare: Callable[[Path], Path]
) -> Written:
    """The float file of the model at other sizes, by the same route."""
    other = sibling(model, axes, sizes, progress)
    outcome = run(at_size(write, other, prepare(other.hub)), progress)
    return Written(outcome.folder / f"model{fmt.suffix}", outcome.result.get("layout"))


def compared(model: Model, fmt: Format, file: Path, other: Path, axes: Sequence[FlexibleAxis], layout: Mapping[str, Any] | None, progress: Progress) -> Outcome:
    """What the format's worker makes of a file at two sizes; `layout` is the order of the file's axes."""
    assert fmt.flexible_verb is not None
    turned = (
        {} if layout is None else {spec.name: order for side in ("inputs", "outputs") for spec, order in zip(getattr(model, side), layout[side], strict=True)}
    )
    orders = {spec.name: turned.get(spec.name, list(range(len(spec.shape)))) for spec in (*model.inputs, *model.outputs)}
    defaults = {spec.name: [spec.shape[place] for place in orders[spec.name]] for spec in (*model.inputs, *model.outputs)}
    options = {"flexible": [{**asdict(axis), "axis": orders[axis.input].index(axis.axis)} for axis in axes], "defaults": defaults}
    return run(Job(fmt.toolchain, fmt.flexible_verb, {"file": file, "other": other}, options), progress)


def at_size(write: Job, other: Model, hub: Path) -> Job:
    """The writer's job for the model at another size."""
    shapes = {"shapes": {spec.name: list(spec.shape) for spec in other.inputs}} if "shapes" in write.options else {}
    return replace(write, inputs={**write.inputs, "hub": hub}, options={**write.options, **shapes})


def probe(axes: Sequence[FlexibleAxis]) -> Sizes:
    """A second size for each symbol: the largest where there is one, and no two symbols of one default with the same."""
    chosen: dict[str, int] = {}
    used: set[tuple[int, int]] = set()
    for axis in axes:
        if axis.symbol not in chosen:
            tries = list(second_sizes(axis))
            size = next((size for size in tries if (axis.default, size) not in used), tries[0])
            used.add((axis.default, size))
            chosen[axis.symbol] = size
    return chosen


def second_sizes(axis: FlexibleAxis) -> Iterator[int]:
    """Sizes other than the default, the best first; multiples of an open one, for a model may need its size to divide by something."""
    if axis.listed:
        yield from sorted(set(axis.listed) - {axis.default}, reverse=True)
    elif axis.high is not None and axis.asked:
        yield from dict.fromkeys([axis.high, max((axis.low + axis.high) // 2, axis.default + 1)])
    else:
        yield from (times * axis.default for times in (3, 2, 5, 7) if axis.high is None or times * axis.default <= axis.high)
        yield axis.default + 1


def sibling(model: Model, axes: Sequence[FlexibleAxis], sizes: Sizes, progress: Progress) -> Model:
    """The same model, read with its flexible axes at other sizes."""
    return open_model(model.path, dict(zip((spec.name for spec in model.inputs), shapes_at(model, axes, sizes), strict=True)), progress)


def shapes_at(model: Model, axes: Sequence[FlexibleAxis], sizes: Sizes) -> list[list[int]]:
    """The shape of each input at these sizes."""
    places = {(axis.input, axis.axis): sizes[axis.symbol] for axis in axes}
    return [[places.get((spec.name, place), int(size)) for place, size in enumerate(spec.shape)] for spec in model.inputs]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking a flexible file at other sizes found."""

    sizes: tuple[str, ...]
    wrong: str | None


def verify_sizes(
    file: Path, fmt: Format, recipe: str, model: Model, axes: Sequence[FlexibleAxis], samples: Samples, told: Mapping[str, Any], progress: Progress
) -> Verdict:
    """Compare a flexible file with its model in the model's own framework, at several sizes in one session.

    Args:
        told: `quantization` and `layout` of the file's ends, where they are not the model's.
    """
    if not axes:
        return Verdict((), None)
    shapes = [shapes_at(model, axes, sizes) for sizes in checked(axes)]
    texts = [size_text(model, axes, each) for each in shapes]
    source = source_of(model)
    try:
        specs = {"inputs": spec_json(model.inputs), "outputs": spec_json(model.outputs)}
        sized = run(Job("convert", "sized_samples", {"samples": samples.evaluation}, {"sizes": shapes}), progress).folder
        inputs = {"model": model.path, "samples": sized, **source.other_files(model.path)}
        reference = run(Job(source.toolchain, source.reference_verb, inputs, specs), progress).folder
        options = {"format": fmt.name, "recipe": recipe, "sizes": texts, **specs, **ends(told.get("quantization"), told.get("layout"))}
        outcome = run(Job(fmt.toolchain, VERIFY_SIZES, {"artifact": file, "samples": sized, "reference": reference, **fmt.runner_inputs}, options), progress)
    except (InputError, ConvertError) as exc:
        return Verdict((), f"of {'; '.join(texts[1:])} one cannot be checked: {exc}")
    return Verdict(tuple(texts[1:]), outcome.result["wrong"])


def size_text(model: Model, axes: Sequence[FlexibleAxis], shapes: Sequence[Sequence[int]]) -> str:
    """`x=3x224x224x3`, of the inputs that have a flexible axis."""
    flexible = {axis.input for axis in axes}
    return " ".join(f"{spec.name}={'x'.join(map(str, shape))}" for spec, shape in zip(model.inputs, shapes, strict=True) if spec.name in flexible)


def checked(axes: Sequence[FlexibleAxis]) -> list[Sizes]:
    """The default first, then other sizes: both ends and one between where there are ends; no two symbols at the same place of their ranges."""
    values = {axis.symbol: list(other_sizes(axis)) for axis in axes}
    rounds = max(map(len, values.values()))
    others = [{symbol: sizes[(k + i) % len(sizes)] for i, (symbol, sizes) in enumerate(values.items())} for k in range(rounds)]
    return [{axis.symbol: axis.default for axis in axes}, *others]


def other_sizes(axis: FlexibleAxis) -> Iterator[int]:
    """Sizes to check an axis at, beside its default."""
    if axis.listed:
        yield from list(axis.listed)[1:][:4]
    elif axis.high is not None and axis.asked:
        yield from dict.fromkeys([axis.high, (axis.low + axis.high) // 2, *([] if axis.low == axis.default else [axis.low])])
    else:
        tries = (2, 3) if axis.default == 1 else (2 * axis.default, -(-3 * axis.default // 2))
        yield from [size for size in tries if axis.high is None or size <= axis.high] or [axis.default]
