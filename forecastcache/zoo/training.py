"""The training loop that every recipe shares: resumable, averaged, with its loss curve drawn."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from forecastcache._util.atomic_write import atomic_write
from forecastcache.errors import CheckpointError

CHECKPOINT_EVERY = 200
CAN_COMPILE = shutil.which("g++") is not None
PARTS = ("model", "average", "optimiser", "rate")  # of a training's state, saved by these names


@dataclass(frozen=True)
class Stage:
    """One model to train.

    Attributes:
        name: file name of its checkpoint and its curve.
        model: model that is trained in place; it ends frozen, as the exponential average of its
            weights.
        loss: loss of one batch, drawn with the generator given.
        steps: number of optimiser steps.
        rate: peak learning rate (AdamW, one cosine cycle).
        decay: decay of the weights' exponential average.
        compiled: modules to compile for the time of the training, where there is a C++ compiler:
            the same arithmetic, a quarter faster.
    """

    name: str
    model: nn.Module
    loss: Callable[[torch.Generator], Tensor]
    steps: int
    rate: float
    decay: float = 0.999
    compiled: tuple[nn.Module, ...] = ()


def fit(stage: Stage, work: Path, seed: int = 0) -> float:
    """Train `stage.model`; go on where an earlier call with the same `work` folder was stopped.

    Returns:
        Seconds of training, those of earlier calls included.

    Raises:
        CheckpointError: `work` holds a checkpoint of another seed or number of steps.
    """
    checkpoint = work / f"{stage.name}.pt"
    state = _State(stage, seed)
    if checkpoint.exists():
        state.load(checkpoint)
    losses = state.losses
    with _compiled(stage.compiled), _progress() as progress:
        bar = progress.add_task(stage.name, total=stage.steps, completed=len(losses), loss="")
        while len(losses) < stage.steps:
            state.step()
            recent = losses[-50:]
            progress.update(bar, advance=1, loss=f"loss {sum(recent) / len(recent):.4f}")
            if len(losses) % CHECKPOINT_EVERY == 0 or len(losses) == stage.steps:
                state.save(checkpoint)
    seconds = state.seconds
    stage.model.load_state_dict(state.average.module.state_dict())
    stage.model.eval().requires_grad_(False)
    _draw_curve(losses, stage.name, work / f"{stage.name}-loss.png")
    return seconds


class _State:
    """A training under way: all that is saved of it and goes on from there."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.started = perf_counter()
        self.stage, self.seed = stage, seed
        self.losses: list[float] = []
        self.model = stage.model.train().requires_grad_(True)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(stage.decay))
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), stage.rate, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.rate = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            stage.rate,
            total_steps=stage.steps,
            pct_start=0.05,
            cycle_momentum=False,
        )

    @property
    def seconds(self) -> float:
        return perf_counter() - self.started

    def step(self) -> None:
        """Take one optimiser step, on a batch that the seed and the step's number determine."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + len(self.losses))
        loss = self.stage.loss(generator)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.rate.step()
        self.average.update_parameters(self.model)
        self.losses.append(loss.item())

    def save(self, checkpoint: Path) -> None:
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        state |= {"losses": self.losses, "seconds": self.seconds}
        with atomic_write(checkpoint) as partial:
            torch.save(state | {"seed": self.seed, "steps": self.stage.steps}, partial)

    def load(self, checkpoint: Path) -> None:
        saved = torch.load(checkpoint, weights_only=True)
        seed, steps = self.seed, self.stage.steps
        if (saved["seed"], saved["steps"]) != (seed, steps):
            raise CheckpointError(
                f"{checkpoint} is of seed {saved['seed']} and {saved['steps']} steps, not of "
                f"{seed} and {steps}: give another work folder, or remove it"
            )
        self.losses = saved["losses"]
        self.started -= saved["seconds"]
        for name in PARTS:
            getattr(self, name).load_state_dict(saved[name])


@contextmanager
def _compiled(modules: tuple[nn.Module, ...]) -> Iterator[None]:
    for module in modules if CAN_COMPILE else ():
        module.compile()
    try:
        yield
    finally:
        for module in modules:
            module._compiled_call_impl = None


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


def _draw_curve(losses: list[float], name: str, path: Path) -> None:
    from matplotlib.figure import Figure

    window = max(1, len(losses) // 100)
    smooth = torch.tensor(losses)[: len(losses) // window * window].view(-1, window).mean(1)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot(
        title=name, xlabel="step", ylabel=f"loss (mean of {window})", yscale="log"
    )
    axes.plot(torch.arange(1, len(smooth) + 1) * window, smooth)
    figure.savefig(path, dpi=80)
