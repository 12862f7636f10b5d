"""The name of a kind of device in, what such a one tells of itself out: files for /sys and answers for its tools, each from a documented format.

A TOML file here is a kind. `like` names one that it is based on; `{0..3}` in a name of /sys stands for the numbers from 0 to 3.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import InputError
from edgekit.files import disk_errors
from edgekit.nearest import unknown

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Answers:
    """What one kind of device tells."""

    name: str
    kind: str
    """`pi` or `android`: the virtual device that can pass for it."""
    profile: str
    """The device profile that it is, or "" where no profile knows it."""
    cpu: str
    """The processor, as qemu calls it."""
    architecture: str
    """What its programs are built for, as Debian calls it."""
    sys: Mapping[str, str]
    """Name below /sys → content."""
    answers: Mapping[str, str]
    """Words of a command → what it prints."""


def names() -> list[str]:
    return sorted(file.stem for file in HERE.glob("*.toml"))


def answers(name: str) -> Answers:
    """One kind of device.

    Raises:
        InputError: there is no such kind.
    """
    if name not in names():
        raise unknown("kind of device", name, names())
    said = read(name)
    properties = {key: value for key, value in said["properties"].items() if value}
    told = dict(said["answers"]) | {f"getprop {key}": value for key, value in properties.items()}
    if properties:
        told["getprop"] = "\n".join(f"[{key}]: [{value}]" for key, value in sorted(properties.items()))
    return Answers(name, said["kind"], said["profile"], said["cpu"], said.get("architecture", "arm64"), said["sys"], told)


def read(name: str) -> dict[str, Any]:
    """A file on top of the one that it is like."""
    own = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    base = read(own["like"]) if "like" in own else {"sys": {}, "properties": {}, "answers": {}}
    own["sys"] = {each: value for key, value in own.get("sys", {}).items() for each in spelled_out(key)}
    tables = {table: {**base[table], **own.get(table, {})} for table in ("sys", "properties", "answers")}
    return {**base, **own, **tables}


def spelled_out(name: str) -> Iterator[str]:
    """`cpu{0..1}/x` → `cpu0/x`, `cpu1/x`."""
    found = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", name)
    if found is None:
        yield name
    else:
        yield from (f"{found[1]}{number}{found[4]}" for number in range(int(found[2]), int(found[3]) + 1))


def write(said: Answers, folder: Path) -> None:
    """Lay the answers out: `sys/…` as below /sys, and `answers/WORDS OF A COMMAND`."""
    with disk_errors(folder):
        for name, text in [*((f"sys/{key}", text) for key, text in said.sys.items()), *((f"answers/{key}", text) for key, text in said.answers.items())]:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.removeprefix("\n") if text.endswith("\0") else text.removeprefix("\n") + "\n", encoding="utf-8")


def of_kind(kind: str) -> list[str]:
    """The names that a virtual device can pass for, the usual one first."""
    return sorted((name for name in names() if read(name)["kind"] == kind), key=lambda name: name not in USUAL)


def architectures(kinds: Mapping[str, str]) -> set[str]:
    """Of the virtual devices that are to be up: kind → what it passes for.

    Raises:
        InputError: as for `check`.
    """
    return {check(name, kind).architecture for kind, name in kinds.items()}


USUAL = ("pi5", "pixel7")


def check(name: str, kind: str) -> Answers:
    """`name`, if a virtual device of that kind can pass for it.

    Raises:
        InputError: there is no such kind of device, or the other virtual device is meant.
    """
    said = answers(name)
    if said.kind != kind:
        raise InputError(f"'{name}' is no kind of virtual-{kind}: it can pass for {', '.join(of_kind(kind))}")
    return said
