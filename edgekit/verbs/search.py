"""A model, a device, data and a budget in; out, recipes tried on the device and the Pareto front of accuracy, latency, download size and memory.

Each trial is a `deploy` of one file. What to try next is suggested by Optuna's multi-objective TPE (Ozaki et al. 2020, "Multiobjective
tree-structured Parzen estimator for computationally expensive optimization problems"); trials are kept, so the same search goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.decide import accuracy_of
from edgekit.errors import ConvertError, DeviceError, InputError, Unreachable
from edgekit.recipe import Recipe, parse
from edgekit.records import Variant
from edgekit.toolchains.jobs import Progress
from edgekit.verbs.convert import prefixed
from edgekit.verbs.deploy import Deployment
from edgekit.verbs.search_front import Tried, Values, front
from edgekit.verbs.search_space import Space
from edgekit.verbs.search_study import Study
from edgekit.write.format import Format

SEED = 0
STALE = 40
"""So many suggestions in a row that were tried before mean that little is left to find."""

Attempt = Callable[[Recipe, Format, Progress], Deployment]
"""Converts and measures one file: `deploy`, with all that a search holds fixed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search ends; what is None does not end it."""

    seconds: float | None
    trials: int | None
    """Of this call; those of earlier ones do not count."""

    def over(self, new: int, elapsed_s: float, known: Iterable[Tried]) -> str | None:
        """Why no trial is begun any more."""
        if self.trials is not None and new >= self.trials:
            return f"{self.trials} trial{'' if self.trials == 1 else 's'}"
        if self.seconds is not None and elapsed_s + longest_s(known, tuned=False) > self.seconds:
            return f"the next trial would not end within {self.seconds:.0f} s by what earlier ones took"
        return None

    def may_tune(self, elapsed_s: float, known: Iterable[Tried]) -> bool:
        """Whether a trial that tunes can end in time; where none is known yet, it is begun in the first half only."""
        known = list(known)
        if self.seconds is None:
            return True
        longest = longest_s(known, tuned=True)
        return elapsed_s + longest <= self.seconds if longest else elapsed_s <= self.seconds / 2


def longest_s(known: Iterable[Tried], tuned: bool) -> float:
    """How long the longest trial took that tuned, or did not."""
    return max((one.elapsed_s for one in known if ("tune" in one.recipe.split("+")) == tuned), default=0.0)


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, by this call and earlier ones."""

    trials: tuple[Tried, ...]
    front: tuple[Tried, ...]
    new: int
    """Trials of this call."""
    stopped: str
    """Why it ended."""
    elapsed_s: float


def search(fixed: Mapping[str, Any], space: Space, attempt: Attempt, budget: Budget, labelled: bool, started: float, progress: Progress) -> Search:
    """Try recipes until the budget is used up, or nothing new is suggested.

    Args:
        fixed: what is the same for all trials, as JSON, which tells one search from another: model, device, data, protocol.
        attempt: what it refuses or fails is recorded with its reason, and costs nothing else.
        started: when the budget began, by `time.monotonic`.
        labelled: whether accuracy is weighed, which needs labels; else the SQNR of the outputs.

    Raises:
        Unreachable: the device was lost; what was tried is kept.
        SetupError: something has to be installed, or the searches cannot be kept.
    """
    study = Study(name_of(fixed, space), SEED)
    for parameters in space.first():
        study.enqueue(parameters)
    known = {(one.recipe, one.format): one for one in study.tried()}
    new, repeated, stopped = 0, 0, None
    while stopped is None:
        elapsed_s = time.monotonic() - started
        trial = study.ask()
        name, fmt = space.suggest(trial, budget.may_tune(elapsed_s, known.values()))
        if earlier := known.get((name, fmt.name)):
            study.tell(trial, earlier, again=True)
            repeated += 1
        else:
            repeated, new = 0, new + 1
            one = tried(trial.number, name, fmt, attempt, labelled, prefixed(f"trial {new}, {fmt.name} {name}", progress))
            study.tell(trial, one)
            known[name, fmt.name] = one
        stopped = budget.over(new, time.monotonic() - started, known.values())
        if repeated >= STALE:
            stopped = f"the last {STALE} suggestions had all been tried"
    trials = study.tried()
    return Search(trials, front(trials), new, stopped, time.monotonic() - started)


def name_of(fixed: Mapping[str, Any], space: Space) -> str:
    """The same for the same question."""
    asked = {**fixed, "formats": [fmt.name for fmt in space.formats], "calibrated": space.calibrated, "tuned": space.tuned}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def tried(number: int, name: str, fmt: Format, attempt: Attempt, labelled: bool, progress: Progress) -> Tried:
    """Make and measure one file; what goes wrong with it is its result."""
    started = time.monotonic()
    run: str | None = None
    values, error = None, None
    try:
        done = attempt(parse(name), fmt, progress)
        run = done.run.id
        values, error = values_of(done.run.variants[0], labelled)
    except Unreachable:
        raise
    except (InputError, ConvertError, DeviceError) as exc:
        error = str(exc)
    return Tried(number, name, fmt.name, values, error, time.monotonic() - started, run)


def values_of(variant: Variant, labelled: bool) -> tuple[Values | None, str | None]:
    """What a search weighs, or why there is nothing to weigh."""
    artifact, measured = variant.artifact, variant.measurement
    if variant.status != "ok" or artifact is None or measured is None or measured.latency is None:
        return None, variant.error or "it was not measured"
    accuracy = accuracy_of(variant)
    if labelled and accuracy is None:
        return None, "its accuracy is not known"
    quality = accuracy.value if labelled and accuracy is not None else measured.parity.sqnr_db
    peak = measured.memory.peak_rss_bytes if measured.memory else None
    return Values(quality, measured.latency.p50_ns, artifact.download_bytes, peak or 0), None
