"""A data file (or nothing) and the model's inputs in, tensor folders for calibration and evaluation out."""

from __future__ import annotations

import difflib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile

from edgekit.toolchains.convert.sampling.random_inputs import RANDOM_SAMPLES, index_bounds, random_samples
from edgekit.toolchains.convert.sampling.training import Array, Spec, Unusable, beyond, require_enough, split_in_three, split_in_two, told_of

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


LABELS = "labels"
MOST_CALIBRATION = 200
"""Post-training quantization gains little beyond 100 to 500 samples (Krishnamoorthi 2018, section 3)."""
LEAST_EACH = 8
MOST_BYTES = 256_000_000
"""What each set of inputs may take in memory and on disk."""


def run(job: Job) -> dict[str, Any]:
    """`data` (.npz or .npy, optional), `train`? (more such, to train and calibrate with), `hub`? (bounds random indices) → tensor folders, labels.

    Options: `inputs` (specs), `outputs`? (specs: labels have to fit them), `need_calibration`, `need_training` (out of `train` if it is there),
    `max_evaluation`, `max_unlabelled` (the same without labels), `seed`.
    Writes `calibration/`, `evaluation/`, `training/`, and `labels.npy` and `training_labels.npy` of the last two. Returns `n_calibration`,
    `n_evaluation`, `n_training`, `origin` (a sentence that says where the samples are from and how they were split).
    """
    inputs: list[Spec] = job.options["inputs"]
    seed = int(job.options.get("seed", 0))
    wanted, trained = bool(job.options.get("need_calibration", False)), bool(job.options.get("need_training", False))
    try:
        if "data" not in job.inputs:
            if wanted or trained:
                what, option = ("training", "--train") if trained else ("calibration", "--data")
                raise Unusable(f"{what} needs real samples: give them with {option} FILE.npz, arrays named as the model's inputs")
            integers = any(np.dtype(spec["dtype"]).kind in "iu" for spec in inputs)
            arrays, origin = random_samples(inputs, index_bounds(job.inputs.get("hub")) if integers else {}, seed)
            save(arrays, job.out / "evaluation")
            return {"n_calibration": 0, "n_evaluation": RANDOM_SAMPLES, "n_training": 0, "origin": origin}
        given = opened(job, job.inputs["data"])
        n = len(given.arrays[0])
        most = int(job.options["max_evaluation"])
        enough = f"{most} are evaluated at most"
        if given.labels is None:  # parity needs fewer samples than a metric does
            most = int(job.options.get("max_unlabelled", most))
            enough = f"without labels {most} are enough"
        sample_bytes = sum(a[0].nbytes for a in given.arrays)
        calibrating, training, chosen = given, given, np.arange(0)
        own = "train" in job.inputs
        if trained and not own:
            room = max(LEAST_EACH, MOST_BYTES // max(sample_bytes, 1))
            (calibration, chosen, evaluation), how = split_in_three(given.name, n, sample_bytes, (min(MOST_CALIBRATION, room), min(most, room)), seed)
        elif not own:
            calibration, evaluation, how = split(given.name, n, sample_bytes, wanted, most, enough, seed)
        else:
            evaluation, how = evaluated(given.name, n, sample_bytes, most, enough, seed)
            training = calibrating = opened(job, job.inputs["train"])
            require_enough(training.name, len(training.arrays[0]))
            calibration, chosen = split_in_two(len(training.arrays[0]), MOST_CALIBRATION if wanted else 0, seed)
            how += f"; {training.name}: " + told_of(len(calibration), len(chosen) if trained else 0)
    except Unusable as refusal:
        job.refuse(str(refusal), kind="input")
    if wanted:
        calibrating.save(calibration, job.out / "calibration", None)
    given.save(evaluation, job.out / "evaluation", job.out / "labels.npy")
    if trained:
        training.save(chosen, job.out / "training", job.out / "training_labels.npy")
    return {"n_calibration": len(calibration) if wanted else 0, "n_evaluation": len(evaluation), "n_training": len(chosen) if trained else 0, "origin": how}


@dataclass(frozen=True, slots=True)
class Given:
    """A file of samples that fits the model."""

    name: str
    arrays: list[Array]
    """[n, *shape of the input], in the model's order."""
    labels: Array | None

    def save(self, indices: Array, folder: Path, labels: Path | None) -> None:
        """Write some of the samples as a tensor folder, and their labels, if there are any."""
        save([array[indices] for array in self.arrays], folder)
        if labels is not None and self.labels is not None:
            np.save(labels, self.labels[indices])


def opened(job: Job, path: Path) -> Given:
    """
    Raises:
        Unusable: the file does not fit the model.
    """
    inputs: list[Spec] = job.options["inputs"]
    job.progress(f"reading {path.name}")
    found = read(path, inputs)
    labels = check_labels(path.name, found.pop(LABELS)) if LABELS in found else None
    arrays = [fit(path.name, found[spec["name"]], spec) for spec in inputs]
    same_length(path.name, inputs, arrays, labels)
    if labels is not None and (words := beyond(path.name, labels, job.options.get("outputs", []))):
        raise Unusable(words)
    return Given(path.name, arrays, labels)


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


def evaluated(file: str, n: int, sample_bytes: int, most: int, enough: str, seed: int) -> tuple[Array, str]:
    """Indices for evaluation where nothing else is taken from a file, and a sentence about them."""
    room = max(LEAST_EACH, MOST_BYTES // max(sample_bytes, 1))
    if n <= min(most, room):
        return np.arange(n), f"{file}: all {n} samples for evaluation"
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[: min(most, room)])
    why = enough if len(chosen) == most else f"{len(chosen)} of them fill the memory that they may take"
    return chosen, f"{file}, drawn once by seed {seed}: {len(chosen)} of {n} samples for evaluation ({why})"


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


def save(arrays: list[Array], folder: Path) -> None:
    """Write a tensor folder: `0.npy`, `1.npy`, … in the order of the inputs."""
    folder.mkdir()
    for index, array in enumerate(arrays):
        np.save(folder / f"{index}.npy", array)
