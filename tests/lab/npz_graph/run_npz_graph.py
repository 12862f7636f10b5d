"""An .npzgraph on a device in, its outputs out: the graph in ONNX Runtime."""

from __future__ import annotations

from cpu import ONNX  # type: ignore[import-not-found]  # of the agent's archive


class RUNTIME(ONNX):  # type: ignore[misc]
    """As for .onnx, but that the graph is taken out of its archive first."""

    name = "ONNX Runtime on NPZ graphs"

    def load(self, path: str, threads: int) -> None:
        import numpy as np

        with np.load(path, allow_pickle=False) as held:
            graph = held["graph"].tobytes()
        super().load(graph, threads)
