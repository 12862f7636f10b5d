"""A device in, how files are run on it out: by the native runner, by the Python agent, or by the user's `benchmark_model`.

A runner says what has to be on the device (`needs`) and how a job is started there (`start`). Their figures are not comparable with
each other: the record names the runner and the build of the runtime.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgekit import native
from edgekit.agent import Agent, Runs
from edgekit.benchmark_model import BenchmarkModelRuns, verified
from edgekit.benchmark_model_told import DELEGATES
from edgekit.conditions import Told
from edgekit.deliver import Delivery
from edgekit.device import Device
from edgekit.errors import DeviceError, InputError
from edgekit.held import HeldDescription
from edgekit.nearest import unknown
from edgekit.runtime import Platform, agent_archive, require, site_packages
from edgekit.transport import Transport

NAMES = ("native", "python", "benchmark_model")


@dataclass(frozen=True, slots=True)
class Need:
    """A file that has to be on the device before a job is run there."""

    path: Path
    title: str
    unpacked: bool
    """An archive that is sent to be unpacked there."""


@dataclass(frozen=True)
class Runner(ABC):
    """How files are run on one device."""

    platform: Platform
    told: Told

    name = ""
    delegates: ClassVar[Sequence[str]] = ("xnnpack", "cpu")
    """What may be asked for with --delegate; a format's runtime has one or the other."""

    @abstractmethod
    def needs(self, form: str) -> Sequence[Need]:
        """What has to be there to run files of a format.

        Raises:
            InputError: this runner runs no such files there.
            SetupError: it cannot be made here, with the cure.
        """

    def require(self, delegate: str | None) -> None:
        """Refuse at once a device on which no format will run, and a delegate that is not there.

        Raises:
            InputError: no runtime there has that delegate.
            SetupError: as for `needs`.
        """
        if delegate is not None and delegate not in self.delegates:
            raise unknown("delegate", delegate, self.delegates)

    @abstractmethod
    def start(self, transport: Transport, there: Sequence[str], folder: str) -> Runs:
        """What runs jobs, now that the needs are `there`, in their order; `folder` on the device is theirs to write to."""

    @property
    def build(self) -> str:
        """What kind of runtime it is, for the record."""
        libc = self.told.identity.get("libc", "").partition(" ")[0] or "unknown libc"
        return f"{libc} wheel, {self.platform.folder.name} {self.told.machine}"

    def bring(self, delivery: Delivery, form: str, listener: Any) -> tuple[str, ...]:
        """Have the needs on the device; where each of them is there."""
        return tuple(
            delivery.unpack(need.path, listener) if need.unpacked else delivery.deliver({need.path.name: need.path}, listener)[need.path.name]
            for need in self.needs(form)
        )


@dataclass(frozen=True)
class PythonRunner(Runner):
    """`targets/common/agent.py`, run with a site-packages that is sent along by the device's own Python, or by one that is sent too."""

    python: str = "python3"

    name = "python"
    delegates = ("xnnpack", "cpu", "all", "cpu_gpu", "cpu_ne")  # the last three, and cpu, are Core ML's compute units on a Mac

    @property
    def held(self) -> HeldDescription | None:
        """What brings its own Python along."""
        return self.platform.description.held.get(self.told.machine)

    @property
    def build(self) -> str:
        return f"{super().build} with its own Python" if self.held else super().build

    def require(self, delegate: str | None) -> None:
        super().require(delegate)
        require(self.platform, self.told.machine, self.told.python or "")

    def needs(self, form: str) -> Sequence[Need]:
        python = self.told.python or ""  # runner_for has looked whether one is needed
        site = site_packages(self.platform, form, self.told.machine, python)
        title = self.platform.description.title_on(self.told.machine, form)
        words = f"{title} and numpy with a Python of their own" if self.held else f"{title} and numpy for Python {python}"
        return (Need(site, words, True), Need(agent_archive(self.platform, form), "the agent", False))

    def start(self, transport: Transport, there: Sequence[str], folder: str) -> Runs:
        site, agent = there
        python = self.held.argv(site) if self.held else (self.python,)
        return Agent(transport, (*python, "-I", "-S", agent, folder), lambda job: json.dumps({**job, "site": site}).encode(), folder)


@dataclass(frozen=True)
class NativeRunner(Runner):
    """`targets/native`, cross-built here; on Android it brings its own C library."""

    name = "native"

    def needs(self, form: str) -> Sequence[Need]:
        native.refuse_older_libc(self.platform, form, self.told.machine, self.told.identity.get("libc", ""))
        archive = native.bundle(self.platform, form, self.told.machine)
        return (Need(archive, f"the native runner with {native.TITLES[form]}", True),)

    def start(self, transport: Transport, there: Sequence[str], folder: str) -> Runs:
        (bundle,) = there
        return Agent(transport, tuple(native.argv(bundle, folder)), lambda job: native.encode(job, bundle), folder)

    @property
    def build(self) -> str:
        if self.told.android:
            return f"glibc wheel with its own C library, android {self.told.machine}"
        return super().build


@dataclass(frozen=True)
class BenchmarkModelRunner(Runner):
    """The user's own `benchmark_model`."""

    path: Path = Path()
    sha256: str = ""

    name = "benchmark_model"
    delegates = tuple(DELEGATES)

    def needs(self, form: str) -> Sequence[Need]:
        if form != "tflite":
            raise InputError(f"benchmark_model runs no {form} files: convert to tflite")
        return (Need(verified(self.path, self.sha256), "benchmark_model, as given", False),)

    def start(self, transport: Transport, there: Sequence[str], folder: str) -> Runs:
        (tool,) = there
        return BenchmarkModelRuns(transport, tool, folder)

    @property
    def build(self) -> str:
        return f"benchmark_model {self.sha256[:12]}, {self.platform.folder.name} {self.told.machine}"


def runner_for(device: Device, target: Platform, told: Told, asked: str | None = None) -> Runner:
    """The runner that was asked for, else the device's own choice, else the platform's: native where there is a runtime for it.

    This machine is measured by the Python that edgekit runs with, unless asked otherwise: it is there.

    Raises:
        InputError: no runner of that name, or it does not run there.
        DeviceError: it needs a Python that is not there.
    """
    name = asked or device.runner or default_name(device, target, told)
    if name == "native":
        if told.machine not in native.machines(target):
            have = ", ".join(native.machines(target)) or "none of this platform"
            raise InputError(f"there is no native runner for a {target.folder.name} {told.machine} device, only for {have}: use --runner python")
        return NativeRunner(target, told)
    if name == "python":
        if told.android:
            raise InputError("there is no Python on Android: use --runner native")
        if told.python is None and told.machine not in target.description.held:
            raise DeviceError(device.address, f"there is no {device.python}, which the Python agent needs: install it (`{target.description.install_python}`)")
        return PythonRunner(target, told, device.python)
    if name == "benchmark_model":
        if device.benchmark_model is None:
            raise InputError(f'lab.toml names no benchmark_model for {device.name}: add benchmark_model = {{ path = "…", sha256 = "…" }} to its entry')
        return BenchmarkModelRunner(target, told, device.benchmark_model.path, device.benchmark_model.sha256)
    raise InputError(f"there is no runner {name!r}: use one of {', '.join(NAMES)}")


def default_name(device: Device, target: Platform, told: Told) -> str:
    here = device.address == "local:"
    return "native" if told.android or (not here and told.machine in native.machines(target)) else "python"
