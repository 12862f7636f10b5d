"""A second `edgekit deploy` of the same model and recipes: bytes sent, and seconds beyond the runner's own time on the device.

    python benchmarks/deploy_again.py MODEL [DATA.npz [TIMES]]

Where an SSH server and an adbd can be started (as root, on loopback), the same over SSH to another user, and over adb. The host's share
of the work, in which the model is converted and verified from the cache, counts too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import median_interval, verdict

BAR_S = 2.0
RUNS = (["--to", "tflite", "--recipe", "fp32"], ["--to", "tflite,onnx"])
EDGEKIT = Path(sys.executable).parent / "edgekit"


def deploy(model: Path, data: Path | None, target: str, options: list[str], env: dict[str, str]) -> tuple[float, int, int]:
    """Seconds beyond the runner's and beyond waiting for the device, bytes sent, and how many variants were measured."""
    argv = [EDGEKIT, "deploy", model, "--target", target, *options, "--json", *(["--data", data] if data else [])]
    started = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **env})
    took = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(done.stderr)
    said = json.loads(done.stdout)
    measured = sum(variant["latency_ns"] is not None for variant in said["variants"])
    return took - said["agent_s"] - said["waited_s"], said["pushed_bytes"], measured


def report(model: Path, data: Path | None, target: str, name: str, env: dict[str, str], times: int) -> None:
    for options in RUNS:
        deploy(model, data, target, options, env)
        found = [deploy(model, data, target, options, env) for _ in range(times)]
        middle, low, high = median_interval([one[0] for one in found])
        sent, measured = max(one[1] for one in found), found[0][2]
        beyond = f"{middle:.2f} s [{low:.2f}, {high:.2f}] beyond the runner"
        print(f"second deploy, {name}, {measured} variant(s): {beyond}, bar {BAR_S:.0f} {verdict(low, high, BAR_S)}; {sent} bytes sent", flush=True)


def main(model: Path, data: Path | None, times: int) -> None:
    report(model, data, "local", "local", {}, times)
    if os.geteuid() == 0 and Path("/usr/sbin/sshd").exists():
        from tests.lab.sshd import sshd

        with sshd() as server:
            report(model, data, server.address, "ssh", {"EDGEKIT_SSH_CONFIG": str(server.config)}, times)
        if shutil.which("adb"):
            from tests.lab.adb import adb_server, genuine

            with adb_server() as adb, genuine(adb) as device:
                report(model, data, device.address, "adb", {"ANDROID_ADB_SERVER_PORT": str(adb.port)}, times)


if __name__ == "__main__":
    given = [Path(word).absolute() for word in sys.argv[1:3]]
    main(given[0], given[1] if len(given) > 1 else None, int(sys.argv[3]) if len(sys.argv) > 3 else 5)
