"""A device's folder and a holder's name in, the device for this edgekit alone out, until the block ends or the connection does.

Its half on the device is `targets/lock.sh`: a reboot, a killed process or a lost connection leaves no lock that counts, and a clock that
is set changes nothing.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from edgekit.errors import AgentError, DeviceError, InUse
from edgekit.hold import Hold
from edgekit.places import shipped
from edgekit.transport import Transport
from edgekit.transport.streams import no_space

READY_S = 60.0  # it may wait for another that is taking the lock, on a board that is slow to start a process


@dataclass(frozen=True, slots=True)
class Holder:
    """Who uses a device."""

    who: str
    """`user@host`"""
    verb: str
    """`edgekit deploy`"""
    pid: int | None

    @classmethod
    def here(cls, verb: str) -> Self:
        """This process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a user id without a name
            user = str(os.getuid())
        return cls(f"{user}@{socket.gethostname()}", verb, os.getpid())

    @classmethod
    def read(cls, line: str) -> Self:
        """What `line` wrote; a line that it did not write is somebody's."""
        match = re.fullmatch(r"([\x20-\x7e]{1,200})\t([\x20-\x7e]{1,200})\t(\d{1,10})", line)
        return cls(match[1], match[2], int(match[3]) or None) if match else cls("somebody", "edgekit", None)

    @property
    def line(self) -> str:
        return "\t".join([plain(self.who), plain(self.verb), str(self.pid or 0)])


def plain(text: str) -> str:
    """What fits on one line of a terminal."""
    return re.sub(r"[^\x20-\x7e]+", "?", text)[:200] or "?"


@contextmanager
def lock(transport: Transport, root: str, holder: Holder) -> Iterator[Hold]:
    """Have a device's folder (`Delivery.root`) for oneself while the block lasts; yields the hold, whose `lost` says if it ended before.

    Raises:
        InUse: another edgekit uses the device; the message says whose, and since when.
        AgentError: the device gave no valid answer.
    """
    script = (shipped("targets") / "lock.sh").read_text(encoding="utf-8")
    with Hold.start(transport, script, root, holder.line, secrets.token_hex(8), ready_s=READY_S) as hold:
        word, _, rest = hold.said.partition("\t")
        if word == "held":
            age, _, line = rest.partition("\t")
            raise InUse(transport.address, in_use(Holder.read(line), int(age) if age.isdecimal() else None))
        if word == "error" and "No space left" in rest:
            raise no_space(transport.address, f"files in {root}", None, None)
        if word == "error":
            raise DeviceError(transport.address, f"cannot be held for this run alone ({rest}): correct that and repeat the command")
        if hold.said != "taken":
            raise AgentError(transport.address, f"its half of the lock said {hold.said[:80]!r}: check that `sh` is a POSIX shell there")
        yield hold


def in_use(holder: Holder, age_s: int | None) -> str:
    """`in use by ml@laptop since 4 min (edgekit deploy): wait until it is done, or end process 1234 on laptop`."""
    since = "" if age_s is None else f" since {age_text(age_s)}"
    end = f"end process {holder.pid} on {holder.who.rpartition('@')[2]}" if holder.pid else "end it there"
    return f"in use by {holder.who}{since} ({holder.verb}): wait until it is done, or {end}"


def age_text(age_s: int) -> str:
    """`40 s`, `4 min`, `3 h`, `2 days`."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if age_s < limit:
            return f"{age_s // divisor} {unit}"
    return f"{age_s // 86_400} days"
