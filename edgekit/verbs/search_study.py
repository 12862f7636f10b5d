"""A search's name in, its Optuna study out: one SQLite file in the data folder holds all searches, each trial as soon as it is over."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from edgekit.errors import SetupError
from edgekit.files import disk_errors
from edgekit.places import data_dir
from edgekit.verbs.search_front import Tried, Values

FILE = "search.sqlite"
DIRECTIONS = ("maximize", "minimize", "minimize", "minimize")
STARTUP_TRIALS = 12
"""Taken at random before the sampler has something to go by; Optuna's default is 10, and known good ones come first here."""
SHORT = "short"
"""The constraint: by how much a trial's quality is below the floor."""
NO_FILE = 1000.0
"""The same of a trial that gave nothing to weigh: more than any quality, in dB or as a share, can be short by."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A trial that may be cut off."""

    recipe: str
    format: str
    tune_s: float | None


class Study:
    """The trials of one search."""

    def __init__(self, name: str, seed: int) -> None:
        """
        Raises:
            SetupError: the file cannot be used.
        """
        import optuna
        import sqlalchemy as sa

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = data_dir() / FILE
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": sa.NullPool})
            self.study = optuna.create_study(storage=self.storage, study_name=name, directions=DIRECTIONS, load_if_exists=True)
        except (sa.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as exc:
            raise SetupError(f"the searches in {path} cannot be used ({exc}): move the file away, or set EDGEKIT_DATA_DIR to another folder") from exc
        seen = len(self.study.get_trials(deepcopy=False))  # a search that goes on does not suggest what it began with
        self.guided = optuna.samplers.TPESampler(seed=seed + seen, n_startup_trials=STARTUP_TRIALS)
        self.by_chance = optuna.samplers.RandomSampler(seed=seed + seen + 1)  # by the same seed these would be the sampler's first ones
        self.states = optuna.trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=(self.states.RUNNING,)):
            self.study.tell(trial.number, state=self.states.FAIL)  # it was cut off

    def ask(self, parameters: dict[str, Any] | None, *, by_chance: bool = False) -> Any:
        """A new `optuna.Trial`, of these parameters where they are given, else by what trials have taught, or by chance."""
        self.study.sampler = self.by_chance if by_chance else self.guided
        if parameters is not None:
            self.study.enqueue_trial(parameters)
        return self.study.ask()

    def begin(self, trial: Any, begun: Begun) -> None:
        """Keep what is about to be tried, in case that it is cut off."""
        trial.set_user_attr("begun", asdict(begun))

    def tell(self, trial: Any, one: Tried, least: float | None, *, again: bool = False) -> None:
        """Keep what became of a trial; one that was tried before teaches the sampler once more, and is no trial of its own.

        Args:
            least: the quality below which it is of no use, where that is known: the sampler turns to others.
        """
        if not again:
            trial.set_user_attr("tried", asdict(replace(one, variant=None)))
        if one.values is None and one.device_failed:
            self.study.tell(trial, state=self.states.FAIL)  # which says nothing of the recipe
        elif one.values is None:
            trial.set_constraint(SHORT, NO_FILE)
            self.study.tell(trial, state=self.states.PRUNED)  # a failed one the sampler would not learn from
        else:
            if least is not None:
                trial.set_constraint(SHORT, least - one.values.quality)
            self.study.tell(trial, (one.values.quality, one.values.p50_ns, one.values.download_bytes, one.values.peak_rss_bytes))

    def tried(self) -> tuple[Tried, ...]:
        """All trials that are over, in their order."""
        kept = (trial.user_attrs.get("tried") for trial in self.study.get_trials(deepcopy=False))
        return tuple(Tried(**{**one, "values": None if one["values"] is None else Values(**one["values"])}) for one in kept if one is not None)

    def cut_off(self) -> tuple[Begun, ...]:
        """Those that were begun and never ended."""
        trials = self.study.get_trials(deepcopy=False, states=(self.states.FAIL,))
        return tuple(Begun(**one.user_attrs["begun"]) for one in trials if "begun" in one.user_attrs and "tried" not in one.user_attrs)
