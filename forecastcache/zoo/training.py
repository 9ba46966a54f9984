"""The training loop that every recipe shares: resumable, averaged, with its loss curve drawn."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from torch.optim.swa_utils import AveragedModel

from forecastcache._util.atomic_write import atomic_write
from forecastcache.errors import CheckpointError
from forecastcache.zoo.captured import Captured, moved

LOG = logging.getLogger("forecastcache")
CHECKPOINT_EVERY = 2000  # steps
RECENT = 200  # steps that a loss is averaged over
CHECKPOINT_SECONDS = 180.0
WARM_UP, COOL_DOWN = 200, 0.15  # steps, and share of the steps, of a stage that is open-ended
CAN_COMPILE = shutil.which("g++") is not None
# Of a training's state, saved by these names; and what is kept when it has ended.
PARTS, KEPT = ("model", "average", "optimiser", "rate"), ("average",)


def adamw(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimiser of most stages."""
    return torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.01)


@dataclass(frozen=True)
class Stage:
    """One model to train.

    Attributes:
        name: file name of its checkpoint and its curve.
        model: model that is trained in place; it ends frozen, as the exponential average of its
            weights.
        loss: loss of one batch, as `draw` gave it, on the model's device.
        steps: number of optimiser steps.
        rate: peak learning rate.
        decay: decay of the weights' exponential average.
        compiled: modules to compile for the time of the training, where there is a C++ compiler:
            the same arithmetic, a quarter faster.
        optimiser: function of a model and a rate, to their optimiser.
        open_ended: whether training may end at another step than was first said. The rate then
            warms up, stays, and falls to zero over the last steps; else it is one cosine cycle.
        draw: draws a batch with the generator given: nested tuples and dicts of tensors, of the
            same shapes each time. A stage without it is trained on the CPU, and its loss is given
            the generator.
    """

    name: str
    model: nn.Module
    loss: Callable[[Any], Tensor]
    steps: int
    rate: float
    decay: float = 0.999
    compiled: tuple[nn.Module, ...] = ()
    optimiser: Callable[[nn.Module, float], torch.optim.Optimizer] = adamw
    open_ended: bool = False
    draw: Callable[[torch.Generator], Any] | None = None


def fit(
    stage: Stage,
    work: Path,
    seed: int = 0,
    device: str = "cpu",
    more: bool = True,
) -> Counter[str]:
    """Train `stage.model`; go on where an earlier call with the same `work` folder was stopped.

    Args:
        stage: what to train.
        work: folder of its checkpoint and its curve.
        seed: seed of its batches.
        device: where to train it, if it draws its batches apart.
        more: whether to train on, or only to take what the checkpoint holds.

    Returns:
        Seconds of training on each machine, those of earlier calls included.

    Raises:
        CheckpointError: `work` holds a checkpoint of another seed or number of steps, or none
            where nothing may be trained.
    """
    checkpoint = work / f"{stage.name}.pt"
    state = _State(stage, seed, torch.device(device if stage.draw else "cpu"))
    if checkpoint.exists():
        state.load(checkpoint)
    elif not more:
        raise CheckpointError(f"{checkpoint} is not there: train the stages before it first")
    if more:
        _train(state, checkpoint)
        _draw_curve(state.losses, stage.name, work / f"{stage.name}-loss.png")
    seconds = state.seconds()
    stage.model.load_state_dict(state.average.module.state_dict())
    stage.model.eval().requires_grad_(False).to("cpu")
    return seconds


def ending(stage: Stage, work: Path, steps: int | None) -> Stage:
    """A stage that ends where it is asked to, if its end is open, or where it last was."""
    if not stage.open_ended:
        return stage
    return replace(stage, steps=steps or asked_before(stage, work))


def asked_before(stage: Stage, work: Path) -> int:
    """The step at which an open-ended stage was to end when it was last trained."""
    checkpoint = work / f"{stage.name}.pt"
    if not checkpoint.exists():
        return stage.steps
    return int(torch.load(checkpoint, weights_only=True, map_location="cpu")["steps"])


def _train(state: _State, checkpoint: Path) -> None:
    stage, losses, saved = state.stage, state.losses, perf_counter()
    with _compiled(stage.compiled), _progress() as progress:
        bar = progress.add_task(stage.name, total=stage.steps, completed=len(losses), loss="")
        while len(losses) < stage.steps:
            state.step()
            recent = losses[-50:]
            progress.update(bar, advance=1, loss=f"loss {sum(recent) / len(recent):.4f}")
            due = len(losses) % CHECKPOINT_EVERY == 0
            late = perf_counter() - saved > CHECKPOINT_SECONDS
            if due or late or len(losses) == stage.steps:
                state.save(checkpoint)
                saved = perf_counter()
                LOG.info(state.standing())


