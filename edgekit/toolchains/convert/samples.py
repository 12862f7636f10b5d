"""A data file (or nothing) and the model's inputs in, tensor folders for calibration and evaluation out."""

from __future__ import annotations

import difflib
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Array = np.ndarray[Any, Any]
Spec = dict[str, Any]

LABELS = "labels"
RANDOM_SAMPLES = 4
"""More than one, so that a file that is right once and wrong after is seen; few, because each runs in every format."""
MOST_CALIBRATION = 200
"""Post-training quantization gains little beyond 100 to 500 samples (Krishnamoorthi 2018, section 3)."""
LEAST_EACH = 8
MOST_BYTES = 256_000_000
"""What each set of inputs may take in memory and on disk."""


class Unusable(Exception):
    """Data that does not fit the model, in one sentence."""


def run(job: Job) -> dict[str, Any]:
    """`data` (.npz or .npy, optional), `hub` (optional: bounds random indices) → `calibration/`, `evaluation/`, `labels.npy`.

    Options: `inputs` (specs), `need_calibration`, `max_evaluation`, `max_unlabelled` (the same without labels), `seed`.
    Returns `n_calibration`, `n_evaluation`, `origin` (a sentence that says where the samples are from and how they were split).
    """
    inputs: list[Spec] = job.options["inputs"]
    seed = int(job.options.get("seed", 0))
    wanted = bool(job.options.get("need_calibration", False))
    try:
        if "data" not in job.inputs:
            if wanted:
                raise Unusable("calibration needs real samples: give them with --data FILE.npz, arrays named as the model's inputs")
            integers = any(np.dtype(spec["dtype"]).kind in "iu" for spec in inputs)
            arrays, origin = random_samples(inputs, index_bounds(job.inputs.get("hub")) if integers else {}, seed)
            save(arrays, job.out / "evaluation")
            return {"n_calibration": 0, "n_evaluation": RANDOM_SAMPLES, "origin": origin}
        path = job.inputs["data"]
        job.progress(f"reading {path.name}")
        found = read(path, inputs)
        labels = check_labels(path.name, found.pop(LABELS)) if LABELS in found else None
        arrays = [fit(path.name, found[spec["name"]], spec) for spec in inputs]
        n = same_length(path.name, inputs, arrays, labels)
        most = int(job.options["max_evaluation"])
        enough = f"{most} are evaluated at most"
        if labels is None:  # parity needs fewer samples than a metric does
            most = int(job.options.get("max_unlabelled", most))
            enough = f"without labels {most} are enough"
        calibration, evaluation, how = split(path.name, n, sum(a[0].nbytes for a in arrays), wanted, most, enough, seed)
    except Unusable as refusal:
        job.refuse(str(refusal), kind="input")
    if wanted:
        save([array[calibration] for array in arrays], job.out / "calibration")
    save([array[evaluation] for array in arrays], job.out / "evaluation")
    if labels is not None:
        np.save(job.out / "labels.npy", labels[evaluation])
    return {"n_calibration": len(calibration) if wanted else 0, "n_evaluation": len(evaluation), "origin": how}


def read(path: Path, inputs: list[Spec]) -> dict[str, Array]:
    """The arrays of the file, under the names of the inputs and `labels`.

    Raises:
        Unusable: not an .npz or .npy file, pickled, or with other names.
    """
    names = [spec["name"] for spec in inputs]
    try:
        with path.open("rb") as file:  # numpy leaves a file open that it does not understand
            loaded = np.load(file, allow_pickle=False)
            arrays = {name: loaded[name] for name in loaded.files} if isinstance(loaded, NpzFile) else loaded
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as exc:
        if "allow_pickle" in str(exc) and "Object" in str(exc):
            raise Unusable(f"{path.name} holds Python objects, which are never loaded: save plain arrays of numbers with numpy.savez") from exc
        raise Unusable(f"{path.name} is not an .npz or .npy file, or is truncated: save it with numpy.savez") from exc
    if not isinstance(arrays, dict):
        if len(names) != 1:
            raise Unusable(f"{path.name} is one array, and the model has {len(names)} inputs ({', '.join(names)}): save all of them in one .npz")
        return {names[0]: arrays}
    for name in arrays:
        if name not in (*names, LABELS):
            near = difflib.get_close_matches(name, [*names, LABELS], n=1, cutoff=0.0)[0]
            raise Unusable(f"{path.name} has an array {name!r}, which is no input of the model: did you mean {near!r}? It takes {', '.join(names)} and labels")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise Unusable(f"{path.name} has no array {missing[0]!r}: add it, because the model takes {', '.join(names)}")
    return arrays


