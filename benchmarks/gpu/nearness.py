"""How near forecast runs end to plain ones: PSNR of the final latents."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import forecastcache as fc
from forecastcache.calibration.fits import decibels
from forecastcache.sampling.trajectory import trajectory_of


def loaded(model: str, device: str, dtype: torch.dtype = torch.float32) -> Any:
    """A pipeline, without bars of progress."""
    from diffusers.utils import logging
    from transformers.utils import logging as text_logging

    logging.disable_progress_bar()
    text_logging.disable_progress_bar()
    pipe = fc.load(model, device, dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def finals(pipe: Any, parts: Sequence[fc.Request]) -> list[Tensor]:
    """The latents at which the parts of a request end, float32 on the host."""
    found = []
    for part in parts:
        with trajectory_of(pipe, len(part)) as trajectory:
            part.run(pipe)
        found.append(trajectory.samples[-1])
    return found


def forecast_finals(
    pipe: Any, parts: Sequence[fc.Request], schedule: fc.Schedule, predictor: fc.Predictor
) -> tuple[list[Tensor], list[str]]:
    """The same of a forecast run, and what it warns of."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", fc.ForecastCacheWarning)
        with fc.attach(pipe, schedule, predictor):
            found = finals(pipe, parts)
    ours = (it for it in seen if issubclass(it.category, fc.ForecastCacheWarning))
    return found, sorted({str(it.message) for it in ours})


def latent_psnr_db(found: Sequence[Tensor], plain: Sequence[Tensor]) -> float:
    """Mean over samples, in dB; data range 2."""
    errors = [
        error
        for one, other in zip(found, plain, strict=True)
        for error in (one - other).double().square().flatten(1).mean(1).tolist()
    ]
    return sum(map(decibels, errors)) / len(errors)
