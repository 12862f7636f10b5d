"""A format in, its runtime out: what runs on Linux."""

from __future__ import annotations

from collections.abc import Callable

from cpu import ONNX, TFLite
from refusal import Runtime

RUNTIMES: dict[str, Callable[[str | None], Runtime]] = {"tflite": TFLite, "onnx": ONNX}
