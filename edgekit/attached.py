"""What `adb` has attached in; each of those devices with what it is, and the profile that it matches, out.

A device that is ready is asked by one run of `getprop` (Android documentation: `ro.product.model`, `ro.soc.model`); one that
is not (`unauthorized`, `offline`, `no permissions`) tells at most what `adb devices -l` says of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edgekit.errors import DeviceError, SetupError
from edgekit.profile import Profile, match_profile, plain
from edgekit.transport.adb_devices import Attached, Server, adb, attached, server_version
from edgekit.transport.adb_states import SETTLE_S, cure

ASK_S = 5.0
READY = "device"
# Every key that a match rule may ask for. `uname` and /proc/meminfo are there on each Android.
QUESTION = (
    'echo "android_model=$(getprop ro.product.model)"; echo "android_soc=$(getprop ro.soc.model)"; '
    'echo "machine=$(uname -m)"; while read -r name kb unit; do case $name in MemTotal:) echo "memory_kb=$kb";; esac; done < /proc/meminfo'
)


@dataclass(frozen=True, slots=True)
class Phone:
    """A device that adb knows of: a phone, or whatever else runs adbd."""

    listed: Attached
    """adb's line on it."""
    model: str
    """`Pixel 7`; "" where it does not tell."""
    soc: str
    """`GS201`; "" where it does not tell."""
    profile: Profile | None
    answered: bool
    """Whether it told anything; a device may be listed as ready and hang."""

    @property
    def serial(self) -> str:
        return self.listed.serial

    @property
    def state(self) -> str:
        """`device` where it is ready; else adb's word."""
        return self.listed.state

    @property
    def address(self) -> str:
        """Such as `adb:1A2B3C`."""
        return f"adb:{self.serial}"

    @property
    def ready(self) -> bool:
        """Whether commands can be run on it."""
        return self.state == READY

    @property
    def cure(self) -> str:
        """What is wrong with it and what to do, to go behind its address; "" where all is well."""
        if not self.ready:
            return cure(self.listed)
        return "" if self.answered else "does not tell what it is: unlock it or restart it, and repeat the command"

    def could_be(self, profile: Profile) -> bool:
        """Whether nothing that adb says of a device that cannot be asked speaks against a profile."""
        wanted = profile.match.android_model
        return not self.answered and (not self.model or wanted is None or plain(self.model) == plain(wanted))

    @property
    def in_words(self) -> str:
        """`adb:1A2B3C is Pixel 7 (GS201)`, or what keeps it from telling."""
        if self.cure:
            return f"{self.address}{f' ({self.model})' if self.model else ''} {self.cure}"
        return f"{self.address} is {self.model or 'of no model that it tells'}{f' ({self.soc})' if self.soc else ''}"


def phones(start_server: bool = True) -> tuple[Phone, ...]:
    """The devices that are attached to this machine's adb server.

    Args:
        start_server: whether to start the server if none runs, and wait until it has found its devices; without it there are none then.

    Raises:
        SetupError: there is no `adb` (only where a server may be started), or it cannot be used.
        Unreachable: its server cannot be started, or does not answer.
    """
    server = Server()
    fresh = start_server and server.listens_on is not None and server_version(server) is None
    found = attached(start_server=start_server)
    if fresh:
        time.sleep(SETTLE_S)  # to take the first that is found, while others are still being looked for, would be a guess
        found = attached()
    if not found:
        return ()
    with ThreadPoolExecutor(len(found)) as threads:  # one that hangs holds nobody up
        return tuple(threads.map(phone, found))


def phone(one: Attached) -> Phone:
    """One attached device, asked if it can be."""
    told = ask(one.serial) if one.state == READY else {}
    model = told.get("android_model") or one.model.replace("_", " ")
    return Phone(one, model, told.get("android_soc", ""), match_profile(told) if told else None, bool(told))


def ask(serial: str) -> Mapping[str, str]:
    """What a device says of itself, in the words that match rules are about; nothing if it does not answer in time."""
    try:
        done = adb(Server(), ["-s", serial, "shell", QUESTION], timeout_s=ASK_S)
    except (DeviceError, SetupError):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and value.strip()}
