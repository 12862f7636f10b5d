"""Core ML packages: written in MIL with coremltools, compressed by coremltools, verified by evaluating their MIL program."""

from __future__ import annotations

from edgekit.write.format import Format, Steps

NARROWED = dict.fromkeys(("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"), "int32") | {"bool": "float32", "float64": "float32"}
"""What Core ML has at a boundary for a dtype that it lacks (FeatureTypes.proto, ArrayDataType); the writer notes it."""

FORMAT = Format(
    name="coreml",
    title="Core ML",
    suffix=".mlpackage",
    toolchain="convert",
    write_verb="write_coreml",
    quantize_verb="quantize_coreml",
    recipes={
        "fp32": Steps({"precision": "fp32"}),
        "fp16": Steps({"precision": "fp16"}),
        # Activations stay float16: with float32 ones, the Neural Engine would not take the model.
        "w8": Steps({"precision": "fp16"}, quantize="w8"),
        "w4": Steps({"precision": "fp16"}, quantize="w4"),
        "w4b32": Steps({"precision": "fp16"}, quantize="w4b32"),
        "w8a8": Steps({"precision": "fp16"}, quantize="w8a8"),
    },
    refusals={
        "w8d": "Core ML has no activations quantized at run time: use w8",
        "w8a16": "Core ML has no 16-bit integer activations: use w8, whose activations are float16",
    },
    write_tools=("coremltools", "onnx"),
    quantize_tools=("coremltools", "onnxruntime"),
    verify_tools=("coremltools", "onnxruntime"),
    store_verb="store_coreml",
    stores=("fp16", "w8", "w4", "w4b32", "w8a8"),
    learned=Steps({"precision": "fp16"}),
    dtypes=NARROWED,
    flexible_verb="flex_coreml",
    flexible_needs_bounds=True,
)
