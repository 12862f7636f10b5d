"""A name that nobody knows in, the nearest one that is known out; no I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edgekit.errors import InputError

CLOSE_ENOUGH = 0.6
"""Least similarity (Ratcliff and Obershelp's, 0 to 1) to be suggested: `pixel7` finds `pixel-7`, `banana` finds nothing."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, whatever its case, or None if nothing comes close."""
    spelled: dict[str, str] = {}
    for candidate in known:
        spelled.setdefault(candidate.casefold(), candidate)
    close = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=CLOSE_ENOUGH)
    return spelled[close[0]] if close else None


def unknown(kind: str, name: str, known: Iterable[str], also: Iterable[str] = ()) -> InputError:
    """The error to raise for a `kind` ("recipe", "format", "target") called `name`.

    It gives the nearest name, of those that are `known` and those `also` understood; if none is near, all that are known.
    """
    names = list(dict.fromkeys(known))
    best = nearest(name, [*names, *also])
    cure = f"did you mean '{best}'?" if best else f"known are {', '.join(names)}"
    return InputError(f"unknown {kind} '{name}': {cure}")
