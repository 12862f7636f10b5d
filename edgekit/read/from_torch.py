"""A torch module of the caller's own torch in, a Model out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConvertError
from edgekit.files import sha256_file
from edgekit.model import open_model
from edgekit.places import data_dir
from edgekit.records import Model

if TYPE_CHECKING:
    import torch


def from_torch(module: torch.nn.Module, example_inputs: Sequence[Any], *, name: str = "model") -> Model:
    """Export a module with `torch.export` and read it like any `.pt2` file.

    Args:
        module: in eval mode; its forward's argument names become the input names.
        example_inputs: one tensor for each argument, of the shape and dtype that the device will see.
        name: what files made from it are called.

    Raises:
        ConvertError: torch cannot export the module; the message holds torch's own words.
        SetupError: the toolchains `torch` or `convert` are not installed.
    """
    import torch

    if module.training:
        raise ConvertError(f"{type(module).__name__} is in training mode, where dropout and batch norm act differently: call .eval() first")
    models = data_dir() / "models"
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models) as scratch:
        aside = Path(scratch) / f"{name}.pt2"
        try:
            torch.export.save(torch.export.export(module, tuple(example_inputs)), aside)
        except (RuntimeError, TypeError, ValueError) as exc:
            words = " ".join(str(exc).split())[:300]
            raise ConvertError(f"torch.export cannot take {type(module).__name__} ({words}): rewrite that part, or export it to ONNX yourself") from exc
        final = models / sha256_file(aside)[:16] / f"{name}.pt2"
        final.parent.mkdir(exist_ok=True)
        aside.rename(final)
    return open_model(final, {}, lambda text, fraction: None)
