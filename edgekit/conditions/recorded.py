"""What `conditions.sh` printed in, the same without what would name a device or its owner out, and what edgekit reads in it. No I/O.

For answers that owners send, so that tests hold edgekit to them: `tests/device_output/recorded/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from edgekit.conditions.cores import core_kinds
from edgekit.conditions.fitness import unfit
from edgekit.conditions.told import read_told
from edgekit.conditions.words import in_words
from edgekit.facts.lines import lines

REMOVED = "removed"
NAMES = {"hostname", "boot_id", "root"}
"""Frames whose whole value says whose device it is."""
PROPERTIES = re.compile(
    r"ro\.(?:product\.(?:model|brand|manufacturer|device|board|cpu\.abi\w*)|soc\.\w+|board\.platform|hardware|kernel\.qemu|boot\.qemu|boot\.hardware"
    r"|build\.(?:fingerprint|characteristics|type|version\.(?:release|sdk|security_patch)))"
)
"""Android's properties that are kept; a phone has a thousand more, among them numbers of its radio and of its user."""
SERIALS = re.compile(r"ro\.(?:boot\.)?serialno")
POWER = re.compile(
    r"\s*(?:m\w*Wakefulness\w*|getGlobalWakefulnessLocked\(\)|mIsPowered|mPlugType|mStayOn\w*|mBatteryLevel|mScreenOffTimeoutSetting|mUserId)=.*"
)
"""Lines of `dumpsys power` that are kept: others name apps and users. One stands behind the last that is read."""
ADDRESSES = re.compile(
    r"(?i)\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b"  # of a network card
    r"|\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"
    r"|(?<![\w:])(?=[0-9a-f:]*(?:::|(?::[0-9a-f]*){3}))[0-9a-f:]{4,}(?![\w:])"  # IPv6: a double colon, or three
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # of a disk
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
FOLDERS = re.compile(r"(/(?:home|Users|media|run/media|mnt|Volumes|srv))/[^\s]+.*")
DISK = re.compile(r"^(\t)(\S+)")


def anonymous(text: str, secrets: Iterable[str] = ()) -> str:
    """The answer without names of the device, of its network and of its people; `secrets` are words known from elsewhere (its address)."""
    words = sorted({word for word in (*secrets, *own_names(text)) if len(word) > 2}, key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, words))) if words else None
    kept = (line if known is None else known.sub(REMOVED, line) for line in without_names(text))
    return "\n".join(FOLDERS.sub(rf"\1/{REMOVED}", ADDRESSES.sub(REMOVED, line)) for line in kept) + "\n"


def own_names(text: str) -> Iterator[str]:
    """What the device calls itself."""
    for line in lines(text):
        key, _, value = line.partition("\t")
        pair = re.fullmatch(r"\[(.*)\]: \[(.*)\]", value)
        if key == "hostname" or (pair and SERIALS.fullmatch(pair[1])):
            yield (pair[2] if pair else value).strip()


def without_names(text: str) -> Iterator[str]:
    """The lines that are kept, frame by frame."""
    frame = ""
    for line in lines(text):
        key, tab, value = line.partition("\t")
        if not tab:
            continue
        frame = key or frame
        pair = re.fullmatch(r"\[(.*)\]: \[.*\]", value)
        if frame in NAMES:
            yield f"{key}\t{REMOVED}"
        elif frame == "getprop" and pair:
            if PROPERTIES.fullmatch(pair[1]):
                yield line
            elif SERIALS.fullmatch(pair[1]):
                yield f"{key}\t[{pair[1]}]: [{REMOVED}]"
        elif frame == "dumpsys power" and value and not POWER.fullmatch(value):
            continue
        elif frame == "df" and not key:
            yield DISK.sub(r"\1disk", line)
        else:
            yield line


def reading(text: str) -> dict[str, Any]:
    """What edgekit reads in an answer, as JSON: what a test compares.

    Raises:
        NotToldError: as for `read_told`.
    """
    told = read_told(text)
    return {
        "identity": dict(told.identity),
        "state": in_words(told.state),
        "unfit": unfit(told.state),
        "cores": {kind: list(cpus) for kind, cpus in core_kinds(told.state).items()},
        "allowed_cores": list(told.cores),
        "free_bytes": told.root_free_bytes,
    }
