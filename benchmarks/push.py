"""A file of 100 MB pushed by edgekit against `adb push` to Android's own adbd and `scp` to OpenSSH's sshd: throughput, interleaved pairs.

    python benchmarks/push.py [PAIRS [MEGABYTES]]

The ratio is of durations, theirs over ours, so that it is one of throughput. Both write a name that is not there yet in the same folder of this
machine, as a delivery does; a name that is there costs who replaces it at once: ext4 then writes the new file to the disk first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import interleaved, median_interval
from edgekit.transport import Transport, connect
from tests.lab.adb import adb_server, genuine
from tests.lab.sshd import sshd

BAR = 0.9


def seconds(work: Callable[[], object], written: str) -> float:
    Path(written).unlink(missing_ok=True)
    os.sync()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, device: Transport, source: Path, folder: str, argv: list[str], pairs: int) -> None:
    """One transport: its push against the program that people use."""

    def ours() -> float:
        return seconds(lambda: device.push(source, f"{folder}/ours", timeout_s=120), f"{folder}/ours")

    def theirs() -> float:
        return seconds(lambda: subprocess.run(argv, check=True, capture_output=True), f"{folder}/theirs")

    ours(), theirs()
    mine, other = interleaved(ours, theirs, pairs)
    middle, low, high = median_interval([b / a for a, b in zip(mine, other, strict=True)])
    verdict = "met" if low >= BAR else "missed" if high < BAR else "inconclusive"
    megabytes = source.stat().st_size / 1e6
    rates = f"{megabytes / sorted(mine)[pairs // 2]:.0f} against {megabytes / sorted(other)[pairs // 2]:.0f} MB/s, {pairs} pairs"
    print(f"{name:<44} {f'{middle:.3f} [{low:.3f}, {high:.3f}]':<24} bar {BAR:<5} {verdict:<13} {rates}", flush=True)


def over_adb(source: Path, pairs: int) -> None:
    with adb_server() as server:
        os.environ.update(server.environment)
        with genuine(server) as phone, connect(phone.address) as device:
            argv = ["adb", "-s", phone.serial, "push", str(source), f"{phone.folder}/theirs"]
            compare("push against adb push", device, source, str(phone.folder), argv, pairs)


def over_ssh(source: Path, pairs: int) -> None:
    with sshd("Subsystem sftp internal-sftp") as board:
        os.environ["EDGEKIT_SSH_CONFIG"] = str(board.config)
        with connect("ssh:bench") as device:
            argv = ["scp", "-q", "-F", str(board.config), str(source), f"bench:{board.home}/theirs"]
            compare("push against scp", device, source, str(board.home), argv, pairs)


def main(pairs: int, megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.write_bytes(os.urandom(megabytes * 1_000_000))
        for measure in (over_adb, over_ssh):
            try:
                measure(source, pairs)
            except pytest.skip.Exception as exc:  # a daemon that is not installed, or the right to start it
                print(f"{measure.__name__}: not measured: {exc}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 100)
