"""The nouns as frozen records; no I/O. Integers carry their unit in the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekit.records_compression import Compression as Compression
from edgekit.records_model import FlexibleAxis as FlexibleAxis
from edgekit.records_model import Model as Model
from edgekit.records_model import Samples as Samples
from edgekit.records_model import TensorSpec as TensorSpec

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far outputs are from the source model's, over all outputs and samples (the worst output counts)."""

    max_abs: float
    max_rel: float
    """max_abs over the largest absolute value of the source's output."""
    cosine: float
    sqnr_db: float
    """10·log10(Σ reference² / Σ error²); 999.0 where the error is zero."""
    top1_agreement: float | None
    """Share of samples whose first output has its largest value at the same place; None where that means nothing."""
    has_nan: bool
    all_zero: bool
    n: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A metric over labelled samples; `baseline` is the source model's on the same samples."""

    metric: str
    value: float
    baseline: float
    n: int
    network: float | None = None
    """Of the compressed network that the file is of, in float activations; None where it is of the model's own."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of axes within a file, and how its inputs and outputs are turned against the model's."""

    inner: Literal["nhwc", "nchw"] | None
    """What its image operators work in; None where it has none."""
    inputs: tuple[tuple[int, ...], ...]
    """For each input, the model's axes in the file's order; `(0, 1, 2, 3)` where they are kept."""
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Integers:
    """How a tensor's integers stand for numbers: scale · (integer - zero_point)."""

    scale: float
    zero_point: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Quantization:
    """Of each input and output of a file with integer ends; None where it is no quantized one."""

    inputs: tuple[Integers | None, ...]
    outputs: tuple[Integers | None, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One deployable file, with what it came from and what was found when it was checked on this machine."""

    model_sha256: str
    recipe: str
    format: str
    path: Path
    sha256: str
    size_bytes: int
    download_bytes: int
    route: tuple[str, ...]
    """The steps taken, in order, such as `onnx2tf`, `litert-quantizer static_wi8_ai8`."""
    tools: Mapping[str, str]
    """Package → version of every tool that took part."""
    parity: Parity | None
    accuracy: Accuracy | None
    notes: tuple[str, ...] = ()
    layout: Layout | None = None
    ops: int | None = None
    """Operators in the file."""
    transposes: tuple[int, ...] | None = None
    """Those in the hub, and those in the file."""
    quantization: Quantization | None = None
    """Where the file takes and gives integers for the model's numbers."""
    flexible: tuple[FlexibleAxis, ...] = ()
    """Axes that the file has flexible; the others are fixed at the size that they have in it."""
    verified_sizes: tuple[str, ...] = ()
    """The other sizes that a flexible file was compared with its model at, in one session: `x=3x224x224x3`."""
    compression: Compression | None = None
    """Where the file is of a smaller network than the model's own."""
    agreement: Parity | None = None
    """How far its outputs are from that network's own; `parity` tells how far they are from the model's."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Statistics of raw samples, all in ns; `load` and `first` are medians over fresh processes.

    None is what a runner that keeps its samples to itself does not tell.
    """

    n: int
    min_ns: int
    p50_ns: int
    p90_ns: int | None
    p99_ns: int | None
    mean_ns: float
    std_ns: float | None
    p50_low_ns: int | None
    """95 % bootstrap interval of p50."""
    p50_high_ns: int | None
    load_ns: int
    first_ns: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, taken in a pass of their own; None where the device does not tell. `edgekit explain memory` has the definitions."""

    peak_rss_bytes: int | None
    """VmHWM of the agent."""
    model_rss_bytes: int | None
    """Peak resident memory above the agent's own floor before the model was loaded."""
    pss_bytes: int | None = None
    cgroup_peak_bytes: int | None = None
    floor_rss_bytes: int | None = None
    """VmRSS of the agent with its runtime loaded, before the model is."""
    private_dirty_bytes: int | None = None
    swap_bytes: int | None = None
    arena_bytes: int | None = None
    """What the runtime itself says that it holds for tensors."""
    phys_footprint_bytes: int | None = None
    """macOS."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that is needed to repeat a measurement, beside the artifact itself."""

    runtime: str
    runtime_version: str
    runtime_build: str
    """Such as `glibc wheel, linux x86_64`; different builds are never compared."""
    delegate_asked: str
    delegate_ran: str
    threads: int
    cores: tuple[int, ...]
    device: Mapping[str, str]
    """Identity: hostname, model, arch, kernel, os, python."""
    before: Mapping[str, str]
    """Governor, frequencies, temperatures, throttling, load, battery: whatever the device tells."""
    after: Mapping[str, str]
    emulated: bool
    runner: str = "python"
    """`native`, `python` or `benchmark_model`; those of different runners are never compared."""
    cores_asked: str = ""
    ops: int | None = None
    """Operators in the file, where the runtime tells."""
    ops_outside: Mapping[str, int] | None = None
    """Operator → how many of them ran outside the delegate; None where the runtime does not tell."""
    time_outside: float | None = None
    """Share of the time that those took."""


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of a sustained measurement."""

    minute: int
    """From 1."""
    n: int
    p50_ns: int
    clock_khz: int | None
    """Highest frequency that one of the cores in use had in that minute; None where it is not told."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What happened once on a device: raw samples, and all that is needed to repeat it."""

    artifact_sha256: str
    device: str
    """The device's address."""
    protocol: str
    """`quick`, `full` or `sustained 600 s`."""
    parity: Parity
    accuracy: Accuracy | None
    latency: Latency | None
    """None where the outputs were wrong: no latency is shown for those."""
    memory: Memory | None
    conditions: Conditions
    samples_ns: tuple[tuple[int, ...], ...] = field(repr=False)
    """Warm latencies as they came, one tuple a process."""
    notes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    """For each process, why its samples are kept and should not count (`throttled: …`, `disturbed: …`); "" where nothing is to be said.
    Where each whole process has a mark, all of those count after all, and the notes say so."""
    complete: bool = True
    """False while processes are still to come, and for ever if the run was ended before them."""
    minutes: tuple[Minute, ...] = ()
    """Latency over time, of a sustained measurement."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit of the profile that a variant breaks."""

    limit: str
    allowed: float
    found: float
    text: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One (recipe, format) of a run: what became of it."""

    recipe: str
    format: str
    status: Status
    error: str | None
    artifact: Artifact | None
    measurement: Measurement | None
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant to ship and why."""

    recipe: str
    format: str
    reason: str


SEARCH_NAMED = 8
"""Characters of a search's name that tell it from others."""


@dataclass(frozen=True, slots=True)
class Run:
    """One `deploy` or `bench`: its model, its device, its variants and the choice."""

    id: str
    """Sortable: `20261122-014235-k3f9`."""
    started_utc: str
    model_path: str
    model_sha256: str
    device_name: str
    device_address: str
    emulated: bool
    profile: str | None
    variants: tuple[Variant, ...]
    chosen: Choice | None
    search: str | None = None
    """Name of the search that this is a trial of."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list of runs."""

    id: str
    started_utc: str
    finished: bool
    """False while a run goes on, and for ever if it was killed."""
    model_path: str
    device_name: str
    device_address: str
    emulated: bool
    profile: str | None
    variants: int
    ok: int
    """How many of the variants are."""
    recipe: str | None
    """The chosen variant's, as are the format and p50; where none was chosen, those of the only one that was measured; else None."""
    format: str | None
    p50_ns: int | None
    chosen: bool
    """False where nothing was chosen: what is told is then what was measured."""
    search: str | None
    """Name of the search that the run is a trial of."""
