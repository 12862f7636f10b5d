"""A format in, its runtime out: what runs on Linux."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cpu import ONNX, TensorFlowLite, TFLite
from refusal import Runtime

LARGE = sys.maxsize > 2**32  # this Python is a program of 64 bits, whatever the kernel is
RUNTIMES: dict[str, Callable[[str | None], Runtime]] = {"tflite": TFLite if LARGE else TensorFlowLite, "onnx": ONNX}
