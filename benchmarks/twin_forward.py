"""The twin's forward against eager PyTorch of the same architecture: two digit CNNs, a ResNet-like one, a transformer, an LSTM.

    python benchmarks/twin_forward.py [PAIRS]

A pair is one forward of each with gradients recorded, in turn, in one process of the torch toolchain on one thread, at batch 64 and 1. Batch norms
are folded in both.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import interleaved, of_pairs

ROOT = Path(__file__).resolve().parent.parent
BAR = 1.5
WARM_UP = 5


def main(pairs: int) -> None:
    from edgekit.toolchains.catalog import toolchain

    argv = [str(toolchain("torch").python), "-m", "benchmarks.twin_forward", "--inside", str(pairs)]
    for line in subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.splitlines():
        name, mine, other = json.loads(line)
        print(of_pairs(name, mine, other, BAR), flush=True)


def inside(pairs: int) -> None:
    """In the torch toolchain: what takes how long, one line of JSON for each comparison."""
    import io
    import time

    import onnx
    import torch
    from torch import nn

    from examples.mnist.train import cnn, depthwise
    from tests.lab.backend_suite import be_a_worker
    from tests.lab.twin_suite import hub_of

    file = importlib.util.spec_from_file_location("compression_train", ROOT / "examples" / "compression" / "train.py")
    assert file is not None
    assert file.loader is not None
    train = importlib.util.module_from_spec(file)
    file.loader.exec_module(train)

    be_a_worker()
    from edgekit.toolchains.torch.twin import Twin

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.body(x))

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(x)[0][:, -1])

    torch.set_num_threads(1)
    torch.manual_seed(0)
    resnet = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), *(Block(16) for _ in range(6)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    image = (1, 28, 28)
    networks = {
        "cnn": (cnn(), image),
        "depthwise": (depthwise(), image),
        "resnet": (resnet, image),
        "transformer": (train.Transformer(), (8, 8)),
        "lstm": (Recurrent(), (24, 16)),
    }
    for name, (network, shape) in networks.items():
        eager = folded(network.eval())
        held = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, of an LSTM with a fixed batch
            torch.onnx.export(eager, (torch.zeros(1, *shape),), held, dynamo=False, opset_version=18, input_names=["given"], output_names=["scores"])
        twin = Twin(hub_of(onnx.load_from_string(held.getvalue())))
        for batch in (64, 1):
            x = torch.randn(batch, *shape)

            def timed(run: nn.Module, x: torch.Tensor = x) -> float:
                started = time.perf_counter()
                run(x)
                return time.perf_counter() - started

            assert torch.allclose(twin(x)[0], eager(x), atol=1e-4)
            for _ in range(WARM_UP):
                timed(twin), timed(eager)
            print(json.dumps([f"twin of {name}, batch {batch}", *interleaved(partial(timed, twin), partial(timed, eager), pairs)]), flush=True)


def folded(network: object) -> object:
    """Convolution and batch norm as one convolution, as the hub has them."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    if isinstance(network, nn.Sequential):
        if len(network) > 1 and isinstance(network[0], nn.Conv2d) and isinstance(network[1], nn.BatchNorm2d):
            return nn.Sequential(fuse_conv_bn_eval(network[0], network[1]), *network[2:])
        return nn.Sequential(*(folded(part) for part in network))
    return network


if __name__ == "__main__":
    if "--inside" in sys.argv:
        inside(int(sys.argv[-1]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
