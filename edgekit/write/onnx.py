"""ONNX: the hub itself, quantized with onnxruntime, verified in ONNX Runtime."""

from __future__ import annotations

from edgekit.write.format import Format, Steps

FORMAT = Format(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    toolchain="convert",
    write_verb="write_onnx",
    quantize_verb="quantize_onnx",
    recipes={"fp32": Steps(), **{name: Steps(quantize=name) for name in ("fp16", "w8", "w8d", "w8a8")}},
    refusals={},
    write_tools=("onnx",),
    quantize_tools=("onnxruntime",),
    verify_tools=("onnxruntime",),
)
