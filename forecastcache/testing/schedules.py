"""check_schedule: what every schedule must do, ours and anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from forecastcache.engine.attach import attach
from forecastcache.errors import ConformanceError
from forecastcache.predictors.reuse import Reuse
from forecastcache.schedule import Schedule, Signal
from forecastcache.testing.fake_pipeline import FakePipeline
from forecastcache.testing.requirement import require
from forecastcache.testing.round_trip import require_round_trips

TOTAL = 50
BRANCHES = 2
SAMPLE = (1, 4, 4, 4)
Decisions = tuple[tuple[bool, ...], ...]  # by branch and step


def check_schedule(schedule: Schedule, total: int = TOTAL) -> None:
    """Hold a schedule to its contract, on a small stock model with random weights.

    Args:
        schedule: the schedule to check.
        total: number of steps of a trajectory that it serves.

    Raises:
        ConformanceError: naming what was done and what came of it, which is an AssertionError.
    """
    require(isinstance(schedule, Schedule), f"{schedule!r} is no schedule: give an object")
    require_round_trips(schedule)
    for check in CHECKS:
        check(_Trial(schedule, total))


@dataclass(frozen=True)
class _Trial:
    """A schedule on a trajectory of `total` steps."""

    schedule: Schedule
    total: int

    def run(self, *branches: int, in_place: bool = False) -> Decisions:
        """What was decided for each branch, called in turn at every step.

        Args:
            branches: numbers of the branches; those of another number see other conditions.
            in_place: whether the pipeline writes each sample over the one before it.

        Raises:
            ConformanceError: the run fails, or the schedule writes to the model's input.
        """
        times = [1000.0 - 1000.0 * index / self.total for index in range(self.total)]
        pipe = FakePipeline(times, _small_transformer())
        buffer = torch.empty(SAMPLE)
        with attach(pipe, self.schedule, Reuse()) as session:
            for index, time in enumerate(times):
                sample = buffer.copy_(self._sample(index)) if in_place else self._sample(index)
                for branch in branches:
                    self._call(pipe.transformer, sample, time, branch)
                require(
                    torch.equal(sample, self._sample(index)),
                    f"{self.schedule} wrote to the sample: copy what is to be changed",
                )
        calls = session.report().calls
        return tuple(
            tuple(call.was_computed for call in calls[place :: len(branches)])
            for place in range(len(branches))
        )

    def _call(self, model: nn.Module, sample: Tensor, time: float, branch: int) -> None:
        try:
            model(sample, timestep=torch.tensor([time]), class_labels=torch.tensor([branch]))
        except Exception as error:
            raise ConformanceError(
                f"{self.schedule} fails at time {time:g} of {self.total} steps "
                f"({type(error).__name__}: {error})"
            ) from error

    def _sample(self, index: int) -> Tensor:
        """The sample of a step, on its way from one noise to another."""
        start, end = torch.randn(2, *SAMPLE, generator=torch.Generator().manual_seed(0))
        sample: Tensor = start + (end - start) * index / self.total
        return sample


def _check_needs_are_known(trial: _Trial) -> None:
    """It asks for signals that there are."""
    unknown = set(trial.schedule.needs) - set(get_args(Signal))
    require(
        not unknown,
        f"{trial.schedule} needs {sorted(unknown)}: ask for some of {', '.join(get_args(Signal))}",
    )


def _check_it_fits_the_trajectory(trial: _Trial) -> None:
    """It serves as many steps as it is held to."""
    try:
        trial.schedule.check(trial.total)
        trial.schedule.foreseen(trial.total)
    except Exception as error:
        raise ConformanceError(
            f"{trial.schedule} does not fit {trial.total} steps ({type(error).__name__}: "
            f"{error}): give check_schedule the `total` that it serves"
        ) from error


def _check_foreseen_steps_are_computed(trial: _Trial) -> None:
    """A schedule that knows its steps beforehand computes these, and no others."""
    foreseen = trial.schedule.foreseen(trial.total)
    if foreseen is None:
        return
    require(
        sorted({*foreseen}) == [*foreseen] and {*foreseen} <= {*range(trial.total)},
        f"{trial.schedule} foresees {foreseen}: steps rise, from 0 to {trial.total - 1}",
    )
    decided = [index for index, computed in enumerate(trial.run(0)[0]) if computed]
    require(
        decided == [*foreseen],
        f"{trial.schedule} foresees {foreseen} of {trial.total} steps, and computed {decided}",
    )


def _check_runs_do_not_depend_on_each_other(trial: _Trial) -> None:
    """A second run decides as the first did: what it remembers lies in `State.memory`."""
    first, second = trial.run(0), trial.run(0)
    require(
        first == second,
        f"{trial.schedule} computed {_computed(first[0])} in a first run and "
        f"{_computed(second[0])} in a second: keep what it remembers in state.memory",
    )


def _check_branches_do_not_depend_on_each_other(trial: _Trial) -> None:
    """Two branches, called in turn, are decided as each is alone."""
    alone = tuple(trial.run(branch)[0] for branch in range(BRANCHES))
    in_turn = trial.run(*range(BRANCHES))
    for branch, (one, both) in enumerate(zip(alone, in_turn)):
        require(
            one == both,
            f"{trial.schedule} computed {_computed(one)} of branch {branch} alone, and "
            f"{_computed(both)} beside another: keep what it remembers in state.memory",
        )


def _check_samples_are_not_kept(trial: _Trial) -> None:
    """A pipeline may write a sample over the one before it: what is remembered is a copy."""
    fresh, in_place = trial.run(0)[0], trial.run(0, in_place=True)[0]
    require(
        fresh == in_place,
        f"{trial.schedule} computed {_computed(fresh)}, and {_computed(in_place)} where samples "
        "are written over: remember state.sample.clone()",
    )


def _computed(decisions: Sequence[bool]) -> list[int]:
    return [index for index, computed in enumerate(decisions) if computed]


def _small_transformer() -> nn.Module:
    from diffusers import DiTTransformer2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            in_channels=SAMPLE[1],
            out_channels=SAMPLE[1],
            num_layers=2,
            sample_size=SAMPLE[-1],
            patch_size=2,
            num_embeds_ada_norm=BRANCHES,
        )
    return model.eval()


CHECKS: tuple[Callable[[_Trial], None], ...] = (
    _check_needs_are_known,
    _check_it_fits_the_trajectory,
    _check_foreseen_steps_are_computed,
    _check_runs_do_not_depend_on_each_other,
    _check_branches_do_not_depend_on_each_other,
    _check_samples_are_not_kept,
)
