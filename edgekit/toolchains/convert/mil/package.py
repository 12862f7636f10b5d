"""A path to an .mlpackage in, its Model message and the folder of its weights out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arguments import EvaluationError
from .blobs import Blobs
from .schema import NotAModelError, parse

LARGEST_SPEC = 1 << 29
"""Bytes of a model.mlmodel that is read: weights are in a file of their own, this holds operations."""


@dataclass(frozen=True, slots=True)
class Package:
    """The message, the function that is evaluated with its description, and the weights."""

    model: Any
    function: Any
    description: Any
    blobs: Blobs


def open_package(path: Path) -> Package:
    """The package's `main` function.

    Raises:
        EvaluationError: it is no ML Program, or damaged.
    """
    try:
        spec = spec_file(path)
        if spec.stat().st_size > LARGEST_SPEC:
            raise EvaluationError(f"its {spec.name} of {spec.stat().st_size} bytes is too large")
        model = parse(spec.read_bytes())
    except (OSError, NotAModelError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise EvaluationError(f"{path.name} is not an ML Program that can be loaded ({exc})") from exc
    functions = model.mlProgram.functions
    if "main" not in functions:
        raise EvaluationError(f"{path.name} is not an ML Program: it has no function 'main'")
    described = {one.name: one for one in model.description.functions}  # a package with several functions describes each apart
    return Package(model, functions["main"], described.get("main", model.description), Blobs(spec.parent / "weights"))


def spec_file(path: Path) -> Path:
    """The model.mlmodel that the package's manifest names, inside the package."""
    manifest = json.loads((path / "Manifest.json").read_text())
    name = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    data = (path / "Data").resolve()
    spec: Path = (data / name).resolve()
    if not spec.is_relative_to(data):
        raise ValueError("its manifest points out of the package")
    return spec


def block_of(function: Any) -> Any:
    """The block of the function's own opset.

    Raises:
        EvaluationError: there is none.
    """
    if function.opset not in function.block_specializations:
        raise EvaluationError(f"its function 'main' has no block for {function.opset!r}")
    return function.block_specializations[function.opset]
