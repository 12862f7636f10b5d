"""A device's state in, the charge of its batteries as the kernel (or macOS' `pmset`) tells it out.

Format: Linux, Documentation/ABI/testing/sysfs-class-power: `capacity` in per cent; `status` is one of the words below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.facts.number import integer

CHARGING = {"charging": True, "full": True, "charged": True, "ac attached": True, "finishing charge": True, "discharging": False, "not charging": False}
"""The kernel's words in lower case, then pmset's; `unknown` and others say nothing."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One battery; None where it does not tell."""

    level_percent: int | None
    status: str | None
    charging: bool | None


def charges(state: Mapping[str, str]) -> dict[str, Charge]:
    """By the battery's name."""
    names = dict.fromkeys(found[1] for name in state if (found := re.fullmatch(r"battery/([^/]+)/(?:capacity|status)", name)))
    return {name: charge(state.get(f"battery/{name}/capacity"), state.get(f"battery/{name}/status")) for name in names}


def charge(level: str | None, status: str | None) -> Charge:
    known = status is not None and status.lower() in CHARGING
    return Charge(integer(level, 0, 100), status if known else None, CHARGING[status.lower()] if status is not None and known else None)
