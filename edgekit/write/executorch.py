"""ExecuTorch: written from the twin by torch.export, with XNNPACK, verified in ExecuTorch's own runtime.

Ranges and integers are put into an ONNX file first, whose QuantizeLinear/DequantizeLinear pairs become PyTorch's: so both formats have the same integers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgekit.write import onnx
from edgekit.write.format import Adapter, Format, Steps

WORKERS = Path(__file__).parent.parent / "toolchains/executorch"
VERSION = "1.5.1"
NO_WEIGHTS_ALONE = "XNNPACK in ExecuTorch has no kernels for {} with float activations: use w8a8, w8d or fp32"
NO_SIXTEEN = "XNNPACK in ExecuTorch takes activations of 8 bits, not 16: use w8a8, or w8a16 in TFLite"

FORMAT = Format(
    name="executorch",
    title="ExecuTorch",
    suffix=".pte",
    toolchain="executorch",
    write_verb="write_executorch",
    quantize_verb="write_executorch",
    recipes={"fp32": Steps(), "w8d": Steps({"dynamic": True}), "w8a8": Steps(quantize="w8a8")},
    refusals={
        "fp16": "XNNPACK in ExecuTorch's published runtime computes in float32: use fp32",
        "w8": NO_WEIGHTS_ALONE.format("int8 weights"),
        **dict.fromkeys(("w4", "w4b32", "w3", "w2"), NO_WEIGHTS_ALONE.format("weights of few bits")),
        "w8a16": NO_SIXTEEN,
    },
    write_tools=("executorch", "torch", "onnx"),
    quantize_tools=(),
    learned=Steps(quantize="w8a8"),
    through=replace(onnx.FORMAT, store_verb="store_qdq", stores=()),
    verify_tools=("executorch", "torch"),
    in_all=False,  # its toolchain takes 1 GB, and an export several times as long as the other formats together
    runner=WORKERS / "runner.py",
    # The published runtime is a module of PyTorch's: it takes and gives its tensors.
    agent=Adapter(
        file=WORKERS / "adapter.py",
        title="ExecuTorch",
        packages={
            "executorch": VERSION,
            "torch": "2.13.0",
            "typing-extensions": "4.16.0",
            "filelock": "4.2.11",
            "sympy": "1.14.0",
            "mpmath": "1.3.0",
            "networkx": "3.6.1",
            "jinja2": "3.1.6",
            "markupsafe": "3.0.4",
            "fsspec": "2026.9.0",
        },
        keep=(
            "executorch/extension/pybindings/*.so",
            "executorch/lib/*.so",
            "torch/*.py",
            "torch/*.so",
            "torch/lib/*.so*",
            "torch/bin/torch_shm_manager",
            *(f"{name}/*.py" for name in ("torchgen", "functorch", "filelock", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec")),
            "markupsafe/*.so",
            "typing_extensions.py",
        ),
    ),
)
