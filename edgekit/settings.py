"""An open way to a device and what it told in, a setting that lasts as long as the run out: its governor, its screen.

Each is undone on the device itself when the run ends, the connection is lost or this machine dies (`edgekit/hold.py`).
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext

from edgekit.conditions import Told
from edgekit.errors import CommandFailed, DeviceError, InputError
from edgekit.facts.cpufreq import governors
from edgekit.hold import Hold
from edgekit.places import shipped
from edgekit.transport import Transport
from edgekit.transport.streams import last_line

CPUS = "/sys/devices/system/cpu"
NOTE = "/data/local/tmp/edgekit-awake"
NOT_OFFERED = 3
"""What governor.sh ends with where a processor has no such governor."""
AWAKE_S = 30.0
"""Each of Android's settings takes up to some seconds on an old phone."""


def governor(transport: Transport, told: Told, wanted: str, cpus: str = CPUS) -> AbstractContextManager[object]:
    """Set the frequency governor of all processors; each gets its former one back.

    Raises:
        InputError: it is no governor's name.
        DeviceError: the device has no governors, does not offer this one, or does not allow it to be set.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", wanted):
        raise InputError(f"{wanted!r} is no frequency governor: give one such as performance")
    now = set(governors(told.state).values())
    if not now:
        raise DeviceError(transport.address, "it tells no frequency governor, so none can be set: leave out --set-governor")
    if now == {wanted}:
        return nullcontext()
    script = (shipped("targets") / "linux" / "governor.sh").read_text(encoding="utf-8")
    try:
        return Hold.start(transport, script, wanted, cpus)
    except CommandFailed as exc:
        if exc.code == NOT_OFFERED:
            raise DeviceError(transport.address, f"there is no frequency governor {wanted} there, {last_line(exc.stderr)}: name one of these") from exc
        allow = "run `adb root`, where its build allows it" if told.android else f"allow it there (`sudo chmod a+w {cpus}/cpu*/cpufreq/scaling_governor`)"
        cure = f"{allow}, or leave out --set-governor"
        raise DeviceError(transport.address, f"its governor cannot be set to {wanted} ({last_line(exc.stderr)}): {cure}") from exc


def awake(transport: Transport, told: Told, note: str = NOTE) -> AbstractContextManager[object]:
    """Keep an Android device's screen on: with it off the system slows down what runs. Nothing where there is no screen.

    Raises:
        DeviceError: its settings cannot be read or changed.
    """
    screen = told.state.get("screen")
    if not told.android or screen is None:
        return nullcontext()
    script = (shipped("targets") / "android" / "awake.sh").read_text(encoding="utf-8")
    try:
        return Hold.start(transport, script, note, screen, ready_s=AWAKE_S)
    except CommandFailed as exc:
        cure = "allow it in its developer options (some makers call it “USB debugging (Security settings)”)"
        raise DeviceError(transport.address, f"its screen cannot be kept on ({last_line(exc.stderr)}): {cure}") from exc