class _State:
    """A training under way: all that is saved of it and goes on from there."""

    def __init__(self, stage: Stage, seed: int, device: torch.device) -> None:
        self.begun, self.before = perf_counter(), Counter[str]()
        self.stage, self.seed, self.device = stage, seed, device
        self.losses: list[float] = []
        self.model = stage.model.to(device).train().requires_grad_(True)
        self.average = AveragedModel(self.model, multi_avg_fn=_average(stage))
        self.optimiser = stage.optimiser(self.model, stage.rate)
        self.rate = _rate(stage, self.optimiser)
        self._next: Any = None
        on_gpu = device.type == "cuda"
        self._advance = Captured(self._gradients) if on_gpu else self._gradients

    def seconds(self) -> Counter[str]:
        """What it took so far on each machine."""
        return self.before + Counter({_machine(self.device): perf_counter() - self.begun})

    def step(self) -> None:
        """Take one optimiser step, on a batch that the seed and the step's number determine."""
        loss = self._advance(self._batch(len(self.losses)))
        self.optimiser.step()
        self.rate.step()
        self.average.update_parameters(self.model)
        if self.device.type == "cuda":  # which works on meanwhile
            self._next = self._batch(len(self.losses) + 1)
        self.losses.append(loss.item())

    def _batch(self, step: int) -> Any:
        if self._next is not None:
            batch, self._next = self._next, None
            return batch
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return moved(self.stage.draw(generator), self.device) if self.stage.draw else generator

    def _gradients(self, batch: Any) -> Tensor:
        self.optimiser.zero_grad()
        loss = self.stage.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        return loss.detach()

    def standing(self) -> str:
        """How far it is, and how long it has to go at the speed so far."""
        done, recent = len(self.losses), self.losses[-RECENT:]
        hours = self.seconds().total() / 3600
        to_go = hours / done * (self.stage.steps - done)
        return (
            f"{self.stage.name}: step {done} of {self.stage.steps}, loss "
            f"{sum(recent) / len(recent):.4f}, {hours:.2f} hours taken, {to_go:.1f} to go"
        )

    def save(self, checkpoint: Path) -> None:
        ended = len(self.losses) == self.stage.steps
        state = {name: getattr(self, name).state_dict() for name in (KEPT if ended else PARTS)}
        state |= {"losses": self.losses, "seconds": dict(self.seconds())}
        with atomic_write(checkpoint) as partial:
            torch.save(state | {"seed": self.seed, "steps": self.stage.steps}, partial)

    def load(self, checkpoint: Path) -> None:
        saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
        seed, steps = self.seed, self.stage.steps
        same = self.stage.open_ended or saved["steps"] == steps
        if saved["seed"] != seed or not same:
            raise CheckpointError(
                f"{checkpoint} is of seed {saved['seed']} and {saved['steps']} steps, not of "
                f"{seed} and {steps}: give another work folder, or remove it"
            )
        self.losses = saved["losses"]
        if len(self.losses) > steps:
            raise CheckpointError(
                f"{checkpoint} has taken {len(self.losses)} steps already, {steps} are too few: "
                "give more, and some for the rate to fall over"
            )
        if len(self.losses) < steps and not all(name in saved for name in PARTS):
            raise CheckpointError(
                f"{checkpoint} is of a training that ended after {len(self.losses)} steps, so it "
                f"cannot go on to {steps}: give another work folder, or remove it"
            )
        self.before = Counter(saved["seconds"])
        for name in (it for it in PARTS if it in saved):
            getattr(self, name).load_state_dict(saved[name])


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread" + "s" * (threads > 1)


def _average(stage: Stage) -> Callable[..., None]:
    """The exponential average; an open-ended one is young first, to be looked at early."""

    def average(means: list[Tensor], new: list[Tensor], count: Tensor | int) -> None:
        young = (1 + int(count)) / (10 + int(count))
        decay = min(stage.decay, young) if stage.open_ended else stage.decay
        torch._foreach_lerp_(means, new, 1 - decay)

    return average


def _rate(stage: Stage, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    if stage.open_ended:

        def share(step: int) -> float:
            last = max(1, round(COOL_DOWN * stage.steps))
            return max(0.0, min(1, (step + 1) / WARM_UP, (stage.steps - step) / last))

        return torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, stage.rate, total_steps=stage.steps, pct_start=0.05, cycle_momentum=False
    )


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
