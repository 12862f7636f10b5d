"""Train a small digits network on MNIST 5k in seconds and save it as `.pt2`, with its data as `.npz`; one thread, fixed seed.

    <torch toolchain's python> train.py --network depthwise|cnn --csv mnist_5k.csv.gz --out DIR [--seed 0]

Writes `DIR/<network>.pt2`, and from the 1,000 samples kept out of training `DIR/digits.npz` (arrays `image`, `labels`).
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn

EPOCHS = {"depthwise": 12, "cnn": 6}
BATCH = 64


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out), nn.ReLU())


def depthwise() -> nn.Module:
    """About 19 k parameters: depthwise-separable, like MobileNetV1."""
    layers: list[nn.Module] = [conv(1, 16, 3, 2)]
    c_in = 16
    for c_out, stride in ((32, 1), (64, 2), (64, 1), (128, 2)):
        layers += [conv(c_in, c_in, 3, stride, groups=c_in), conv(c_in, c_out, 1)]
        c_in = c_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, 10))


def cnn() -> nn.Module:
    """About 420 k parameters: two convolutions and two dense layers, like LeNet."""
    features = [conv(1, 32, 3), nn.MaxPool2d(2), conv(32, 64, 3), nn.MaxPool2d(2)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


class Classifier(nn.Module):
    """Names the input `image`: [batch, 1, 28, 28] float32 in 0..1 → [batch, 10] logits."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.body(image)


def load(csv: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [5000, 1, 28, 28] float32 in 0..1 and labels [5000] int64."""
    with gzip.open(csv) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return table[:, :-1].reshape(-1, 1, 28, 28) / 255, table[:, -1].astype(np.int64)


def fit(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    """AdamW under the one-cycle schedule (Smith 2018), cross-entropy with smoothed labels."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, epochs * -(-len(x) // BATCH))
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}/{epochs}: loss {total / len(x):.3f}", flush=True)
    model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=sorted(EPOCHS), required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    images, labels = load(args.csv)
    order = np.random.default_rng(0).permutation(len(images))  # the same 1,000 are kept out whatever the seed
    train, kept = order[:4000], order[4000:]
    x, y = torch.from_numpy(images[train]), torch.from_numpy(labels[train])

    model = Classifier({"depthwise": depthwise, "cnn": cnn}[args.network]())
    fit(model, x, y, EPOCHS[args.network])
    with torch.no_grad():
        found = model(torch.from_numpy(images[kept])).argmax(1).numpy()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{args.network}: {parameters} parameters, accuracy {np.mean(found == labels[kept]):.3f} on 1,000 kept out")

    args.out.mkdir(parents=True, exist_ok=True)
    torch.export.save(torch.export.export(model, (torch.zeros(1, 1, 28, 28),)), args.out / f"{args.network}.pt2")
    np.savez(args.out / "digits.npz", image=images[kept], labels=labels[kept])


if __name__ == "__main__":
    main()
