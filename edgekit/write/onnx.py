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
    recipes={"fp32": Steps(), **{name: Steps(quantize=name) for name in ("fp16", "w8", "w4", "w4b32", "w8d", "w8a8")}},
    refusals={"w8a16": "ONNX Runtime's CPU kernels take activations of 8 bits, not 16: it would compute in float32 between conversions; use w8a8 or w8"},
    write_tools=("onnx",),
    quantize_tools=("onnxruntime",),
    verify_tools=("onnxruntime",),
    store_verb="store_onnx",
    stores=("fp16", "w8", "w4", "w4b32", "w8d", "w8a8"),
    flexible_verb="flex_onnx",
    ios=("float", "integer"),
)
