"""Compile the lock files anew from each toolchain.toml: `python edgekit/toolchains/relock.py [NAME…]`; for maintainers.

torch is locked without hashes and local version label, so that the CPU build of the same version satisfies the lock.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from uv import find_uv_bin

HERE = Path(__file__).parent
PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_28",
    "linux-aarch64": "aarch64-manylinux_2_28",
    "macos-arm64": "aarch64-apple-darwin",
}


def relock(name: str) -> None:
    """Write `lock-<host>.txt` for every platform that the requirements can be met on."""
    described = tomllib.loads((HERE / name / "toolchain.toml").read_text())
    lowest = described["python"].split(",")[0].removeprefix(">=")
    for host, platform in PLATFORMS.items():
        requirements = described["requirements"]
        if host != "linux-x86_64":  # tensorflow-cpu has no wheel there; tensorflow is the same package
            requirements = [r.replace("tensorflow-cpu", "tensorflow") for r in requirements]
        with tempfile.TemporaryDirectory() as scratch:
            source, overrides = Path(scratch, "in.txt"), Path(scratch, "overrides.txt")
            source.write_text("\n".join(requirements))
            overrides.write_text("\n".join(described.get("overrides", [])))
            argv = [find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", lowest]
            argv += ["--python-platform", platform, "--override", str(overrides), str(source)]
            argv += [] if "torch_backend" in described else ["--generate-hashes"]
            env = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
            if host != "linux-x86_64":  # wheels named by find-links are this machine's own
                env.pop("UV_FIND_LINKS", None)
            done = subprocess.run(argv, capture_output=True, text=True, env=env)
        if done.returncode != 0:
            print(f"{name} {host}: {done.stderr.strip()}", file=sys.stderr)
            continue
        lock = re.sub(r"(?m)^(torch==[\d.]+)\+\S+", r"\1", done.stdout)
        lock = re.sub(r"(?m)^(nvidia|cuda|triton)\S*\n", "", lock)  # the CPU build needs none of them
        (HERE / name / f"lock-{host}.txt").write_text(lock)
        print(f"{name} {host}: locked")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or sorted(path.parent.name for path in HERE.glob("*/toolchain.toml")):
        relock(chosen)
