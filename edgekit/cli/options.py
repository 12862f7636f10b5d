"""Options that several verbs share: what people write in, records out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from edgekit.errors import InputError
from edgekit.files import require_file_place
from edgekit.hub.axes import read_axis, wrong_axis
from edgekit.recipe import Recipe, parse
from edgekit.write import wishes
from edgekit.write.format import Format, format_named, formats
from edgekit.write.wishes import Tuning, Wishes

MODEL = click.Path(path_type=Path)
Function = TypeVar("Function", bound=Callable[..., Any])

TARGET = "A device of lab.toml, an attached device's serial, a profile (pixel7), or an address: local, ssh:user@host[:port], adb:SERIAL."
target_option = click.option("--target", required=True, metavar="NAME", help=TARGET)
SHAPE = "Shape of an input, each axis fixed or flexible (16..128, 1|4|8, ?); repeatable."
shape_option = click.option("--shape", "shapes", multiple=True, metavar="NAME=1x3x224x224", help=SHAPE)
data_option = click.option("--data", type=click.Path(path_type=Path), help=".npz or .npy samples (optional array `labels`) to calibrate and evaluate with.")
RECIPE = (
    "Steps joined by +: prune50 prune2:4 channels50 lowrank50 cluster16 ternary binary bits4 student:width50 distill:FILE; tune; "
    "fp32 fp16 w8 w4 w4b32 w8d w8a8 w8a16 (and w4a8 w3 w2 before tune); auto:size=0.25 auto:drop=0.01; or a .toml file. Repeatable or separated by commas."
)
recipe_option = click.option("--recipe", "recipe_names", multiple=True, metavar="NAME", help=RECIPE)


def wish_options(function: Function) -> Function:
    """What is wished of the files beside recipe, format and layout; gather it with `wishes_from`."""
    ranges = "How ranges of activations are set.  [default: auto, by their error]"
    way = "Over ONNX, or by the framework's own converter.  [default: any, whichever is right]"
    options = (
        click.option("--calibration", type=click.Choice(wishes.CALIBRATIONS), default="auto", help=ranges),
        click.option("--keep-float", metavar="auto|DB", help="Leave what loses most in float until the SQNR is that many dB, or the recipe's floor."),
        click.option("--io", type=click.Choice(wishes.IOS), default="float", help="What a w8a8 file takes and gives.  [default: float]"),
        click.option("--route", type=click.Choice(wishes.ROUTES), default="any", help=way),
        click.option("--no-cache", is_flag=True, help="Make everything anew, and keep that."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def tuning_options(function: Function) -> Function:
    """How networks are tuned; gathered by `wishes_from` too."""
    options = (
        click.option(
            "--train",
            type=click.Path(path_type=Path),
            help="Samples to tune and calibrate with.  [default: parts of --data that nothing else uses]",
        ),
        click.option("--epochs", type=click.IntRange(1), help="Of each tuning.  [default: by the recipe and the number of samples]"),
        click.option("--tune-time", "tune_time", metavar="30m", help="No longer than that for each tuning."),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of all that is drawn in compression and tuning.  [default: 0]"),
    )
    for option in reversed(options):
        function = option(function)
    return function


AXES = "Axes of inputs and outputs: the model's own, or nhwc.  [default: model]"
layout_option = click.option("--layout", type=click.Choice(wishes.LAYOUTS), default="model", help=AXES)


def wishes_from(options: Mapping[str, Any]) -> Wishes:
    """The wishes among a command's options.

    Raises:
        InputError: --keep-float is neither `auto` nor a number of dB, or --tune-time is no time.
    """
    names = ("calibration", "io", "layout", "route")
    tuning = Tuning(options.get("train"), options.get("epochs"), seconds_from(options.get("tune_time")), options.get("seed", 0))
    return Wishes(keep_float=keep_float_from(options["keep_float"]), tuning=tuning, **{name: options[name] for name in names if name in options})


def plot_option(what: str) -> Callable[[Function], Function]:
    """--plot FILE.svg; check it with `plot_place` before any work."""
    return click.option("--plot", metavar="FILE.svg", type=click.Path(path_type=Path, dir_okay=False), help=what)


def plot_place(plot: Path | None) -> None:
    """Refuse a picture that could not be drawn.

    Raises:
        InputError: it is not called `.svg`.
        SetupError: its folder is not there, or cannot be written to.
    """
    if plot is not None:
        if plot.suffix != ".svg":
            raise InputError(f"--plot {plot} is drawn as SVG: give a name that ends in .svg")
        require_file_place(plot)


def seconds_from(word: str | None) -> float | None:
    """`90s`, `30m`, `2h`, or seconds.

    Raises:
        InputError: not of that form, or no time at all.
    """
    if word is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smh]?)", word.strip().lower())
    seconds = float(found[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds <= 0:
        raise InputError(f"--tune-time {word!r} is no time: give one such as 90s, 30m or 2h")
    return seconds


def keep_float_from(word: str | None) -> Literal["auto"] | float | None:
    """`auto`, `20` or `20dB`."""
    if word is None:
        return None
    if word == "auto":
        return "auto"
    try:
        floor_db = float(word.lower().removesuffix("db"))
    except ValueError:
        floor_db = float("nan")
    if not 0 < floor_db < 200:
        raise InputError(f"--keep-float {word!r} is neither auto nor an SQNR in dB: give one such as 20")
    return floor_db


def shapes_from(words: Sequence[str]) -> dict[str, tuple[int | str, ...]]:
    """`image=1x3x224x224` → {"image": (1, 3, 224, 224)}; an axis may also be a range `16..128`, a list `1|4|8` or `?` (any size).

    Raises:
        InputError: not of that form, or a dimension below 1.
    """
    shapes = {}
    for word in words:
        name, equals, dimensions = word.rpartition("=")
        if not equals or not name:
            what = "give an input's name and its dimensions, each at least 1, or flexible as 16..128, 1|4|8 or ?"
            raise InputError(f"--shape {word!r} is not NAME=1x3x224x224: {what}")
        written = dimensions.lower().split("x")
        axes = [axis for axis in map(read_axis, written) if axis is not None]
        if len(axes) != len(written):
            wrong = next(text for text in written if read_axis(text) is None)
            raise InputError(f"--shape {word!r}: {wrong_axis(wrong)}")
        shapes[name] = tuple(axes)
    return shapes


def recipes_from(words: Sequence[str], default: Sequence[str], model: str) -> list[Recipe]:
    """Recipes in the order given, each once.

    Args:
        model: as files are called after it.

    Raises:
        InputError: one is not right, or the files of two would be called alike.
    """
    names = [name.strip() for word in words for name in word.split(",") if name.strip()] or list(default)
    found = [parse(name) for name in dict.fromkeys(names)]
    for place, one in enumerate(found):
        if same := [other.name for other in found[:place] if other.file_name_for(model) == one.file_name_for(model)]:
            raise InputError(f"the recipes {same[0]} and {one.name} would give files of one name: convert them apart, or call a .toml file otherwise")
    return found


def formats_from(words: str | None, default: Sequence[str]) -> list[Format]:
    """`tflite,onnx` → formats in that order; `all` → all that do not wait to be named."""
    names = [name.strip() for name in (words or "").split(",") if name.strip()] or list(default)
    if names == ["all"]:
        names = [name for name, fmt in formats().items() if fmt.in_all]
    return [format_named(name) for name in dict.fromkeys(names)]


def protocol_option(function: Function) -> Function:
    """--quick and --full, as `protocol`."""
    quick = click.option("--quick", "protocol", flag_value="quick", default="quick", help="At least 50 runs and 1 s.  [default]")
    full = click.option("--full", "protocol", flag_value="full", help="At least 1024 runs and 60 s, in three fresh processes.")
    return quick(full(function))


threads_option = click.option("--threads", type=click.IntRange(1, 64), help="Threads of one inference.  [default: the device's setting, else 1]")
