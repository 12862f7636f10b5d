"""What a user may wish of conversions beside recipes and formats, as data: workers get it as options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
        usual = asdict(Wishes())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}
