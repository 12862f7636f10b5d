"""What runs files of a format that is ONNX under another name."""

from __future__ import annotations

from edgekit.toolchains.convert.runtime.runners import OnnxRuntime as open_runner  # noqa: F401
