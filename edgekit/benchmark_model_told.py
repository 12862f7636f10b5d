"""What `benchmark_model` told in, what an agent would have told out: results of the modes `check` and `latency`, and why there are none."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgekit.facts import benchmark_model as facts

DELEGATES = {"cpu": ("none", "--use_xnnpack=false"), "xnnpack": ("XNNPACK", "--use_xnnpack=true"), "gpu": ("GPU", "--use_gpu=true")}
"""What a job may ask for → the tool's name of it, and its flag; without one, XNNPACK is applied as in an app."""

US = 1000  # ns


def memory(told: facts.Told) -> dict[str, Any]:
    """A check's memory: the tool looks at its peak every 50 ms; its growth is the difference of two peaks that the kernel kept."""
    return {"peak_rss_bytes": told.peak_bytes, "model_rss_bytes": told.growth_bytes, "peak_was_reset": True}


def latency(told: Sequence[facts.Told], delegate: str | None, cores: Sequence[int]) -> dict[str, Any] | None:
    """A latency result; samples there are none. None where the figures are not sure.

    Args:
        told: by the timed run, and by the one that timed the operators.
    """
    timed, runs = told[0], told[0].runs
    if runs is None or timed.load_us is None or timed.first_us is None:
        return None
    return {
        "load_ns": timed.load_us * US,
        "first_ns": timed.first_us * US,
        "runtime": {"name": "LiteRT", "version": "not told by benchmark_model"},
        "delegate": delegation(told, delegate),
        "cores": list(cores),
        "summary": {
            "n": runs.count,
            "min_ns": runs.min_us * US,
            "p50_ns": None if runs.p50_us is None else runs.p50_us * US,
            "mean_ns": runs.mean_us * US,
            "std_ns": float(runs.std_us * US),
        },
    }


def broken(code: int, fault: str | None) -> str:
    """How the tool ended before it was done: cause and cure."""
    if code == 127:
        return "benchmark_model cannot be started there: the device lacks what it was linked with; give the build for this device in lab.toml"
    if code == 126:
        return "benchmark_model is not allowed to run there, or is built for another processor: give the build for this device in lab.toml"
    if code == 128 + signal.SIGKILL:
        return "benchmark_model was killed by the system; memory has most likely run out: close other programs there or use a smaller model"
    if code > 128 and code - 128 in set(signal.Signals):
        said = f" ({fault})" if fault else ""
        return f"benchmark_model crashed ({signal.Signals(code - 128).name}){said}: it cannot take this file, so use another build or format"
    return f"benchmark_model failed ({fault or f'code {code}'}): convert the file again, or use another build or delegate"


def undelegated(told: facts.Told, asked: str | None) -> str | None:
    """Why a delegate that was asked for did not run anything; None if it did, or none was."""
    if asked in (None, "cpu"):
        return None
    name = DELEGATES[str(asked)][0]
    extents = {one.extent for one in told.applied if one.delegate == name}
    if not extents:
        return f"nothing that benchmark_model printed says that the {name} delegate was applied: leave out --delegate, or give another build of it"
    if "not" in extents:
        return f"the {name} delegate was asked for and takes no operator of this file: leave out --delegate, or use another recipe"
    return None


def delegation(told: Sequence[facts.Told], asked: str | None) -> dict[str, Any]:
    """What ran where: by what the runtime said when it applied delegates, and by the profile of operators."""
    name = DELEGATES[asked][0] if asked else "XNNPACK"
    nodes = next((one.nodes for one in reversed(told) if one.nodes is not None), None)
    replaced = [one for one in told[0].replaced if one.nodes]
    ran = [one.delegate for one in replaced] + [one.delegate for one in told[0].applied if one.extent != "not"]
    ran += [one.delegate for one in nodes or () if one.delegate not in (None, "unnamed")]
    if not ran and any(one.delegate == "unnamed" for one in nodes or ()):
        ran = ["XNNPACK"]  # the only one that names its kernels and is applied without being asked for
    ops = replaced[0].out_of if replaced else len(nodes) if nodes and not ran else None
    outside: dict[str, int] | None = None
    time_outside: float | None = None
    if nodes is not None:
        left = [one for one in nodes if one.delegate != name and (one.delegate != "unnamed" or any(other != name for other in ran))]
        taken = {one.delegate: one.nodes for one in replaced}
        counts = Counter(one.op if one.delegate is None else one.delegate for one in left)
        outside = {op: taken.get(op, count) for op, count in counts.items()}
        time_outside = round(sum(one.share for one in left) / sum(one.share for one in nodes), 4)
    elif replaced and replaced[0].delegate == name and replaced[0].nodes == replaced[0].out_of:
        outside, time_outside = {}, 0.0
    if name == "none":
        outside = time_outside = None
    words = ", ".join(dict.fromkeys(ran)) or ("none" if nodes is not None else "not told")
    return {"asked": name, "ran": words, "ops": ops, "outside": outside, "time_outside": time_outside}
