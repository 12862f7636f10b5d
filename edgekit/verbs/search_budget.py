"""How long a search may take and what trials took so far in; whether another is begun, and how long it may tune, out; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from edgekit.verbs.search_front import Tried
from edgekit.verbs.search_space import tuned_part

TUNE_SHARE = 0.2
"""Of what is left, for one tuning: five in a row take two thirds of a budget, and the later ones know more."""
LEAST_TUNE_S = 5.0
"""Less is no tuning: on one core 4,000 small images are seen a few times in it."""
OUTGROWN = 4.0
"""With so many times the time a tuning is worth another try."""
USUAL_OVERRUN = 2.0
"""How many times as long as it is told a tuning takes, before that is known: it starts, validates, and shares the machine."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search ends; what is None does not end it."""

    seconds: float | None
    trials: int | None
    """Of this call; those of earlier ones do not count."""
    each_tuning_s: float | None = None
    """As the user says; None: a share of what is left."""

    def left_s(self, elapsed_s: float) -> float | None:
        return None if self.seconds is None else self.seconds - elapsed_s

    def over(self, new: int, elapsed_s: float, known: Iterable[Tried]) -> str | None:
        """Why no trial is begun any more."""
        if self.trials is not None and new >= self.trials:
            return f"{self.trials} trial{'' if self.trials == 1 else 's'}"
        left_s = self.left_s(elapsed_s)
        if left_s is not None and usual_s(known) > left_s:
            return f"the next trial would not end within {self.seconds:.0f} s by what earlier ones took"
        return None

    def tune_s(self, left_s: float | None, known: Iterable[Tried], before: float | None = None) -> float | None:
        """What a tuning is told that it may take, in whole seconds; None: as long as it wants.

        Args:
            before: what the same tuning was told earlier.
        """
        if self.each_tuning_s is not None or left_s is None:
            return self.each_tuning_s
        return before if before is not None else float(max(1, int(TUNE_SHARE * left_s / overrun(known))))

    def may_tune(self, left_s: float | None, known: Iterable[Tried]) -> bool:
        """Whether a trial that tunes can end in time, and to some effect."""
        if left_s is None:
            return True
        known = list(known)
        tune_s = self.tune_s(left_s, known) or 0.0
        return tune_s * overrun(known) + usual_s(known) <= left_s and (tune_s >= LEAST_TUNE_S or self.each_tuning_s is not None)


def is_outgrown(one: Tried, tune_s: float | None) -> bool:
    """Whether a trial tuned so briefly that what there is now may make more of it."""
    return one.values is not None and one.tune_s is not None and tune_s is not None and tune_s >= OUTGROWN * one.tune_s


def usual_s(known: Iterable[Tried]) -> float:
    """How long a trial takes beside its tuning: making and measuring a file takes about as long whatever is in it.

    The median, since the first of a format also brings the runtime to the device, and a machine has other things to do.
    """
    known = list(known)
    tuning = {one.number for one in tuned_anew(known)}
    return median([one.elapsed_s for one in known if one.number not in tuning] or [0.0])


def overrun(known: Iterable[Tried]) -> float:
    """How many times as long as they were told tunings took."""
    known = list(known)
    usual = usual_s(known)
    return max(1.0, median([(one.elapsed_s - usual) / one.tune_s for one in tuned_anew(known) if one.tune_s and one.values] or [USUAL_OVERRUN]))


def tuned_anew(known: Iterable[Tried]) -> list[Tried]:
    """The trials that tuned, the first of those that share a tuning: for the others it was done."""
    first: dict[str, Tried] = {}
    for one in known:
        if tuned_part(one.recipe):
            first.setdefault(tuned_part(one.recipe), one)
    return list(first.values())
