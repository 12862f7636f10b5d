"""Small PyTorch programs and files that a reader has to get right, or to refuse.

<torch toolchain's python> odd_torch.py DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn


class Two(nn.Module):
    """Named arguments, one of them only by keyword; a dict of results, one of which is an input."""

    def forward(self, a: torch.Tensor, unused: torch.Tensor, *, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"product": a * scale, "total": (a + 1).sum(), "same": a}


class Echo(nn.Module):
    def forward(self, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return a, a + 1


if __name__ == "__main__":
    out = Path(sys.argv[1])
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(256, 5))
    image = torch.ones(2, 3, 8, 8)
    torch.export.save(torch.export.export(network.train(), (image,)), out / "train.pt2")
    batch = {"input": {0: torch.export.Dim("batch")}}
    torch.export.save(torch.export.export(network.eval(), (image,), dynamic_shapes=batch), out / "batch.pt2")
    tensors = (torch.ones(2, 3), torch.ones(1, 2))
    torch.export.save(torch.export.export(Two(), tensors, {"scale": torch.ones(3)}), out / "two.pt2")
    torch.export.save(torch.export.export(Echo(), tensors[:1]), out / "echo.pt2")
    recurrent = nn.LSTM(3, 4, batch_first=True)
    torch.export.save(torch.export.export(recurrent.eval(), (torch.ones(1, 6, 3),)), out / "lstm.pt2")
    torch.save(network, out / "pickled.pt")
    torch.jit.trace(network, image).save(out / "script.pt2")
