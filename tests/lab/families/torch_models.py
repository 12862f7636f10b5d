"""Each family as a torch module, exported.

<torch toolchain's python> torch_models.py DIR FAMILY… → DIR/FAMILY.pt2
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Named(nn.Module):
    """A function of tensors and of layers, with the function's own argument names."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)


class Image(Named):
    def forward(self, image: Tensor) -> Any:
        return self.net(image)


def net(*layers: nn.Module) -> Image:
    return Image({"net": nn.Sequential(*layers)})


class Depthwise(Named):
    def forward(self, image: Tensor) -> Tensor:
        x = F.relu6(self.norm(self.first(image)))
        x = F.relu(self.deep(x))
        return F.softmax(self.last((x + self.wide(x)).mean((2, 3))), -1)


class Conv1d(Named):
    def forward(self, series: Tensor) -> Tensor:
        return self.last(F.max_pool1d(F.relu(self.first(series.transpose(1, 2))), 2).mean(2))


class Recurrent(Named):
    def forward(self, series: Tensor) -> dict[str, Tensor]:
        y, state = self.rnn(series)
        last = state[0] if isinstance(state, tuple) else state
        return {"steps": y, "scores": self.last(last.transpose(0, 1).flatten(1))}


class Step(Named):
    def forward(self, step: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h_next, c_next) = self.rnn(step, (h, c))
        return self.last(y[:, 0]), h_next, c_next


class Attention(Named):
    def forward(self, series: Tensor) -> Tensor:
        return self.attention(series, series, series, need_weights=False)[0]


class Transformer(Named):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.encoder(self.table(tokens) + self.places))


class Embedding(Named):
    def forward(self, tokens: Tensor) -> Tensor:
        return F.softmax(self.last(self.table(tokens).mean(1)), -1)


class Resize(Named):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.first(image)
        return {"near": F.interpolate(x, scale_factor=2, mode="nearest"), "fine": F.interpolate(x, size=(24, 40), mode="bilinear")}


class GatherScatter(Named):
    def forward(self, series: Tensor) -> dict[str, Tensor]:
        elements = torch.gather(series, 2, (torch.arange(12) % 6).reshape(1, 12, 1))
        placed = series.index_put((torch.tensor([0, 0]), torch.tensor([2, 5])), torch.ones(2, 6))
        return {"picked": series[:, [3, 1, 1, 7]], "elements": elements, "placed": placed}


class NormSoftmax(Named):
    def forward(self, series: Tensor) -> dict[str, Tensor]:
        return {"shares": F.softmax(self.norm(series), 1), "logs": F.log_softmax(series, -1)}


class Several(Named):
    def forward(self, image: Tensor, keep: Tensor, *, scale: Tensor) -> dict[str, Tensor]:
        gated = torch.where(keep, self.first(image).mean((2, 3)), 0.0)
        return {"scaled": gated * scale, "best": gated.argmax(1)}


class Integers(Named):
    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        total = a * 3 + b
        return {"total": total, "even": total % 2 == 0}


class If(Named):
    def forward(self, series: Tensor) -> Tensor:
        return torch.cond(series.sum() > 0, lambda x: x.tanh(), lambda x: -x, (series,))


class Loop(Named):
    def forward(self, series: Tensor, counts: Tensor) -> Tensor:
        step = lambda i, v, n: (i + 1, v.tanh(), n.clone())  # noqa: E731
        return torch.ops.higher_order.while_loop(lambda i, v, n: i < n, step, (counts.min() * 0, series, counts.max()), ())[1]


class UNet(Named):
    def forward(self, image: Tensor) -> Tensor:
        high = F.relu(self.high(image))
        low = F.relu(self.low(F.max_pool2d(high, 2)))
        return torch.sigmoid(self.last(torch.cat([high, F.interpolate(low, scale_factor=2, mode="bilinear")], 1)))


class SqueezeExcite(Named):
    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        gate = F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return F.softmax(self.last(F.hardswish(x * gate).mean((2, 3))), -1)


def recurrent(kind: type[nn.Module], both: bool, length: int = 12) -> tuple[nn.Module, tuple[Tensor, ...]]:
    rnn = kind(6, 8, batch_first=True, bidirectional=both)  # type: ignore[call-arg]
    return Recurrent({"rnn": rnn, "last": nn.Linear(16 if both else 8, 4)}), (torch.ones(1, length, 6),)


