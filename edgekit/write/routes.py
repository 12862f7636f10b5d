"""A kind of source and a format in, the ways to the format's float file out, in the order in which they are tried; data only.

The hub's route is the format's own writer. A native route takes the source model itself, with the hub for the boundary that the file
must have (names, order, dtypes, shapes, layout). The first route whose file is written and verified is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekit.write.format import Format

HUB: Literal["hub"] = "hub"


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a format's float file: a worker that writes it as `model<suffix>`."""

    name: str
    """Such as `TFLiteConverter`; what messages and the lineage call it."""
    toolchain: str
    verb: str | Path
    tools: tuple[str, ...]
    """Packages of the toolchain that take part."""
    native: bool = True
    """Whether it takes the source model; only recipes that change nothing on the hub can then go this way."""


TFLITE_CONVERTER = Route("TFLiteConverter", "tensorflow", "write_tflite", ("tensorflow-cpu",))
COREML_FROM_TENSORFLOW = Route("coremltools from TensorFlow", "tensorflow", "write_coreml", ("coremltools", "tensorflow-cpu"))
COREML_FROM_TORCH = Route("coremltools from torch", "torch", "write_coreml", ("coremltools", "torch"))

ORDER: Mapping[tuple[str, str], tuple[Route | Literal["hub"], ...]] = {
    # TensorFlow's own file has no more operators than the hub's, and fewer in recurrent layers and attention.
    ("keras", "tflite"): (TFLITE_CONVERTER, HUB),
    ("keras", "coreml"): (HUB, COREML_FROM_TENSORFLOW),
    ("savedmodel", "tflite"): (TFLITE_CONVERTER, HUB),
    ("savedmodel", "coreml"): (HUB, COREML_FROM_TENSORFLOW),
    # coremltools keeps torch's own fusions: scaled dot-product attention, layer norm, recurrent layers.
    ("pt2", "coreml"): (COREML_FROM_TORCH, HUB),
}
"""(source, format) → the routes in their order; other pairs have the hub's alone."""


def hub_route(fmt: Format) -> Route:
    """The format's own writer."""
    return Route(fmt.write_tools[0] if fmt.write_tools else fmt.title, fmt.toolchain, fmt.write_verb, fmt.write_tools, native=False)


def routes_for(source: str, fmt: Format) -> tuple[Route, ...]:
    """All ways from a kind of source to a format."""
    return tuple(hub_route(fmt) if route == HUB else route for route in ORDER.get((source, fmt.name), (HUB,)))
