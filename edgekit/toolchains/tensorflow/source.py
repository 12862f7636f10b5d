"""A Keras file or a SavedModel in, a callable program with named inputs and outputs out."""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_ENABLE_ONEDNN_OPTS="0")

import keras
import tensorflow as tf

from edgekit.toolchains.tensorflow.scopes import name_as_in_keras

__all__ = ["Program", "load", "tf"]

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


LOADING_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, OSError, AttributeError, NotImplementedError, ImportError, RuntimeError, AssertionError),
    *(EOFError, struct.error, zlib.error, zipfile.BadZipFile, tf.errors.OpError),
)
"""What Keras, h5py and TensorFlow were seen to raise of damaged files: they have no error of their own for them."""

MOST_STEPS = 256
"""Of a recurrent layer that is written out; each step is about ten operators."""


@dataclass(frozen=True, slots=True)
class Program:
    """A model as TensorFlow runs it: a list of tensors in, a list of tensors out."""

    kind: str
    """`keras` or `savedmodel`."""
    inputs: dict[str, tuple[Any, list[int | str | None] | None]]
    """Name → tf dtype and shape, in the model's order; None where an axis (or the rank) is open."""
    outputs: list[str]
    call: Callable[[list[Any]], list[Any]]
    unroll: Callable[[dict[str, list[int]]], None]
    """Given the inputs' fixed shapes: short recurrent layers write out their steps, for converters that cannot carry the loop that they are."""


def load(job: Job) -> Program:
    """The model that the job gives under `model`; one thread runs it."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path = job.inputs["model"]
    if path.is_dir():
        return load_saved_model(job, path)
    return load_keras(job, path)


def load_keras(job: Job, path: Path) -> Program:
    """A `.keras`, `.h5` or `.hdf5` file. Lambda layers, which hold Python code, are never run."""
    head = path.open("rb").read(8)
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        cure = "name it *.h5, because it is an HDF5 file" if head.startswith(b"\x89HDF") else "it is truncated or something else, so save or fetch it again"
        job.refuse(f"{path.name} is not a Keras model: {cure}", kind="input")
    if path.suffix != ".keras" and not head.startswith(b"\x89HDF"):
        job.refuse(f"{path.name} is not an HDF5 file: it is truncated or something else, so save or fetch it again", kind="input")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except LOADING_ERRORS as exc:
        text = str(exc)
        words = " ".join(text.split())[:200]
        own = re.search(r"(?:locate class|Unknown layer:?|Unknown object:?) '?(\w+)", text)
        if "`Lambda`" in text or "Lambda layer" in text:
            job.refuse(
                f"{path.name} has a Lambda layer, whose Python code is never run: save the model with model.export(FOLDER) and give that folder", kind="input"
            )
        if own:
            job.refuse(
                f"{path.name} needs the class {own[1]!r}, which is not Keras': save the model with model.export(FOLDER) and give that folder", kind="input"
            )
        job.refuse(f"{path.name} cannot be loaded by Keras {keras.__version__} ({words}): check that it is whole, or save it again", kind="input")
    if not getattr(model, "inputs", None):
        job.refuse(f"{path.name} was saved before it knew its inputs: call the model once on data, or build it, and save it again", kind="input")
    stateful = next((layer.name for layer in model._flatten_layers() if getattr(layer, "stateful", False) and isinstance(layer, keras.layers.RNN)), None)
    if stateful is not None:
        job.refuse(
            f"{path.name} has the stateful layer {stateful!r}, which keeps its state from one call to the next: build the model with stateful=False, "
            "the state as an input (initial_state=) and as an output (return_state=True), and load the weights into it",
            kind="input",
        )
    name_as_in_keras(model)
    structure = getattr(model, "_inputs_struct", model.inputs[0])

    def call(flat: list[Any]) -> list[Any]:
        packed = keras.tree.pack_sequence_as(structure, flat)
        return list(keras.tree.flatten(model(packed, training=False)))

    inputs: dict[str, tuple[Any, list[int | str | None] | None]] = {tensor.name: (tf.as_dtype(tensor.dtype), list(tensor.shape)) for tensor in model.inputs}
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    return Program("keras", inputs, unique(names), call, lambda shapes: unroll(model, shapes))


def unroll(model: Any, shapes: dict[str, list[int]]) -> None:
    """Set Keras' own `unroll` on recurrent layers of at most `MOST_STEPS` steps, those within Bidirectional too.

    A layer whose own number of steps is open has that of the model's inputs, if these agree.
    """
    lengths = {shape[1] for shape in shapes.values() if len(shape) > 1}
    for layer in model._flatten_layers():
        if not isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional)):
            continue
        try:
            steps = layer.input.shape[1]
        except (AttributeError, ValueError):  # within another layer, or called several times
            steps = None
        if steps is None and len(lengths) == 1:
            (steps,) = lengths
        if steps is not None and steps <= MOST_STEPS:
            for recurrent in (layer.forward_layer, layer.backward_layer) if isinstance(layer, keras.layers.Bidirectional) else (layer,):
                recurrent.unroll = True


def load_saved_model(job: Job, path: Path) -> Program:
    """A SavedModel's serving signature."""
    if not (path / "saved_model.pb").exists():
        job.refuse(f"{path.name} is a folder without saved_model.pb: give a SavedModel folder, or a model file", kind="input")
    try:
        loaded = tf.saved_model.load(str(path))
    except LOADING_ERRORS as exc:
        job.refuse(f"{path.name} cannot be loaded as a SavedModel ({' '.join(str(exc).split())[:200]}): save it again", kind="input")
    signatures = loaded.signatures
    name = next((name for name in ("serving_default", "serve") if name in signatures), next(iter(signatures), None))
    if name is None:
        job.refuse(f"{path.name} has no signature: save it with model.export(FOLDER), or give tf.saved_model.save its signatures", kind="input")
    signature = signatures[name]
    declared: dict[str, Any] = dict(sorted(signature.structured_input_signature[1].items()))  # a signature has names and no order
    outputs = sorted(signature.structured_outputs)

    def call(flat: list[Any], _alive: Any = loaded) -> list[Any]:  # the loaded object owns the variables
        found = signature(**dict(zip(declared, flat, strict=True)))
        return [found[key] for key in outputs]

    inputs = {key: (spec.dtype, None if spec.shape.rank is None else spec.shape.as_list()) for key, spec in declared.items()}
    return Program("savedmodel", inputs, outputs, call, lambda shapes: None)


def unique(names: list[str]) -> list[str]:
    """The names, with a number behind those that repeat."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        found.append(f"{name}_{seen[name]}" if seen[name] else name)
    return found