def transformer() -> nn.Module:
    made = Transformer(
        {
            "table": nn.Embedding(50, 16),
            "encoder": nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu"), 2, enable_nested_tensor=False),
            "last": nn.Linear(16, 50),
        }
    )
    made.places = nn.Parameter(torch.randn(1, 10, 16))
    return made


IMAGE, SERIES, TOKENS = torch.ones(1, 3, 16, 16), torch.ones(1, 12, 6), torch.ones(1, 10, dtype=torch.int64)

MODELS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "cnn": lambda: (
        net(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(12, 5), nn.Softmax(-1),
        ),
        (IMAGE,),
    ),
    "depthwise": lambda: (
        Depthwise(
            {
                "first": nn.Conv2d(3, 8, 3, 2, 1), "norm": nn.BatchNorm2d(8), "deep": nn.Conv2d(8, 8, 3, 1, 1, groups=8),
                "wide": nn.Conv2d(8, 8, 1), "last": nn.Linear(8, 5),
            }
        ),
        (IMAGE,),
    ),
    "transposed": lambda: (
        net(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 6, 2, 2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1), nn.Sigmoid(),
        ),
        (IMAGE,),
    ),
    "conv1d": lambda: (Conv1d({"first": nn.Conv1d(6, 8, 3, padding=1), "last": nn.Linear(8, 4)}), (SERIES,)),
    "lstm": lambda: recurrent(nn.LSTM, False),
    "bilstm": lambda: recurrent(nn.LSTM, True),
    "gru": lambda: recurrent(nn.GRU, False),
    "bigru": lambda: recurrent(nn.GRU, True),
    "rnn_state": lambda: (
        Step({"rnn": nn.LSTM(6, 8, batch_first=True), "last": nn.Linear(8, 4)}),
        (torch.ones(1, 1, 6), torch.ones(1, 1, 8), torch.ones(1, 1, 8)),
    ),
    "long": lambda: recurrent(nn.LSTM, False, 400),
    "attention": lambda: (Attention({"attention": nn.MultiheadAttention(16, 2, batch_first=True)}), (torch.ones(1, 12, 16),)),
    "transformer": lambda: (transformer(), (TOKENS,)),
    "embedding": lambda: (Embedding({"table": nn.Embedding(50, 8), "last": nn.Linear(8, 4)}), (TOKENS,)),
    "resize": lambda: (Resize({"first": nn.Conv2d(3, 4, 3, padding=1)}), (IMAGE,)),
    "gather_scatter": lambda: (GatherScatter({}), (SERIES,)),
    "norm_softmax": lambda: (NormSoftmax({"norm": nn.LayerNorm(6)}), (SERIES,)),
    "several": lambda: (Several({"first": nn.Conv2d(3, 6, 3, padding=1)}), (IMAGE, torch.ones(1, 6, dtype=torch.bool)), {"scale": torch.ones(6)}),
    "integers": lambda: (Integers({}), (torch.ones(1, 5, dtype=torch.int32), torch.ones(1, 5, dtype=torch.int32))),
    "if": lambda: (If({}), (SERIES,)),
    "loop": lambda: (Loop({}), (SERIES, torch.ones(2, dtype=torch.int32))),
    "unet": lambda: (
        UNet({"high": nn.Conv2d(3, 6, 3, padding=1), "low": nn.Conv2d(6, 8, 3, padding=1), "last": nn.Conv2d(14, 2, 3, padding=1)}), (IMAGE,)
    ),
    "squeeze_excite": lambda: (
        SqueezeExcite({"first": nn.Conv2d(3, 8, 3, padding=1), "down": nn.Conv2d(8, 2, 1), "up": nn.Conv2d(2, 8, 1), "last": nn.Linear(8, 5)}),
        (IMAGE,),
    ),
}  # fmt: skip


if __name__ == "__main__":
    for family in sys.argv[2:]:
        torch.manual_seed(0)
        module, *inputs = MODELS[family]()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
        torch.export.save(torch.export.export(module.eval(), *inputs), Path(sys.argv[1]) / f"{family}.pt2")
