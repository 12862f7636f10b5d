"""What to measure, how long and how, as data: a `Subject`, a `Protocol` (`quick`, `full`, sustained) and `Settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.hub.bounds import Bound
from edgekit.records import Quantization, TensorSpec


@dataclass(frozen=True, slots=True)
class Protocol:
    """At least `min_runs` runs and `min_s` seconds a process, after a warm-up until steady; each process is a fresh one."""

    name: str
    processes: int
    min_runs: int
    min_s: float
    warm_up_min_s: float
    warm_up_max_s: float
    deadline_s: float
    """For one process, all samples included."""
    max_samples: int = 16_384
    """Runs recorded a process, about; where more fit, every k-th is, so that a record stays small whatever the model's speed."""
    repeats: int = 2
    """How many processes of one variant may be repeated because something disturbed them."""

    @property
    def is_sustained(self) -> bool:
        return self.name.startswith("sustained")

    @property
    def shortened(self) -> Protocol:
        """For an emulated processor: hundreds of times slower, never quiet, and its latency is never judged."""
        return replace(self, name=f"{self.name}, shortened for emulation", min_runs=3, min_s=0.0, warm_up_min_s=0.0, warm_up_max_s=0.0, repeats=0)


PROTOCOLS: Mapping[str, Protocol] = {
    "quick": Protocol("quick", processes=1, min_runs=50, min_s=1.0, warm_up_min_s=0.2, warm_up_max_s=2.0, deadline_s=1800),
    "full": Protocol("full", processes=3, min_runs=1024, min_s=60.0, warm_up_min_s=1.0, warm_up_max_s=10.0, deadline_s=7200),
}


def sustained(seconds: float) -> Protocol:
    """One process that runs for that long, without a pause: what heat does to it is the question, so nothing of it is repeated."""
    return Protocol(
        f"sustained {seconds:.0f} s",
        processes=1,
        min_runs=50,
        min_s=seconds,
        warm_up_min_s=0.2,
        warm_up_max_s=2.0,
        deadline_s=2 * seconds + 1800,
        max_samples=65_536,
        repeats=0,
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """A file to measure, and what its outputs have to be."""

    path: Path
    sha256: str
    format: str
    recipe: str
    """Whose bounds the outputs are judged by, unless `bound` is given."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: Path
    """Tensor folder of inputs."""
    reference: Path
    """Tensor folder of the source model's outputs on the same samples."""
    labels: Path | None = None
    bound: Bound | None = None
    integers: Quantization | None = None
    """Where the file takes and gives integers: `samples` holds such, `reference` the numbers."""
    held_to: Path | None = None
    """Tensor folder of what the outputs have to be, where that is not the reference: of a compressed network, its own."""

    @property
    def sample_files(self) -> tuple[Path, ...]:
        """One for each input, in order."""
        return tuple(self.samples / f"{i}.npy" for i in range(len(self.inputs)))


@dataclass(frozen=True, slots=True)
class Settings:
    """How files are run, the same for all of a run."""

    threads: int = 1
    cores_asked: str = "all"
    """`big`, `little`, `mid`, `all`, a mask or a list; resolved by what the device tells."""
    delegate: str | None = None
    """None leaves it to the runtime's default."""
    runner: str | None = None
    """None leaves it to the device and its platform."""
    governor: str | None = None
    """To be set for the run and set back after it; None leaves it."""
    wait: bool = True
    """Wait for a device that is too hot, throttled or low on battery."""
