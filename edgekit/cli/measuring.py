"""Options of the verbs that measure, in one place: what people write in, a protocol and settings out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgekit.errors import InputError
from edgekit.protocol import PROTOCOLS, Protocol, Settings, sustained

Function = TypeVar("Function", bound=Callable[..., Any])

SHORTEST_S = 60.0
"""A sustained measurement compares minutes."""
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def measuring_options(function: Function) -> Function:
    """--quick, --full, --sustained and how a file is run; gather them with `protocol_from` and `settings_from`."""
    options = (
        click.option("--quick", is_flag=True, help="At least 50 runs and 1 s.  [default]"),
        click.option("--full", is_flag=True, help="At least 1024 runs and 60 s, in three fresh processes, the files in turns."),
        click.option("--sustained", metavar="10m", help="One process for so long: latency minute by minute, and what heat does to it."),
        click.option("--threads", type=click.IntRange(1, 64), help="Threads of one inference.  [default: the device's setting, else 1]"),
        click.option("--cores", metavar="KIND", help="big, little, mid, all, a mask (f0) or a list (4-7).  [default: the device's setting, else all]"),
        click.option("--runner", type=click.Choice(("native", "python", "benchmark_model")), help="What runs the file there: see `edgekit explain runners`."),
        click.option("--delegate", metavar="NAME", help="Ask the runtime for this delegate: gpu with benchmark_model, cpu, cpu_gpu or cpu_ne on a Mac."),
        click.option("--set-governor", "governor", metavar="NAME", help="Set the frequency governor for the run and set it back after it (needs rights)."),
        click.option("--no-wait", is_flag=True, help="Measure even if the device is hot, throttled or low on battery; the record says so."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def protocol_from(options: dict[str, Any]) -> Protocol:
    """`quick`, `full`, or a sustained one of `10m`.

    Raises:
        InputError: more than one of them, not a length of time, or less than a minute.
    """
    length = options["sustained"]
    if sum(map(bool, (options["quick"], options["full"], length))) > 1:
        raise InputError("--quick, --full and --sustained exclude each other: give one of them")
    if length is None:
        return PROTOCOLS["full" if options["full"] else "quick"]
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", length)
    seconds = float(found[1]) * UNITS_S[found[2]] if found else 0.0
    if seconds < SHORTEST_S:
        raise InputError(f"--sustained {length!r} is not a length of time of at least a minute: give one such as 10m, 90s or 1h")
    return sustained(seconds)


def settings_from(options: dict[str, Any]) -> Settings:
    """What the options say of how files are run; threads and cores depend on the device and are given apart."""
    return Settings(delegate=options["delegate"], runner=options["runner"], governor=options["governor"], wait=not options["no_wait"])
