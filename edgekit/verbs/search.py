"""A model, a device, data and a budget in; out, recipes tried on the device, the front of accuracy, latency, download and memory, and the one to ship.

Each trial is a `deploy` of one file. Known good recipes come first; what to try next is suggested by Optuna's multi-objective TPE (Ozaki et al. 2020,
"Multiobjective tree-structured Parzen estimator for computationally expensive optimization problems"); trials are kept, so the same search goes on where
it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgekit.decide import accuracy_of, choose
from edgekit.errors import ConvertError, DeviceError, InputError, InUse, Unreachable
from edgekit.profile import find
from edgekit.recipe import Recipe, parse
from edgekit.records import Run, Variant
from edgekit.store import open_store
from edgekit.toolchains.jobs import Progress
from edgekit.verbs.convert import prefixed
from edgekit.verbs.deploy import Deployment
from edgekit.verbs.search_budget import Budget, is_outgrown
from edgekit.verbs.search_front import MOST_LOST_POINTS, Floor, Front, Tried, Values, floor, front
from edgekit.verbs.search_space import Given, Space, parameters, tuned_part
from edgekit.verbs.search_study import Begun, Study
from edgekit.write.format import Format, format_named

SEED = 0
STUCK = 20
"""After so many suggestions in a row that were tried before, the next are by chance: the sampler keeps to what it thinks best."""
STALE = 40
"""So many mean that little is left to find."""

ASK_AGAIN_S = 2.0
"""Between two looks at whether a device is free."""
MOST_WAITED_S = 600.0
"""For a device that another has, where no budget of time says."""

Attempt = Callable[[Recipe, Format, float | None, Progress], Deployment]
"""Converts and measures one file, each tuning within so many seconds: `deploy`, with all that a search holds fixed."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """What makes a trial good."""

    labelled: bool
    """Whether accuracy is weighed, which needs labels; else the SQNR of the outputs."""
    classes: int = 2
    """Of how many a guess is one."""
    most_lost_points: float = MOST_LOST_POINTS
    """Percentage points of accuracy that a trial on the front may lose."""

    def floor(self, known: Iterable[Tried]) -> Floor | None:
        """None while the model's own accuracy is not known."""
        baselines = [accuracy.baseline for one in known if one.variant and (accuracy := accuracy_of(one.variant))]
        if self.labelled and not baselines:
            return None
        return floor(max(baselines) if self.labelled else None, self.classes, self.most_lost_points)


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, by this call and earlier ones."""

    trials: tuple[Tried, ...]
    front: Front
    recommended: Tried | None
    """The one that `decide.choose` has of those above the floor."""
    reason: str
    """Why it is, or why there is none."""
    baseline: float | None
    """The model's own accuracy."""
    new: int
    """Trials of this call."""
    stopped: str
    """Why it ended."""
    elapsed_s: float


def search(name: str, space: Space, attempt: Attempt, budget: Budget, weighing: Weighing, started: float, progress: Progress) -> Search:
    """Try recipes until the budget is used up, or nothing new is suggested.

    Args:
        name: of `name_of`, under which trials are kept.
        attempt: what it refuses or fails is recorded with its reason, and costs nothing else.
        started: when the budget began, by `time.monotonic`.

    Raises:
        DeviceError: the device was lost, or is in use; what was tried is kept.
        SetupError: something has to be installed, or the searches cannot be kept.
    """
    study = Study(name, SEED)
    known = {(one.recipe, one.format): one for one in with_variants(study.tried())}
    passing = {one.number for one in known.values() if one.device_failed}  # a device may do better by now; whatever else failed would fail again
    cut_off = study.cut_off()
    attempt = once_free(attempt, started + (budget.seconds or MOST_WAITED_S))
    starts = [*(parameters(one.recipe, format_named(one.format)) for one in cut_off), *space.first()]
    new, repeated, stopped = 0, 0, None
    while stopped is None:
        left_s = budget.left_s(time.monotonic() - started)
        may_tune = budget.may_tune(left_s, known.values())
        share_s = budget.tune_s(left_s, known.values()) if may_tune else 0.0
        settled = {key: one for key, one in known.items() if one.number not in passing and not is_outgrown(one, share_s)}
        start = next_start(starts, space, settled, may_tune)
        trial = study.ask(start, by_chance=repeated >= STUCK)
        recipe, fmt = space.suggest(trial, may_tune or start is not None)
        least = weighing.floor(known.values())
        if earlier := settled.get((recipe, fmt.name)):
            study.tell(trial, earlier, least.least if least else None, again=True)
            repeated += 1
        else:
            repeated, new = 0, new + 1
            before = tuned_before(recipe, settled.values(), cut_off, left_s)
            tune_s = budget.tune_s(left_s, known.values(), before) if tuned_part(recipe) else None
            study.begin(trial, Begun(recipe, fmt.name, tune_s))
            one = tried(trial.number, recipe, fmt, tune_s, attempt, weighing.labelled, prefixed(f"trial {new}, {fmt.name} {recipe}", progress))
            known[recipe, fmt.name] = one
            least = weighing.floor(known.values())
            study.tell(trial, one, least.least if least else None)
        stopped = budget.over(new, time.monotonic() - started, known.values())
        if repeated >= STALE:
            stopped = f"the last {STALE} suggestions had all been tried"
    return found_of(tuple(sorted(known.values(), key=lambda one: one.number)), weighing, new, stopped, time.monotonic() - started)


