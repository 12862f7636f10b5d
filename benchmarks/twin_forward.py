"""The twin's forward against eager PyTorch of the same architecture: the networks of examples/mnist, a ResNet-like one, at batch 64 and 1.

    python benchmarks/twin_forward.py [PAIRS]

A pair is one forward of each with gradients recorded, in turn, in one process of the torch toolchain on one thread. Batch norms are folded in both.
"""

from __future__ import annotations

import json
import subprocess
import sys
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
    for line in subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines():
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

    be_a_worker()
    from edgekit.toolchains.torch.twin import Twin

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.body(x))

    torch.set_num_threads(1)
    torch.manual_seed(0)
    resnet = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), *(Block(16) for _ in range(6)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    for name, network in (("cnn", cnn()), ("depthwise", depthwise()), ("resnet", resnet)):
        eager = folded(network.eval())
        held = io.BytesIO()
        torch.onnx.export(eager, (torch.zeros(1, 1, 28, 28),), held, dynamo=False, opset_version=18, input_names=["image"], output_names=["scores"])
        twin = Twin(hub_of(onnx.load_from_string(held.getvalue())))
        for batch in (64, 1):
            x = torch.randn(batch, 1, 28, 28)

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