def fit(file: str, array: Array, spec: Spec) -> Array:
    """The array as [n, *shape of the input], in the input's type.

    Raises:
        Unusable: another shape or type, no samples, or NaN or infinite values.
    """
    what = f"array {spec['name']!r} of {file}"
    shape, wanted = list(spec["shape"]), np.dtype(spec["dtype"])
    if array.ndim == 0 or array.shape[0] == 0:
        raise Unusable(f"{what} is empty: its first axis counts samples, so give at least one")
    if list(array.shape[1:]) != shape:
        if shape[:1] != [1] or list(array.shape[1:]) != shape[1:]:
            alternative = f", or {['n', *shape[1:]]}" if shape[:1] == [1] else ""
            readable = f"{['n', *shape]}{alternative}".replace("'", "")
            reordered = sorted(array.shape[1:]) == sorted(shape) or sorted(array.shape[1:]) == sorted(shape[1:])
            cure = "put its axes in that order (numpy.transpose; a reshape would scramble the values)" if reordered else "give samples of that shape"
            raise Unusable(f"{what} has shape {list(array.shape)}, and the model needs {readable}, where n counts samples: {cure}")
        array = array.reshape(array.shape[0], *shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
        raise Unusable(f"{what} has NaN or infinite values, first in sample {first}: remove such samples")
    return cast(what, array, wanted)


def cast(what: str, array: Array, wanted: np.dtype[Any]) -> Array:
    """The array in another width of the same kind, where every value fits.

    Raises:
        Unusable: another kind, or values that do not fit.
    """
    if array.dtype == wanted:
        return array
    kinds = {"i": "integer", "u": "integer", "f": "floating"}
    same_kind = kinds.get(array.dtype.kind) is not None and kinds.get(array.dtype.kind) == kinds.get(wanted.kind)
    if not same_kind:
        scaled = ", scaled as the model was trained" if wanted.kind == "f" and array.dtype.kind in "iu" else ""
        raise Unusable(f"{what} is {array.dtype}, and the model takes {wanted}: convert it{scaled}")
    if wanted.kind == "f":
        largest = np.finfo(wanted).max
    else:
        largest = np.iinfo(wanted).max
        if array.min() < np.iinfo(wanted).min:
            raise Unusable(f"{what} holds {array.min()}, which {wanted} cannot hold: check the values")
    if np.abs(array).max() > largest if wanted.kind == "f" else array.max() > largest:
        raise Unusable(f"{what} holds {array.max()}, which {wanted} cannot hold: check the values")
    return array.astype(wanted)


def check_labels(file: str, labels: Array) -> Array:
    """Labels as int64 [n].

    Raises:
        Unusable: not one class index of 0 or more for each sample.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise Unusable(f"labels of {file} have shape {list(labels.shape)}: give one class index a sample, shape [n] (of one-hot rows, the argmax)")
    if labels.dtype.kind not in "iu":
        raise Unusable(f"labels of {file} are {labels.dtype}: give class indices as integers")
    if len(labels) and labels.min() < 0:
        raise Unusable(f"labels of {file} hold {labels.min()}: class indices start at 0")
    return labels.astype(np.int64)


def same_length(file: str, inputs: list[Spec], arrays: list[Array], labels: Array | None) -> int:
    """The number of samples.

    Raises:
        Unusable: the arrays do not agree.
    """
    lengths = {spec["name"]: len(array) for spec, array in zip(inputs, arrays, strict=True)}
    if labels is not None:
        lengths[LABELS] = len(labels)
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise Unusable(f"the arrays of {file} do not have the same number of samples ({told}): give as many of each")
    return next(iter(lengths.values()))


def split(file: str, n: int, sample_bytes: int, wanted: bool, max_evaluation: int, enough: str, seed: int) -> tuple[Array, Array, str]:
    """Indices for calibration and for evaluation, kept apart, and a sentence about them.

    A quarter (8 to 200) is kept for calibration even where none is needed, so that every recipe is evaluated on the same samples.

    Args:
        enough: why no more than `max_evaluation` are evaluated.

    Raises:
        Unusable: calibration is needed and there are too few samples for both.
    """
    room = max(LEAST_EACH, MOST_BYTES // max(sample_bytes, 1))
    if n < 2 * LEAST_EACH:
        if wanted:
            raise Unusable(f"{file} has {n} samples, and calibration and evaluation are kept apart: give at least {2 * LEAST_EACH}")
        evaluation = np.arange(min(n, max_evaluation))
        return np.arange(0), evaluation, f"{file}: the first {len(evaluation)} of {n} samples for evaluation"
    order = np.random.default_rng(seed).permutation(n)
    n_calibration = min(max(n // 4, LEAST_EACH), MOST_CALIBRATION, room)
    n_evaluation = min(n - n_calibration, max_evaluation, room)
    calibration, evaluation = np.sort(order[:n_calibration]), np.sort(order[n_calibration : n_calibration + n_evaluation])
    kept = f"{n_calibration} for calibration" if wanted else f"{n_calibration} kept for calibration"
    unused = n - n_calibration - n_evaluation
    why = enough if n_evaluation == max_evaluation else f"{n_evaluation} of them fill the memory that they may take"
    rest = f", {unused} unused ({why})" if unused else ""
    return calibration, evaluation, f"{file}, split once by seed {seed}: of {n} samples {kept}, {n_evaluation} others for evaluation{rest}"


def random_samples(inputs: list[Spec], bounds: dict[str, int], seed: int) -> tuple[list[Array], str]:
    """Seeded inputs for a model whose data is not known, and a sentence that says what they are."""
    draw = np.random.default_rng(seed)
    arrays: list[Array] = []
    told: list[str] = []
    for spec in inputs:
        dtype, shape = np.dtype(spec["dtype"]), (RANDOM_SAMPLES, *spec["shape"])
        if dtype.kind == "f":
            # Of zero mean: a large common part would hide what is small beside it in float32, in spectra for one.
            arrays.append(draw.standard_normal(shape).astype(dtype))
            told.append(f"{spec['name']} normal with mean 0 and deviation 1")
        elif dtype.kind == "b":
            arrays.append(draw.random(shape) < 0.5)
            told.append(f"{spec['name']} true or false")
        elif spec["name"] in bounds:
            arrays.append(draw.integers(0, bounds[spec["name"]], shape).astype(dtype))
            told.append(f"{spec['name']} indices below {bounds[spec['name']]}")
        elif dtype.itemsize == 1:
            limits = np.iinfo(np.uint8 if dtype.kind == "u" else np.int8)
            arrays.append(draw.integers(limits.min, limits.max + 1, shape).astype(dtype))
            told.append(f"{spec['name']} uniform in {limits.min}..{limits.max}")
        else:  # a mask or a length: 1 is valid for both
            arrays.append(np.ones(shape, dtype))
            told.append(f"{spec['name']} all 1")
    return arrays, f"{RANDOM_SAMPLES} random samples, seed {seed}: {', '.join(told)}; the range that the model was trained on is not known"


def index_bounds(hub: Path | None) -> dict[str, int]:
    """Input name → how many rows the smallest stored table has that it indexes (Gather), followed through what keeps values."""
    if hub is None:
        return {}
    import onnx

    from edgekit.hub.graph import attribute, readers, static_shapes

    graph = onnx.load(str(hub), load_external_data=False).graph
    read, shapes = readers(graph), static_shapes(graph)
    bounds: dict[str, int] = {}
    for value in graph.input:
        waiting, seen = [value.name], set[str]()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            for node in read.get(name, []):
                if node.op_type == "Gather" and node.input[1] == name and node.input[0] in shapes:
                    rows = shapes[node.input[0]][attribute(node, "axis", 0)]
                    bounds[value.name] = min(rows, bounds.get(value.name, rows))
                elif node.op_type in ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose") and node.input[0] == name:
                    waiting += [out for out in node.output if out not in seen]
    return bounds


def save(arrays: list[Array], folder: Path) -> None:
    """Write a tensor folder: `0.npy`, `1.npy`, … in the order of the inputs."""
    folder.mkdir()
    for index, array in enumerate(arrays):
        np.save(folder / f"{index}.npy", array)