def found_of(trials: tuple[Tried, ...], weighing: Weighing, new: int, stopped: str, elapsed_s: float) -> Search:
    """The front, and the one to ship."""
    least = weighing.floor(trials) or Floor(0.0, weighing.labelled)
    worthy = [one for one in trials if one.variant is not None and one.values is not None and one.values.quality >= least.least]
    profile = next((find(run.profile) for run in stored(one.run for one in worthy).values() if run.profile), None)
    choice = choose([one.variant for one in worthy if one.variant is not None], profile)
    recommended = next((one for one in worthy if choice and (one.recipe, one.format) == (choice.recipe, choice.format)), None)
    baselines = [accuracy.baseline for one in worthy if one.variant and (accuracy := accuracy_of(one.variant))]
    return Search(
        trials, front(trials, least, recommended), recommended, choice.reason if choice else "", max(baselines, default=None), new, stopped, elapsed_s
    )


def next_start(starts: Sequence[dict[str, Any]], space: Space, known: Mapping[tuple[str, str], Tried], may_tune: bool) -> dict[str, Any] | None:
    """What was cut off, then what is known to be good: the first that was not tried, and that there is time for, or whose tuning is done."""
    done = {"", *(tuned_part(one.recipe) for one in known.values() if one.values is not None)}
    for start in starts:
        name, fmt = space.suggest(Given(start), may_tune=True)
        if (name, fmt.name) not in known and (may_tune or tuned_part(name) in done):
            return start
    return None


def tuned_before(name: str, known: Iterable[Tried], cut_off: Iterable[Begun], left_s: float | None) -> float | None:
    """The time that the same tuning was given earlier: with that its result is there already, or, of one that was cut off, a part of it is."""
    earlier = {tuned_part(one.recipe): one.tune_s for one in cut_off if left_s is None or (one.tune_s or 0.0) <= left_s}
    earlier |= {tuned_part(one.recipe): one.tune_s for one in known if one.values is not None}
    return earlier.get(tuned_part(name))


def name_of(fixed: Mapping[str, Any], space: Space) -> str:
    """The same for the same question.

    Args:
        fixed: what is the same for all trials, as JSON, which tells one search from another: model, device, data, protocol.
    """
    asked = {**fixed, "formats": [fmt.name for fmt in space.formats], "calibrated": space.calibrated, "tuned": space.tuned}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def tried(number: int, name: str, fmt: Format, tune_s: float | None, attempt: Attempt, labelled: bool, progress: Progress) -> Tried:
    """Make and measure one file; what goes wrong with it is its result, what goes wrong with the device is not."""
    started = time.monotonic()
    one = Tried(number, name, fmt.name, None, None, 0.0, None, tune_s)
    try:
        done = attempt(parse(name), fmt, tune_s, progress)
        if not done.whole:
            raise Unreachable(done.run.device_address, "was lost in a trial: repeat the command, and it goes on with that one")
        values, error = values_of(done.run.variants[0], labelled)
        its = error is not None and error.startswith(f"{done.run.device_address.rstrip(':')}: ")  # as every DeviceError does
        return replace(one, values=values, error=error, elapsed_s=done.elapsed_s, run=done.run.id, variant=done.run.variants[0], device_failed=its)
    except (Unreachable, InUse):
        raise
    except (InputError, ConvertError, DeviceError) as exc:
        return replace(one, error=str(exc), elapsed_s=time.monotonic() - started, device_failed=isinstance(exc, DeviceError))


def once_free(attempt: Attempt, until: float) -> Attempt:
    """The same, but while another edgekit has the device it waits.

    Args:
        until: by `time.monotonic`; then `InUse` is raised.
    """

    def waiting(recipe: Recipe, fmt: Format, tune_s: float | None, progress: Progress) -> Deployment:
        while True:
            try:
                return attempt(recipe, fmt, tune_s, progress)
            except InUse as exc:
                if time.monotonic() > until:
                    raise
                progress(f"waiting: {exc}", None)
                time.sleep(ASK_AGAIN_S)

    return waiting


def with_variants(trials: Sequence[Tried]) -> Iterator[Tried]:
    """Earlier trials with what was measured, and those that failed; what the store no longer has can be tried again."""
    runs = stored(one.run for one in trials)
    for one in trials:
        if one.values is None:
            yield one
        elif one.run in runs:
            yield replace(one, variant=runs[one.run].variants[0])


def stored(names: Iterable[str | None]) -> dict[str, Run]:
    """Those of the runs that the store has, by id."""
    found: dict[str, Run] = {}
    with open_store() as store:
        for name in filter(None, names):
            try:
                found[name] = store.get(name)
            except InputError:  # taken away since
                continue
    return found


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
