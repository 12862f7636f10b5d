"""ExecuTorch: written from the twin by torch.export, with XNNPACK, verified in ExecuTorch's own runtime."""

from __future__ import annotations

from pathlib import Path

from edgekit.write.format import Adapter, Format, Steps

WORKERS = Path(__file__).parent.parent / "toolchains/executorch"
VERSION = "1.5.1"
INTEGERS = "edgekit writes no integers into ExecuTorch programs: use fp32, or w8a8 in TFLite or ONNX"

FORMAT = Format(
    name="executorch",
    title="ExecuTorch",
    suffix=".pte",
    toolchain="executorch",
    write_verb="write_executorch",
    quantize_verb="write_executorch",
    recipes={"fp32": Steps()},
    refusals={
        "fp16": "XNNPACK in ExecuTorch's published runtime computes in float32: use fp32",
        **dict.fromkeys(("w8", "w4", "w4b32", "w8d", "w8a8", "w8a16"), INTEGERS),
    },
    write_tools=("executorch", "torch", "onnx"),
    quantize_tools=(),
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
