"""An open way to a device in, a device that is ready to measure out: locked for this run, with what files need there in place.

with Bench.open(transport, device, verb="deploy") as bench:  # one connection, one delivery, one lock for a whole run
    told = bench.run("latency", bench.prepare(subject, settings, progress), protocol, progress)

What a run changes on the device (its lock, the screen, a governor) is held by processes there that undo it when they are told to,
or when the connection or this machine is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgekit.agent import Progress, Runs, Told
from edgekit.ask import ask, ask_state
from edgekit.conditions import Told as DeviceTold
from edgekit.conditions import pick_cores
from edgekit.deliver import Delivery
from edgekit.device import Device
from edgekit.errors import DeviceError, InputError, Unreachable
from edgekit.files import sha256_tree
from edgekit.lock import Holder, lock
from edgekit.protocol import Protocol, Settings, Subject
from edgekit.runners import Runner, runner_for
from edgekit.runtime import Platform, platform_of
from edgekit.settings import awake, governor
from edgekit.transport import Transport


@dataclass
class Bench:
    """A device that is ready to measure: what it said of itself, and what has been put there."""

    transport: Transport
    platform: Platform
    told: DeviceTold
    delivery: Delivery
    runner: Runner
    folder: str
    held: contextlib.ExitStack
    notes: list[str] = field(default_factory=list)
    """What a reader of any figure taken here has to know."""
    brought: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Format → where what its runner needs is on the device."""
    there: dict[Path, str] = field(default_factory=dict)
    """Files here → where they are on the device."""
    agent_s: float = 0.0
    """Seconds that agents ran, all in all: what a run spends beyond them and waiting is overhead."""
    waited_s: float = 0.0
    """Seconds that the device was left alone to cool down."""

    @classmethod
    def open(cls, transport: Transport, device: Device, settings: Settings = Settings(), *, verb: str) -> Self:  # noqa: B008 (frozen)
        """Ask a device what it is, take it for this run, and make it ready. `verb` is what others are told who want it meanwhile.

        Raises:
            DeviceError: it does not answer, is in use by another edgekit, or lacks what the runner needs.
            InputError: the runner or the settings do not fit it.
            SetupError: the runner cannot be made here for such a device.
        """
        platform = platform_of(transport)
        told = ask(transport, platform, device.python)
        runner = runner_for(device, platform, told, settings.runner)
        runner.require(settings.delegate)
        pick_cores(told, settings.cores_asked)
        delivery = Delivery.open(transport)
        with contextlib.ExitStack() as undo:
            undo.enter_context(lock(transport, delivery.root, Holder.here(f"edgekit {verb}")))
            notes = []
            try:
                undo.enter_context(awake(transport, told))
            except Unreachable:
                raise
            except DeviceError as exc:  # some makers forbid it: the figures stand, with the reason why they may be slow
                notes.append(f"the screen may go off while it is measured: {exc}")
            if settings.governor:
                undo.enter_context(governor(transport, told, settings.governor))
            return cls(transport, platform, told, delivery, runner, delivery.workdir(alone=True), undo.pop_all(), notes)

    @property
    def emulated(self) -> bool:
        """Whether the device's processor is emulated."""
        return self.told.emulated

    @property
    def pushed_bytes(self) -> int:
        """What was really sent to the device so far."""
        return self.delivery.pushed_bytes

    def state(self) -> dict[str, str]:
        """How the device is now, in its own words."""
        return ask_state(self.transport, self.platform)

    def send_ahead(self, subjects: Sequence[Subject], progress: Progress) -> None:
        """Have all files of a run on the device in one go. What goes wrong is not said here: `prepare` sends what is missing by itself."""
        files = {subject.path for subject in subjects if subject.path.is_file()} | {path for subject in subjects for path in subject.sample_files}
        for path in files:
            self.there.pop(path, None)  # it may have changed since the last run of this bench
        names = {f"{hashlib.sha256(str(path).encode()).hexdigest()[:8]}-{path.name}": path for path in files}  # of several folders
        with contextlib.suppress(DeviceError, InputError):
            for name, there in self.delivery.deliver(names, sending(progress)).items():
                self.there[names[name]] = there

    def prepare(self, subject: Subject, settings: Settings, progress: Progress) -> dict[str, Any]:
        """Have all that a job needs on the device; the job's description.

        Raises:
            InputError: the file is not the one that was meant, or the runner does not run its format.
            SetupError: the runtime for the device cannot be made here.
            DeviceError: the connection, the device's disk.
        """
        progress("preparing the runtime", None)
        if subject.format not in self.brought:
            self.brought[subject.format] = self.runner.bring(self.delivery, subject.format, sending(progress))
        model = f"model{subject.path.suffix}"
        names = {model: subject.path, **{path.name: path for path in subject.sample_files}}
        missing = {name: path for name, path in names.items() if path not in self.there}
        delivered = self.delivery.deliver(missing, sending(progress)) if missing else {}
        self.there.update({missing[name]: there for name, there in delivered.items()})
        artifact = self.there[subject.path]
        content = sha256_tree(subject.path) if subject.path.is_dir() else artifact  # the device's store is addressed by content, folders as archives
        if subject.sha256 not in content:
            raise InputError(f"{subject.path} has changed since it was made (its SHA-256 was {subject.sha256[:12]}…): convert the model again")
        job = {
            "artifact": artifact,
            "format": subject.format,
            "inputs": [self.there[path] for path in subject.sample_files],
            "inputs_spec": [asdict(spec) for spec in subject.inputs],
            "outputs_spec": [asdict(spec) for spec in subject.outputs],
            "threads": settings.threads,
            "delegate": settings.delegate,
            "cores": list(self.cores(settings)) if settings.cores_asked != "all" else None,
        }
        return {key: value for key, value in job.items() if value is not None}

    def cores(self, settings: Settings) -> Sequence[int]:
        """The processors that the settings mean on this device."""
        return pick_cores(self.told, settings.cores_asked)

    def runs(self, form: str) -> Runs:
        """What runs jobs on files of a format that have been prepared."""
        return self.runner.start(self.transport, self.brought[form], f"{self.folder}/job")

    def run(self, mode: str, job: Mapping[str, Any], protocol: Protocol, progress: Progress) -> Told:
        """Run a job; the time counts as the device's own."""
        started = time.monotonic()
        try:
            return self.runs(job["format"]).run({**job, "mode": mode, "protocol": asdict(protocol)}, deadline_s=protocol.deadline_s, progress=progress)
        finally:
            self.agent_s += time.monotonic() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the jobs' folder and let the device go; one that can no longer be reached does both by itself."""
        with contextlib.suppress(DeviceError):
            self.delivery.remove()
        with contextlib.suppress(DeviceError):
            self.held.close()


def sending(progress: Progress) -> Callable[[str, int, int], None]:
    """A listener to a delivery."""
    return lambda name, sent, total: progress(f"sending {name}", sent / max(total, 1))
