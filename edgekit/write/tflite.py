"""TFLite: written by onnx2tf, quantized by litert-quantizer, verified in LiteRT."""

from __future__ import annotations

from edgekit.write.format import Format, Steps

FORMAT = Format(
    name="tflite",
    title="TFLite",
    suffix=".tflite",
    toolchain="convert",
    write_verb="write_tflite",
    quantize_verb="quantize_tflite",
    recipes={"fp32": Steps(), **{name: Steps(quantize=name) for name in ("fp16", "w8", "w4", "w8d", "w8a8", "w8a16")}},
    refusals={"w4b32": "edgekit writes no TFLite files with a scale for each block of weights, which TFLite has for fully connected layers alone: use w4"},
    write_tools=("onnx2tf", "onnx"),
    quantize_tools=("litert-quantizer",),
    verify_tools=("ai-edge-litert",),
    store_verb="store_tflite",
    ios=("float", "integer"),
    layouts=("model", "nhwc"),
    most_bytes=2**31 - 1,  # flatbuffers have signed offsets of 32 bits
    flexible_verb="flex_tflite",
)
