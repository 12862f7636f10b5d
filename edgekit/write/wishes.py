"""What a user may wish of conversions beside recipes and formats, as data: workers get it as options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

Calibration = Literal["auto", "minmax", "percentile", "entropy", "mse"]
Io = Literal["float", "integer"]
LayoutWish = Literal["model", "nhwc"]
RouteWish = Literal["any", "hub", "native"]

CALIBRATIONS: tuple[str, ...] = get_args(Calibration)
IOS: tuple[str, ...] = get_args(Io)
LAYOUTS: tuple[str, ...] = get_args(LayoutWish)
ROUTES: tuple[str, ...] = get_args(RouteWish)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How networks are tuned, where a recipe says that they are."""

    train: Path | None = None
    """Samples to train with; None: a part of the data that nothing else uses."""
    epochs: int | None = None
    """None leaves it to the tuner, or to the recipe."""
    seconds: float | None = None
    """No longer than that for each tuning."""
    seed: int = 0
    """Of all that is drawn: starting points, the order of samples."""
    apart: bool = False
    """Samples to train with are kept out of evaluation even where nothing is tuned, so that recipes with and without can be compared."""

    @property
    def told(self) -> Mapping[str, Any]:
        """What is not as usual, as JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items() if value != getattr(Tuning(), name)}


@dataclass(frozen=True, slots=True)
class Wishes:
    """The same for all files of one conversion."""

    calibration: Calibration = "auto"
    """How the ranges of activations are set; `auto`: whichever gives the least error on the calibration samples."""
    keep_float: Literal["auto"] | float | None = None
    """Leave what loses most in float until the file's SQNR reaches this many dB; `auto`: the floor that the recipe has."""
    io: Io = "float"
    """What a file with integer activations takes and gives."""
    layout: LayoutWish = "model"
    """The order of the boundary's axes: the model's own, or the format's."""
    route: RouteWish = "any"
    """Which way to the float file; `any`: in their order until one gives a file that is right."""
    tuning: Tuning = Tuning()

    @property
    def for_writers(self) -> Mapping[str, Any]:
        """Options beside the format's own; none where nothing is wished."""
        return {} if self.layout == "model" else {"layout": self.layout}

    def for_quantizers(self, calibrated: bool) -> Mapping[str, Any]:
        """Options beside `recipe`; those about activations for calibrated recipes alone."""
        return {"keep_float": self.keep_float, **({"calibration": self.calibration, "io": self.io} if calibrated else {})}

    @property
    def told(self) -> Mapping[str, Any]:
        """What was wished otherwise than usual, for the lineage."""
        usual = Wishes()
        names = (one.name for one in fields(self) if one.name != "tuning")
        return {**{name: getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)}, **self.tuning.told}
