"""Noise: what a scheduler draws at its steps, seeded sample by sample."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from forecastcache._util.swap import swapped


@contextmanager
def noise_seeded(pipe: Any, generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Make a scheduler's noise that of the samples' own seeds, whatever else is in their batch.

    Some pipelines, such as DiT's, hand their generators to no step: a scheduler that draws noise
    then takes it from the global generator. Here it is given those of the samples, and a scheduler
    that takes none finds the global generator seeded, which is put back afterwards.

    Args:
        pipe: a diffusers pipeline.
        generators: one random generator for each sample.
    """
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices):
        torch.manual_seed(generators[0].initial_seed())
        scheduler = getattr(pipe, "scheduler", None)
        step = getattr(scheduler, "step", None)
        if step is None or "generator" not in inspect.signature(step).parameters:
            yield
            return
        signature = inspect.signature(step)

        def seeded(model_output: Tensor, *args: Any, **kwargs: Any) -> Any:
            given = signature.bind_partial(model_output, *args, **kwargs)
            # A pipeline may carry each sample twice, once for each half of guidance.
            copies, rest = divmod(len(model_output), len(generators))
            if not rest and given.arguments.get("generator") is None:
                given.arguments["generator"] = [*generators] * copies
            return step(*given.args, **given.kwargs)

        with swapped(scheduler, "step", seeded):
            yield
