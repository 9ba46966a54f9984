"""The training loop that every recipe shares: resumable, averaged, with its loss curve drawn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

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

from forecastcache.errors import ForecastCacheError
from forecastcache.whole import whole

CHECKPOINT_EVERY = 200
CAN_COMPILE = shutil.which("g++") is not None


class CheckpointError(ForecastCacheError, ValueError):
    """A checkpoint is of another training than the one asked for."""


@dataclass(frozen=True)
class Stage:
    """One model to train.

    Attributes:
        name: file name of its checkpoint and its curve.
        model: trained in place; ends as the exponential average of its weights.
        loss: the loss of one batch, drawn with the generator given.
        steps: optimiser steps.
        rate: peak learning rate (AdamW, one cosine cycle).
        decay: of the weights' exponential average.
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
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / f"{stage.name}.pt"
    model = stage.model.train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(stage.decay))
    optimiser = torch.optim.AdamW(
        model.parameters(), stage.rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, stage.rate, total_steps=stage.steps, pct_start=0.05, cycle_momentum=False
    )
    parts: dict[str, Any] = {
        "model": model,
        "average": average,
        "optimiser": optimiser,
        "rate": rate,
    }
    losses: list[float] = []
    started = perf_counter()
    for module in stage.compiled if CAN_COMPILE else ():
        module.compile()
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if (saved["seed"], saved["steps"]) != (seed, stage.steps):
            raise CheckpointError(
                f"{checkpoint} is of seed {saved['seed']} and {saved['steps']} steps, not of "
                f"{seed} and {stage.steps}: give another work folder, or remove it"
            )
        losses = saved["losses"]
        started -= saved["seconds"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    with _progress() as progress:
        bar = progress.add_task(stage.name, total=stage.steps, completed=len(losses), loss="")
        for step in range(len(losses), stage.steps):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            loss = stage.loss(generator)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
            average.update_parameters(model)
            losses.append(loss.item())
            recent = sum(losses[-50:]) / len(losses[-50:])
            progress.update(bar, advance=1, loss=f"loss {recent:.4f}")
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == stage.steps:
                state = {name: part.state_dict() for name, part in parts.items()}
                state |= {"losses": losses, "seconds": perf_counter() - started}
                with whole(checkpoint) as partial:
                    torch.save(state | {"seed": seed, "steps": stage.steps}, partial)
    seconds = perf_counter() - started
    for module in stage.compiled:
        module._compiled_call_impl = None

    model.load_state_dict(average.module.state_dict())
    model.eval().requires_grad_(False)
    _draw_curve(losses, stage.name, work / f"{stage.name}-loss.png")
    return seconds


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
