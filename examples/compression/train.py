"""Data in, a small trained network out as `.pt2`, in seconds on one thread with a fixed seed.

    <torch toolchain's python> train.py --network NAME --data DIR --out FILE.pt2 [--seed 0]

| network     | data   | parameters | kind |
|---|---|---|---|
| cnn         | mnist  | 422 k | two convolutions and two dense layers, like LeNet |
| depthwise   | mnist  | 19 k  | depthwise-separable, like MobileNetV1 |
| series      | power  | 9.6 k | three 1-D convolutions |
| transformer | digits | 28 k  | two encoder blocks of four heads over eight rows |
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "mnist"))

from train import EPOCHS, Classifier, cnn, depthwise, fit  # type: ignore[import-not-found]


class Series(nn.Module):
    """[batch, 1, 24] → [batch, 2] logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in ((1, 32), (32, 48), (48, 32)):
            layers += [nn.Conv1d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm1d(c_out), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 2))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return self.body(series)


class Block(nn.Module):
    """A pre-norm encoder block (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        normed = self.before(x)
        q, k, v = (layer(normed).reshape(batch, steps, self.heads, width // self.heads).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(width // self.heads), -1) @ v
        x = x + self.out(attended.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(nn.functional.gelu(self.up(self.after(x))))


class Transformer(nn.Module):
    """[batch, 8, 8] → [batch, 10] logits."""

    def __init__(self, width: int = 40, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(1, 8, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.embed(rows) + self.place)).mean(1))


NETWORKS = {
    "cnn": (lambda: Classifier(cnn()), EPOCHS["cnn"]),
    "depthwise": (lambda: Classifier(depthwise()), EPOCHS["depthwise"]),
    "series": (Series, 30),
    "transformer": (Transformer, 40),
}
"""Name → how it is made, and for how many epochs it is trained."""


def tensors(file: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs and labels of a data file of one input."""
    with np.load(file) as data:
        (name,) = [name for name in data.files if name != "labels"]
        return torch.from_numpy(data[name]), torch.from_numpy(data["labels"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    make, epochs = NETWORKS[args.network]
    model = make()
    fit(model, *tensors(args.data / "train.npz"), epochs)
    x, y = tensors(args.data / "test.npz")
    with torch.no_grad():
        right = (model(x).argmax(1) == y).float().mean().item()
    print(f"{args.network}: {sum(p.numel() for p in model.parameters())} parameters, accuracy {right:.3f} on {len(x)} kept out")
    torch.export.save(torch.export.export(model, (x[:1],)), args.out)


if __name__ == "__main__":
    main()
