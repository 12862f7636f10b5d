"""`make bench`: every benchmark on MobileNetV2 and the depthwise digits network; about fifteen minutes on two quiet cores."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.lab.networks import digits, mobilenet_keras, mobilenet_pt2  # noqa: E402

EDGEKIT = Path(sys.executable).parent / "edgekit"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([EDGEKIT, "convert", mobilenet_pt2(), "--to", "onnx", "-o", scratch], check=True, stdout=subprocess.DEVNULL)
        mobilenet = Path(scratch, "mobilenet.fp32.onnx")
        network, data = digits("depthwise")
        for argv in (
            ["startup.py", mobilenet],
            ["convert_overhead.py", mobilenet, "10"],
            ["agent_overhead.py", mobilenet, "20"],
            ["native_overhead.py", mobilenet],
            ["convert_many.py"],
            ["native_route.py"],
            ["push.py"],
            ["deploy_again.py", network, data],
            ["compress_passes.py"],
            ["twin_forward.py"],
            ["quantize.py", mobilenet_keras(), "20"],
        ):
            subprocess.run([sys.executable, HERE / argv[0], *argv[1:]], check=True)


if __name__ == "__main__":
    main()
