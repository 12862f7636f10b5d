"""A `.pt2` file in, the exported program out."""

from __future__ import annotations

import logging
import pickle
import struct
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import torch
from torch._export.verifier import SpecViolationError

__all__ = ["input_names", "load", "output_names", "torch"]

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

LOADING_ERRORS = (
    *(RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, NotImplementedError, OSError, EOFError),
    *(struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError, SpecViolationError),
)
"""What torch was seen to raise of damaged files: it has no error of its own for them."""

CURE = "save it with torch.export.save(torch.export.export(model.eval(), inputs), 'model.pt2'), or call edgekit.from_torch"


def load(job: Job) -> Any:
    """The `torch.export.ExportedProgram` that the job gives under `model`; one thread runs it."""
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    path = job.inputs["model"]
    if path.suffix != ".pt2":
        job.refuse(f"{path.name} may hold Python objects, which are never loaded: {CURE}", kind="input")
    if not zipfile.is_zipfile(path):
        job.refuse(f"{path.name} is not a PyTorch program: it is truncated or something else, so {CURE}", kind="input")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (ValueError, NotImplementedError, zipfile.BadZipFile) as exc:
        job.refuse(f"{path.name} is a damaged archive ({exc}): fetch it again, or {CURE}", kind="input")
    if not any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
        job.refuse(f"{path.name} holds weights or TorchScript, not an exported program: {CURE}", kind="input")
    try:
        program = torch.export.load(path)
    except LOADING_ERRORS as exc:
        words = " ".join(str(exc).split())[:200]
        job.refuse(f"{path.name} cannot be loaded by PyTorch {torch.__version__} ({words}): {CURE}", kind="input")
    trained = training_node(program)
    if trained is not None:
        job.refuse(f"{path.name} was exported in training mode (node {trained!r}): call model.eval() before torch.export.export", kind="input", node=trained)
    return program


def training_node(program: Any) -> str | None:
    """The first batch norm or dropout that was exported to behave as in training, else None."""
    for node in program.graph.nodes:
        target = str(node.target)
        if target.startswith("aten.batch_norm.") and len(node.args) > 5 and node.args[5] is True:
            return str(node.name)
        if target.startswith(("aten.dropout.", "aten.feature_dropout.")) and len(node.args) > 2 and node.args[2] is True and node.args[1] > 0:
            return str(node.name)
    return None


def input_names(program: Any) -> list[str]:
    """The names of the inputs that are tensors, in the order of the forward's arguments."""
    specs = program.graph_signature.input_specs
    return [spec.arg.name for spec in specs if spec.kind.name == "USER_INPUT" and hasattr(spec.arg, "name") and not hasattr(spec.arg, "value")]


def output_names(program: Any) -> list[str]:
    """A name for each result that is a tensor: the keys of a dict that the forward gives, else what the exporter calls them."""
    specs = [spec for spec in program.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"]
    tree = program.call_spec.out_spec
    keys = list(tree.context) if tree.type is dict and len(tree.context) == len(specs) else [getattr(spec.arg, "name", "") for spec in specs]
    taken = set(input_names(program))
    names: list[str] = []
    for key, spec in zip(keys, specs, strict=True):
        if not hasattr(spec.arg, "name") or hasattr(spec.arg, "value"):
            continue  # None, or a number
        name = str(key)
        while name in taken:
            name += "_out"
        taken.add(name)
        names.append(name)
    return names
