"""A student, a teacher and samples in; the student tuned to the best that validation saw, and the history, out."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.toolchains.torch.tuning import checkpoint
from edgekit.toolchains.torch.tuning.losses import Loss
from edgekit.toolchains.torch.tuning.samples import Samples
from edgekit.toolchains.torch.tuning.student import Student
from edgekit.toolchains.torch.tuning.teacher import Teacher

Tensor = Any
Tensors = dict[str, Any]

WARM_UP = 0.05
"""Share of the steps in which the learning rate grows to its full size."""
LAST = 0.01
"""Of the learning rate, at the end of the cosine."""
SETTLING = 0.5
"""Share of the steps before validation is awaited to get better: earlier the learning rate is large, and weights may still become zero."""
KEEP_EVERY_S = 20.0
TRIED = 6
"""Steps whose time is taken where a run is given seconds; the first warms up and does not count."""
ADVANCES = 50
"""How often in an epoch masks are made anew, at most."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run goes; all of it is part of its key."""

    epochs: int
    lr: float
    step_lr: float
    """Of step sizes, palettes and scales."""
    batch: int = 64
    seed: int = 0
    patience: int | None = None
    """Epochs of the second half without a better validation after which it stops; None: all are run."""
    seconds: float | None = None
    """About how long it may take: no more epochs are run than that holds."""


@dataclass(slots=True)
class Run:
    """Where a run is."""

    key: str
    epochs: int
    epoch: int = 0
    step: int = 0
    total: float = 0.0
    """Sum of the losses of this epoch's steps."""
    chunk: int = 0
    """Samples that are computed at once."""
    best: float = math.inf
    best_epoch: int = -1
    waited: int = 0
    """Epochs since then, of those in which the learning rate is small."""
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: str = ""


def cosine(done: float) -> float:
    """Share of the learning rate after a share of the steps (Loshchilov & Hutter 2017, "SGDR", section 3, one cycle)."""
    if done < WARM_UP:
        return done / WARM_UP
    return LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


