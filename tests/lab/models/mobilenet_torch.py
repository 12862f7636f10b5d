"""MobileNetV2-224 (Sandler et al., 2018, table 2) in plain torch, random weights of a fixed seed, to a `.pt2`.

<torch toolchain's python> mobilenet_torch.py OUT.pt2
"""

from __future__ import annotations

import sys

import torch
from torch import nn

# expansion t, channels c, repeats n, stride s
TABLE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out), nn.ReLU6())


class Block(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = c_in * expand
        first = [conv(c_in, hidden, 1)] if expand != 1 else []
        last = nn.Sequential(nn.Conv2d(hidden, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
        self.body = nn.Sequential(*first, conv(hidden, hidden, 3, stride, hidden), last)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(3, 32, 3, 2)]
        c_in = 32
        for t, c, n, s in TABLE:
            for i in range(n):
                layers.append(Block(c_in, c, s if i == 0 else 1, t))
                c_in = c
        self.features = nn.Sequential(*layers, conv(c_in, 1280, 1))
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(image).mean((2, 3)))


def fit_statistics(model: MobileNetV2) -> None:
    """Give batch norms the statistics that fit the weights, as training would, and a shift into ReLU6's linear part.

    With other statistics a deep random network either forgets its input or multiplies any rounding; neither tells right from wrong.
    """
    for module in model.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.ReLU6):
            nn.init.constant_(module[1].bias, 1.5)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 224, 224))
    model.eval()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = MobileNetV2()
    fit_statistics(model)
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 224, 224),)), sys.argv[1])
