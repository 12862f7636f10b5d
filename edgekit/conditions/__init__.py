"""What a device tells about itself in; what it is, how it is, whether it is fit to be measured, and which of its cores are which, out. No I/O."""

from __future__ import annotations

from edgekit.conditions.cores import core_kinds, pick_cores
from edgekit.conditions.fitness import throttled_between, unfit
from edgekit.conditions.told import NotToldError, Told, read_state, read_told
from edgekit.conditions.words import in_words

__all__ = ["NotToldError", "Told", "core_kinds", "in_words", "pick_cores", "read_state", "read_told", "throttled_between", "unfit"]
