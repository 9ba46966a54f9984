"""SeaCache: the change of what is signal at the noise level of the step."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from forecastcache.errors import ScheduleError
from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import (
    Adaptive,
    Last,
    Threshold,
    accumulated,
    relative_change,
)
from forecastcache.step import Step

# Signal-to-noise ratio where a run begins with noise alone: that of sigma = 1 - 1e-6.
LEAST = 2 * math.log(1e-6)


class SeaCache(Adaptive):
    """TeaCache's rule on features of which a filter has kept what is signal by now.

    Early steps make low frequencies, late ones high. A Wiener filter with the noise level of the
    step keeps what can be told from noise: for a signal of power |f|^-p along each axis, and r the
    ratio of noise power to signal power, its gain is the product over the axes of

        1 / (1 + r |f|^p),

    divided by its mean over frequencies. With F_t the feature so filtered, a step is computed
    where

        sum mean |F_t - F_{t-1}| / mean |F_{t-1}| >= threshold,

    summed over the steps since the newest computed one. A decision runs the embedders and the
    first norm (`of="modulated"`) or no part of the model (`of="sample"`), two Fourier transforms,
    and waits for one number. A batch is decided as a whole. There is nothing to fit.

    Args:
        threshold: relative L1 change of the filtered feature, gathered over steps.
        power: p; its code has 2 for pictures and 3 for videos.
        of: feature that is filtered: the first block's input as the timestep embedding modulates
            it, as in its code, or the sample, as in diffusers.

    Reference: SeaCache (2602.18993), equation 7 for the division, and its code for FLUX.1 and Wan,
    which computes the first step and the last.
    """

    threshold: Threshold = 0.3
    last: Last = 1
    power: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    of: Literal["modulated", "sample"] = "modulated"

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"modulated"} if self.of == "modulated" else ())

    def exceeds(self, step: Step, state: State) -> bool:
        now, before = self._signal(step, state), state.memory.get("signal")
        state.memory["signal"] = now
        if before is None:
            return True
        return not accumulated(relative_change(now, before), step, state) < self.threshold

    def _signal(self, step: Step, state: State) -> Tensor:
        if step.logsnr is None:
            raise ScheduleError(
                f"{self} needs the noise level of each step, which no scheduler tells here: "
                "attach a pipeline whose scheduler knows it, or use teacache"
            )
        feature = state.modulated_embedding() if self.of == "modulated" else state.sample
        assert feature is not None
        if feature.ndim <= 3:
            feature = self._on_its_grid(feature, state)
            axes = range(1, feature.ndim - 1)
        else:
            axes = range(2, feature.ndim)
        return wiener_filtered(feature, tuple(axes), step.logsnr, self.power)

    def _on_its_grid(self, tokens: Tensor, state: State) -> Tensor:
        """Tokens `(batch, tokens, channels)` as they lie, without what is appended to them."""
        if "grid" not in state.memory:
            state.memory["grid"] = state.grid()
        grid = state.memory["grid"]
        if grid is None:
            raise ScheduleError(
                f"{self} needs the layout of the tokens, which the adapter does not tell: give it "
                "a grid, or use teacache"
            )
        on_grid: Tensor = tokens[:, : math.prod(grid)].unflatten(1, grid)
        return on_grid


def wiener_filtered(feature: Tensor, axes: tuple[int, ...], logsnr: float, power: float) -> Tensor:
    """What a Wiener filter keeps of a feature, in float32.

    Args:
        feature: tensor to filter.
        axes: axes that are space or time.
        logsnr: logarithm of signal power over noise power.
        power: exponent by which the signal's power falls with frequency.
    """
    noise = math.exp(-max(logsnr, LEAST))
    gain = torch.ones((), device=feature.device)
    for axis in axes:
        size = feature.shape[axis]
        frequency = torch.fft.fftfreq(size, device=feature.device).abs()
        along = 1 / (1 + noise * frequency**power)
        gain = gain * along.reshape(size, *[1] * (feature.ndim - axis - 1))
    spectrum = torch.fft.fftn(feature.float(), dim=axes) * (gain / gain.mean())
    kept: Tensor = torch.fft.ifftn(spectrum, dim=axes).real
    return kept
