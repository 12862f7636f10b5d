"""Two files of one model and samples in, tensor by tensor how far the second is from the first out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.toolchains.convert.runtime.departure import Compared, compare, first_departure, plain_figures
from edgekit.toolchains.convert.runtime.runners import CannotRunError, Runner, open_runner
from edgekit.toolchains.convert.runtime.trace import trace

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

MOST_SAMPLES = 4
"""All tensors of a run are kept at once, and each sample is a run of both files."""


def run(job: Job) -> dict[str, Any]:
    """`a`, `b`, `samples`, `a_runner`?, `b_runner`? (of plug-ins) with `formats`, `floor_db` → `tensors` (the worst of the samples), `outputs`, `first`.

    Files of other makers have other names and another order of outputs: an output is compared with the nearest of its size.

    Refuses files that do not run, or do not take the same samples.
    """
    formats, floor_db = job.options["formats"], job.options["floor_db"]
    runners = []
    for key, format_ in zip("ab", formats, strict=True):
        job.progress(f"loading {job.inputs[key].name}")
        try:
            runners.append(open_runner(job.inputs[key], format_, job.inputs.get(f"{key}_runner")))
        except CannotRunError as exc:
            job.refuse(f"{job.inputs[key].name} does not run: {exc}; check the file", kind="input")
    refuse_strangers(job, runners)
    arrays = [np.load(job.inputs["samples"] / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(runners[0].inputs))]
    n = min(MOST_SAMPLES, *(len(array) for array in arrays)) if arrays else 1
    rows: list[Compared] = []
    outputs: list[list[float]] = []
    for index in range(n):
        job.progress("running both", (index + 1) / n)
        feeds = [[np.asarray(a[index]).astype(s["dtype"]).reshape(s["shape"]) for a, s in zip(arrays, runner.inputs, strict=True)] for runner in runners]
        try:
            one, other = (trace(runner, fed) for runner, fed in zip(runners, feeds, strict=True))
            found = compare(one, other, floor_db)
            given = [runner.run(fed) for runner, fed in zip(runners, feeds, strict=True)]
        except CannotRunError as exc:
            job.refuse(f"the files cannot be compared: {exc}; check the files", kind="input")
        rows = found if not rows else [worse(a, b) for a, b in zip(rows, found, strict=True)]
        outputs.append([max(plain_figures(a, b.reshape(-1))[0] for b in given[1] if b.size == a.size) for a in given[0]])
    worst = [min(column) for column in zip(*outputs, strict=True)]
    named = [{"name": one["name"], "sqnr_db": value} for one, value in zip(runners[0].outputs, worst, strict=True)]
    first = first_departure(rows, min(worst, default=floor_db) < floor_db, runners[1].delegate)
    return {"tensors": [asdict(row) for row in rows], "outputs": named, "first": asdict(first) if first else None, "samples": n}


def refuse_strangers(job: Job, runners: list[Runner]) -> None:
    """Refuse two files that cannot be of one model."""
    for kind in ("inputs", "outputs"):
        sizes = [sorted(int(np.prod(one["shape"])) for one in getattr(runner, kind)) for runner in runners]
        if sizes[0] != sizes[1]:
            words = " and ".join(", ".join(f"{one['name']} {one['shape']}" for one in getattr(runner, kind)) for runner in runners)
            job.refuse(f"the files are not of one model: their {kind} are {words}; give a model and a file made from it", kind="input")


def worse(a: Compared, b: Compared) -> Compared:
    """Of one tensor on two samples, the one to worry about: a departure before an agreement, then the lower SQNR."""
    rank = {"departs": 0, "agrees": 1, "unseen": 2}
    return min(a, b, key=lambda one: (rank[one.verdict], one.sqnr_db if one.sqnr_db is not None else float("inf")))