class Loop:
    """One tuning run.

    Args:
        kept: a folder that survives a kill, or None.
        say: told of progress: a sentence and the share that is done.
        chunk: samples that memory holds at once.
    """

    def __init__(
        self, student: Student, teacher: Teacher, loss: Loss, training: Samples, validation: Samples, settings: Settings, key: str, kept: Path | None,
        say: Callable[[str, float], None], chunk: int = 250,
    ) -> None:  # fmt: skip
        self.student, self.teacher, self.loss, self.settings, self.kept, self.say = student, teacher, loss, settings, kept, say
        self.training, self.validation, self.chunk = training, validation, chunk
        self.targets = [teacher(batch, loss.theirs) for batch in validation.batches(chunk)]
        self.known = teacher.all(training, loss.theirs, chunk)
        steps = student.steps()
        weights = [value for name, value in student.parameters().items() if name not in steps]
        self.optimizer = torch.optim.AdamW([{"params": weights, "lr": settings.lr}, {"params": list(steps.values()), "lr": settings.step_lr}], weight_decay=0.0)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.run_ = Run(key, settings.epochs, chunk=min(chunk, settings.batch))
        if chunk < settings.batch:
            self.run_.notes.append(in_parts(chunk, settings.batch))
        self.best: Tensors = student.snapshot()
        self.saved_at = time.monotonic()

    @property
    def steps_an_epoch(self) -> int:
        return -(-len(self.training) // self.settings.batch)

    @property
    def done(self) -> float:
        return (self.run_.epoch * self.steps_an_epoch + self.run_.step) / (self.run_.epochs * self.steps_an_epoch)

    def run(self) -> Run:
        """Tune, from where an earlier run with the same key was when it ended; the student then has the best weights."""
        run = self.run_
        if not self.resume():
            if self.settings.seconds:
                run.epochs = min(run.epochs, self.epochs_within(self.settings.seconds))
            run.best, _ = self.validated()
            if not math.isfinite(run.best):
                run.best = math.inf
        run = self.run_
        while run.epoch < self.run_.epochs and not run.stopped:
            self.epoch()
        if not run.stopped:
            cut = run.epochs < self.settings.epochs
            run.stopped = f"all {run.epochs} epochs that {self.settings.seconds:g} s have room for were run" if cut else "all epochs were run"
        self.student.restore(self.best)
        return run

    def epochs_within(self, seconds: float) -> int:
        """So many epochs as take about that long, by the time of a few steps that change nothing and of a validation."""
        before = self.student.snapshot()
        rows = torch.arange(min(self.settings.batch, len(self.training)))
        self.student.twin.train()
        taken = []
        for _ in range(TRIED):
            began = time.monotonic()
            self.part(rows, 1.0)
            taken.append(time.monotonic() - began)
        self.student.restore(before)
        began = time.monotonic()
        self.validated()
        return max(1, round(seconds / (statistics.median(taken[1:]) * self.steps_an_epoch + time.monotonic() - began)))

    def epoch(self) -> None:
        run = self.run_
        order = torch.from_numpy(np.random.default_rng([self.settings.seed, run.epoch]).permutation(len(self.training)))
        batches = order.split(self.settings.batch)
        self.student.twin.train()  # statistics of batch normalisation are estimated anew
        while run.step < len(batches):
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * cosine(self.done)
            if run.step % max(1, self.steps_an_epoch // ADVANCES) == 0:
                self.student.advance(self.done)
            loss = self.step(batches[run.step])
            if not math.isfinite(loss):
                kept = "the best weights before it are kept" if run.best_epoch >= 0 else "the weights are those from before it was tuned"
                cure = f"give a smaller learning rate than {self.settings.lr:g}, as lr in the table [tune] of a recipe file"
                run.stopped = f"the loss was no number in epoch {run.epoch + 1}: {kept}; {cure}"
                run.notes.append(run.stopped)
                return
            run.total += loss
            run.step += 1
            if time.monotonic() - self.saved_at > KEEP_EVERY_S:
                self.keep()
        self.student.advance((run.epoch + 1) / self.run_.epochs)
        self.judge(run.total / len(batches))
        run.epoch, run.step, run.total = run.epoch + 1, 0, 0.0
        patience = self.settings.patience
        if patience is not None and run.waited >= patience and run.epoch < run.epochs:
            run.stopped = f"validation was no better for {patience} epochs"
        self.keep()

    def judge(self, loss: float) -> None:
        """Validate, tell, and keep the weights if they are the best so far."""
        run = self.run_
        found, metric = self.validated()
        run.history.append({"epoch": run.epoch + 1, "loss": loss, "validation": found, "metric": metric})
        if found < run.best and not self.student.unready():
            run.best, run.best_epoch, run.waited, self.best = found, run.epoch, 0, self.student.snapshot()
        elif self.done > SETTLING:
            run.waited += 1
        told = "" if metric is None else f", {metric:.1%} right in validation"
        self.say(f"tuning: epoch {run.epoch + 1} of {self.run_.epochs}, loss {loss:.4f}, in validation {found:.4f}{told}", (run.epoch + 1) / self.run_.epochs)

    def step(self, rows: Tensor) -> float:
        """One step of the optimiser; its batch is computed in parts where memory does not hold it whole."""
        run = self.run_
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                total = sum(self.part(part, len(part) / len(rows)) for part in rows.split(run.chunk))
            except (MemoryError, torch.OutOfMemoryError, RuntimeError) as exc:
                if not out_of_memory(exc) or run.chunk == 1:
                    raise
                run.chunk = max(1, run.chunk // 2)
                run.notes.append(in_parts(run.chunk, self.settings.batch))
                continue
            if math.isfinite(total):
                self.optimizer.step()
            return total

    def part(self, rows: Tensor, share: float) -> float:
        batch = self.training.rows(rows)
        wanted = self.teacher(batch, self.loss.theirs) if self.known is None else {name: one[rows] for name, one in self.known.items()}
        loss = self.loss(self.student(batch.inputs, self.loss.mine), wanted, batch.labels) * share
        loss.backward()
        return float(loss.detach())

    def validated(self) -> tuple[float, float | None]:
        """Mean loss over the validation samples, and the share of them that is classified right (without labels: as the teacher does)."""
        total, right = 0.0, 0
        self.student.twin.eval()
        with torch.no_grad():
            for batch, wanted in zip(self.validation.batches(self.chunk), self.targets, strict=True):
                found = self.student(batch.inputs, self.loss.mine)
                total += float(self.loss(found, wanted, batch.labels)) * len(batch)
                right += self.loss.right(found, wanted, batch.labels) or 0
        return total / len(self.validation), None if self.loss.classed is None else right / len(self.validation)

    def keep(self) -> None:
        self.saved_at = time.monotonic()
        if self.kept is None:
            return
        states = {name: self.optimizer.state.get(value, {}) for name, value in self.student.parameters().items()}
        moments = {f"{name}/{part}": value for name, state in states.items() for part, value in state.items()}
        checkpoint.save(self.kept, asdict(self.run_), {"now": self.student.snapshot(), "best": self.best, "moments": moments})

    def resume(self) -> bool:
        found = checkpoint.load(self.kept, self.run_.key)
        if found is None:
            return False
        said, groups = found
        self.run_ = Run(**said)
        self.best = groups["best"]
        self.student.restore(groups["now"])
        for name, value in self.student.parameters().items():
            parts = {part: groups["moments"][f"{name}/{part}"] for part in ("step", "exp_avg", "exp_avg_sq") if f"{name}/{part}" in groups.get("moments", {})}
            if parts:
                self.optimizer.state[value] = parts
        self.say(f"tuning: going on after {self.run_.epoch} epochs and {self.run_.step} steps of an earlier run", self.done)
        return True


def in_parts(chunk: int, batch: int) -> str:
    return f"memory holds no more than {chunk} samples at once: each step of {batch} is computed in parts"


def out_of_memory(exc: BaseException) -> bool:
    """Whether an error is torch's or Python's for memory that is not there; torch raises a RuntimeError of its CPU allocator."""
    words = str(exc).lower()
    return isinstance(exc, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in words or "can't allocate memory" in words
