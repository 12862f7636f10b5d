"""`make demo`: a real network and a home-made one, compressed, verified, measured on this machine, and packaged.

Everything goes to ./demo, edgekit's cache and its store. A second run finds the conversions in the cache and only measures again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from rich.console import Console  # noqa: E402

from edgekit.toolchains.catalog import toolchain  # noqa: E402
from examples import packages  # noqa: E402

DEMO = HERE.parent / "demo"
EDGEKIT = Path(sys.executable).parent / "edgekit"
CHOICES = ["--target", "local", "--to", "tflite,onnx,coreml", "--recipe", "fp32,fp16,w8,w8a8", "--quick"]
say = Console(highlight=False)


def heading(words: str) -> None:
    say.print()
    say.rule(f"[bold]{words}", align="left")


def edgekit(*argv: str | Path) -> None:
    """Show a command as the user would type it, and run it."""
    shown = " ".join(os.path.relpath(a) if isinstance(a, Path) else a for a in argv)
    say.print(f"[dim]$[/dim] [cyan]edgekit {shown}[/cyan]", soft_wrap=True)
    code = subprocess.run([EDGEKIT, *argv], env=environment()).returncode
    if code != 0:
        sys.exit(code)


def environment() -> dict[str, str]:
    """One thread for training; wheels that pip is told of (PIP_FIND_LINKS) serve uv as well."""
    links = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")
    return {**os.environ, "OMP_NUM_THREADS": "1", **({"UV_FIND_LINKS": links} if links else {})}


def main() -> None:
    started = time.monotonic()
    DEMO.mkdir(exist_ok=True)
    heading("The converters' environments")
    edgekit("toolchains", "install", "convert", "torch")

    heading("basic-pitch: a real pitch-detection network, as published in ONNX")
    notes = DEMO / "notes.npz"
    if not notes.exists():
        subprocess.run([sys.executable, HERE / "basic_pitch/notes.py", notes], check=True)
    edgekit("deploy", packages.nmp_onnx(), *CHOICES, "--data", notes)

    heading("A depthwise digits network, trained here on MNIST 5k")
    network, digits = DEMO / "depthwise.pt2", DEMO / "digits.npz"
    if not network.exists():
        trainer = [toolchain("torch").python, HERE / "mnist/train.py", "--network", "depthwise", "--csv", packages.mnist_csv(), "--out", DEMO]
        subprocess.run(trainer, check=True, env=environment())
    edgekit("deploy", network, *CHOICES, "--data", digits)

    heading("The release")
    edgekit("package", "last", "--platform", "generic", "-o", DEMO / "release")
    edgekit("package", "verify", DEMO / "release")
    say.print(f"\n[dim]done in {time.monotonic() - started:.0f} s; `edgekit runs list` shows what was kept[/dim]")


if __name__ == "__main__":
    main()
