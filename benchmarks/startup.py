"""`edgekit --help`: wall-clock time and peak memory; and edgekit's own peak memory while it converts a model.

python benchmarks/startup.py [MODEL]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import median_interval, verdict

EDGEKIT = Path(sys.executable).parent / "edgekit"


def run(argv: list[str]) -> tuple[float, int]:
    """Seconds, and peak resident bytes of a process that starts no other."""
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{argv} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def peak_beside_workers(argv: list[str]) -> int:
    """Peak resident bytes of edgekit's own process, looked at while it runs: `wait4` would count its workers in."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        peak_bytes = 0
        while process.poll() is None:
            peak_bytes = max(peak_bytes, own_peak_bytes(process.pid))
            time.sleep(0.002)
    if process.returncode != 0:
        sys.exit(f"{argv} ended with {process.returncode}")
    return peak_bytes


def own_peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main(model: str | None) -> None:
    runs = [run([str(EDGEKIT), "--help"]) for _ in range(20)]
    middle, low, high = median_interval([seconds for seconds, _ in runs])
    bare = np.median([run([sys.executable, "-c", "import click"])[0] for _ in range(20)])
    print(f"edgekit --help: {middle:.3f} s [{low:.3f}, {high:.3f}], bar 0.15 {verdict(low, high, 0.15)}; bare interpreter with click {bare:.3f} s")
    peak = max(b for _, b in runs) / 1e6
    print(f"edgekit --help: peak {peak:.1f} MB, bar 35 {'met' if peak <= 35 else 'missed'}")
    if model is not None:
        with tempfile.TemporaryDirectory() as scratch:
            peak_bytes = peak_beside_workers([str(EDGEKIT), "convert", model, "--to", "all", "-o", scratch])
        print(f"edgekit convert {Path(model).name}: own process peaks at {peak_bytes / 1e6:.0f} MB, bar 150 {'met' if peak_bytes <= 150e6 else 'missed'}")


if __name__ == "__main__":
    subprocess.run([EDGEKIT, "--help"], capture_output=True, check=True)
    main(sys.argv[1] if len(sys.argv) > 1 else None)
