"""A format of a stranger's: the hub's bytes in a numpy archive. What `tests/test_plugin_format.py` installs as a package of its own."""

from __future__ import annotations

from pathlib import Path

from edgekit.write.format import Adapter, Format, Steps

HERE = Path(__file__).parent

FORMAT = Format(
    name="npz-graph",
    title="NPZ graph",
    suffix=".npzgraph",
    toolchain="convert",
    write_verb=HERE / "write_npz_graph.py",
    quantize_verb=HERE / "write_npz_graph.py",
    recipes={"fp32": Steps({"compressed": False})},
    refusals={"w8": "an NPZ graph has no integers: use fp32"},
    write_tools=("onnx",),
    quantize_tools=(),
    verify_tools=("onnxruntime",),
    runner=HERE / "write_npz_graph.py",
    agent=Adapter(
        file=HERE / "run_npz_graph.py",
        title="ONNX Runtime on NPZ graphs",
        packages={"onnxruntime": "1.31.1"},
        keep=("onnxruntime/__init__.py", "onnxruntime/capi/*.py", "onnxruntime/capi/onnxruntime_pybind11_state.*.so"),
    ),
)
