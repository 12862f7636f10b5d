"""The devices that an adb server lists in, the one that was meant out, ready; or why it is not, with the cure."""

from __future__ import annotations

import re
import time

from edgekit.errors import InputError, Unreachable
from edgekit.nearest import nearest
from edgekit.transport.adb_devices import Attached, Server, adb, listed, server_version
from edgekit.transport.streams import last_line

SETTLE_S = 3.0  # a server that has just been started finds the devices on its USB ports within a second or two
POLL_S = 0.2
PASSING = ("authorizing", "connecting")  # adb is still at it

CURES = {
    "offline": "is attached, but does not answer adb: unplug it and plug it in again, or run `adb reconnect offline`; if that is not enough, restart it",
    "unauthorized": "has not allowed this computer: unlock it and accept the dialog on its screen; if none comes, run `adb kill-server` and replug it",
    "authorizing": "is still asked whether it allows this computer: unlock it, look at its screen, and repeat the command",
    "connecting": "is still being connected: wait a few seconds and repeat the command; if it stays so, replug it",
    "recovery": "is in recovery: start Android on it (`adb reboot`), and repeat the command once it is up",
    "rescue": "is in rescue mode: start Android on it (`adb reboot`), and repeat the command once it is up",
    "sideload": "waits for an update to be sideloaded: start Android on it (from its menu, or `adb reboot`), and repeat the command once it is up",
    "bootloader": "is in its bootloader: start Android on it (`fastboot reboot`), and repeat the command once it is up",
    "detached": "was given up by adb: run `adb attach`, or replug it",
}
GROUP = 'may not be opened by this user, who is not in the group plugdev: run `sudo usermod -aG plugdev "$USER"`, log in anew and replug it'
RULES = "may not be opened by this user: install the udev rules (`sudo apt install android-sdk-platform-tools-common`), run `adb kill-server` and replug it"


def choose(address: str, serial: str, server: Server, *, timeout_s: float) -> Attached:
    """The device that is meant, in state `device`; waits for one that is about to be.

    Args:
        serial: as adb lists it; empty for the only one there is.

    Raises:
        InputError: no serial is given, and several devices are attached.
        SetupError: as `adb_devices.attached`.
        Unreachable: it is absent or in another state; or the server cannot be asked.
    """
    deadline = time.monotonic() + timeout_s
    # A remote server is not ours to start, and one that already runs has seen its devices.
    settled = time.monotonic() + (SETTLE_S if not server.host and server.listens_on and server_version(server) is None else 0)
    dialled = ""
    named = address if server.host else ""
    while True:
        there = listed(server, timeout_s=timeout_s, address=named)
        meant = [one for one in there if serial in ("", one.serial)]
        if not serial and len(meant) > 1:
            raise InputError(f"{address!r} names no device, and several are attached: name one of {names(there)}")
        if len(meant) > 1:
            raise InputError(f"{address!r} names {len(meant)} devices, which all have that serial: unplug all but one")
        if meant and meant[0].state == "device":
            return meant[0]
        now = time.monotonic()
        distant = re.fullmatch(r"\S+:[0-9]{1,5}", serial)
        if not meant and distant and not dialled:
            dialled = dial(server, serial, timeout_s=max(deadline - now, POLL_S))
            settled = time.monotonic() + (SETTLE_S if dialled.startswith(("connected", "already")) else 0)  # it is listed a moment later
            continue
        if not meant and now > min(settled, deadline):
            raise absent(address, serial, there, dialled)
        if meant and now > (deadline if meant[0].state in PASSING else min(deadline, settled)):
            raise Unreachable(address, f"{meant[0].serial} {cure(meant[0])}")
        time.sleep(POLL_S)


def dial(server: Server, serial: str, *, timeout_s: float) -> str:
    """Have adb connect to a device in the network, once; returns what adb answered."""
    try:
        done = adb(server, ["connect", serial], timeout_s=timeout_s)
    except Unreachable:
        return f"no answer within {timeout_s:.2g} s"
    return last_line(done.stdout) or last_line(done.stderr) or "adb said nothing"


def cure(device: Attached) -> str:
    """What is wrong with a device that is not in state `device`, and what to do."""
    if device.state == "no permissions":
        return (GROUP if "not in the plugdev group" in device.hint else RULES) + (f" (adb: {device.hint})" if device.hint else "")
    return CURES.get(device.state, f"is in the state {device.state!r}: restart it, and repeat the command once Android is up")


def absent(address: str, serial: str, there: tuple[Attached, ...], dialled: str) -> Unreachable:
    """The error for a device that adb does not list."""
    if not there and not serial:
        return Unreachable(address, "no device is attached: connect it by a cable that carries data, and switch on USB debugging in its developer options")
    if dialled:
        return Unreachable(address, f"it is not connected, and `adb connect` says: {dialled.rstrip('.')}; check that it is on, in this network and listening")
    if "_tcp" in serial:
        return Unreachable(address, "it is not in this network: open Wireless debugging in its developer options, and pair it once with `adb pair`")
    best = nearest(serial, [one.serial for one in there])
    meant = f"did you mean 'adb:{best}'? " if best else ""
    others = f"attached are {names(there)}" if there else "check its cable, and that USB debugging is on"
    return Unreachable(address, f"no such device is attached: {meant}{others}")


def names(there: tuple[Attached, ...]) -> str:
    return ", ".join(f"adb:{one.serial} ({one.model or one.product or one.state})" for one in there)
