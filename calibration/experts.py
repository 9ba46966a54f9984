"""Experts: two models that take turns, each guided at a scale of its own.

A row weighs what the network returned, branch by branch; guidance joins the branches afterwards.
So what a computed step c brings to the forecast of a step s is not its own guided output, but
sum_b alpha_{s,b} o_{c,b}: its branches, joined as at s. Where one guidance serves all steps, the
two are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.calibration.subset import Subset
from forecastcache.engine.interpose import interposed
from forecastcache.engine.patch import Forward
from forecastcache.errors import CalibrationError
from forecastcache.history import is_feature

MISSED = 0.02  # of the guided outputs, that a sum of the branches may leave
DECIMALS = 4  # of a share: as many are certain, whichever samples it is seen by
Watch = Callable[[int, Tensor], None]


@contextmanager
def outputs_of(models: Sequence[nn.Module], subset: Subset, watch: Watch) -> Iterator[None]:
    """Show what is looked at of the first tensor of each output, call by call.

    Args:
        models: models of a pipeline.
        subset: elements that are looked at.
        watch: function that is given the number of the model and the elements.
    """

    def watched(number: int, forward: Forward, args: Any, kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        first = next(leaf for leaf in pytree.tree_leaves(output) if is_feature(leaf))
        watch(number, subset.of(first))
        return output

    with interposed(models, watched):
        yield


def branch_shares(
    numbers: Sequence[int], branches: Sequence[Sequence[Tensor]], guided: Sequence[Tensor]
) -> np.ndarray:
    """Factors alpha_{s,b} of the branches in the guided output of each step, `(T, branches)`.

    One set for each model, by least squares over its steps.

    Args:
        numbers: number of the model that answered at each step.
        branches: outputs of each branch, step by step, `(samples, elements)` each.
        guided: guided outputs g_0 to g_{T-1}, likewise.

    Raises:
        CalibrationError: the guided outputs are no weighted sum of the branches.
    """
    shares = np.zeros((len(guided), len(branches)))
    for number in {*numbers}:
        own = [step for step, its in enumerate(numbers) if its == number]
        read = [torch.cat([branch[step].flatten() for step in own]) for branch in branches]
        columns = torch.stack(read).double()
        aim = torch.cat([guided[step].flatten() for step in own]).double()
        solved = torch.linalg.lstsq(columns @ columns.T, columns @ aim).solution
        if (solved @ columns - aim).norm() > MISSED * aim.norm():
            raise CalibrationError(
                "guidance is no weighted sum of what two models that take turns return: calibrate "
                "without guidance, or use a predictor that needs no calibration"
            )
        shares[own] = solved.numpy().round(DECIMALS)
    return shares


def same_guidance(some: np.ndarray | None, others: np.ndarray | None) -> bool:
    """Whether two sets of factors, seen by different samples, are of one guidance."""
    if some is None or others is None:
        return some is others
    return some.shape == others.shape and np.allclose(some, others, rtol=MISSED, atol=MISSED)


class JoinedAs:
    """Guided outputs of a run's computed steps, their branches joined as at other steps.

    Args:
        shares: factors of the branches at each step, `(T, branches)`; None where they are the
            same at all.
        guided: function that gives the guided outputs of the run so far, step by step.
    """

    def __init__(self, shares: np.ndarray | None, guided: Callable[[], Sequence[Tensor]]) -> None:
        self._shares = None if shares is None or (shares == shares[0]).all() else shares
        self._guided = guided
        self._seen: dict[int, dict[int, list[Tensor]]] = {}  # by step, then by call

    @contextmanager
    def watching(
        self, models: Sequence[nn.Module], subset: Subset, place: Callable[[], tuple[int, int]]
    ) -> Iterator[None]:
        """Keep what the models return, where it is needed.

        Args:
            models: models of the pipeline.
            subset: elements that are looked at.
            place: function that gives the number of the pipeline's call under way, and that of
                the steps that its sampler has made.
        """
        if self._shares is None:
            yield
            return

        def keep(_: int, output: Tensor) -> None:
            call, step = place()
            self._seen.setdefault(step, {}).setdefault(call, []).append(output)

        with outputs_of(models, subset, keep):
            yield

    def guided(self, computed: int, step: int) -> Tensor:
        """What a computed step brings to the forecast of `step`.

        Float64, `(samples, elements)`.
        """
        if self._shares is None or (self._shares[computed] == self._shares[step]).all():
            return self._guided()[computed].double()
        calls = self._seen[computed]
        branches = zip(*(calls[call] for call in sorted(calls)), strict=True)
        joined = [
            share * torch.cat(branch).double()
            for share, branch in zip(self._shares[step].tolist(), branches, strict=True)
        ]
        return torch.stack(joined).sum(0)
