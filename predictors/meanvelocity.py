"""Mean velocity: velocities of flow matching, averaged over the interval to come (MeanCache)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forecastcache.errors import AttachError, HistoryError
from forecastcache.history import History
from forecastcache.predictor import Need, Predictor, Sampling
from forecastcache.predictors.coordinates import nodes_of
from forecastcache.step import Step


class MeanVelocity(Predictor):
    """The newest computed velocity, turned into an average one by the latent's own path.

    Let t be the newest computed step, r the computed one before it and s the step to forecast, at
    noise levels sigma, with velocities v and latents x (batch, ...) of one shape:

        u   = (x_s - x_r) / (sigma_s - sigma_r)         the average velocity from r to s
        JVP = (v_r - u) / (sigma_s - sigma_r)
        F^_s = v_t - JVP (sigma_s - sigma_t)

    What was forecast between r and s is in x_s, the latent that the sampler has come to, so this
    is no row over the history: it needs the latent. With one feature it is reuse, and so it is
    where the latent went at v_r all the way.

    Where the velocity is linear in sigma and the latent follows it, F^_s is its exact average
    from t to s. That is half as far from v_t as the straight line, Taylor(1), goes: what a plain
    run of as many steps as the sampler's has is the velocity at s, so expect less of it there.
    It serves flow matching at `output`, a single branch of guidance, and models that are given the
    latent alone. Each branch holds two latents beside the features.

    Raises:
        AttachError: the scheduler is none of flow matching, tells no noise level, or guidance
            combines several branches, which the latent follows together.
        HistoryError: velocity and latent differ in shape.

    Reference: MeanCache (2601.19961), the average velocity from a cached JVP, over the window that
    its code takes, which ends at the current latent. In its code the window's length in steps, K,
    is chosen for each gap, and v_t is the forecast before; here the window begins at r, since
    velocities are kept at computed steps. Its schedule is a schedule's to choose.
    """

    @property
    def depth(self) -> int:
        return 2

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"latent", "logsnr", "sampling"})

    def for_pipeline(self, pipeline: Any, model: nn.Module) -> Predictor:
        scheduler = getattr(pipeline, "scheduler", None)
        config = getattr(scheduler, "config", {})
        flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
        if getattr(scheduler, "alphas_cumprod", None) is not None and not flow:
            raise AttachError(
                f"{self} forecasts velocities of flow matching, but {type(scheduler).__name__} is "
                "a diffusion scheduler: use Taylor or Repay"
            )
        return self

    def for_sampling(self, sampling: Sampling) -> Predictor:
        if sampling.guidance not in (None, 1):
            raise AttachError(
                f"{self} reads the latent, which follows both branches of guidance at a scale of "
                f"{sampling.guidance:.3g}, not the one that is forecast: use guidance that is "
                "embedded or off, or Taylor"
            )
        return self

    def forecast(self, history: History, target: Step) -> Tensor:
        if len(history) < 2:
            return history.combine([1.0])
        levels = nodes_of([*history.steps, target], "logsnr")
        at_r, at_t, at_s = (1 / (1 + np.exp(levels / 2))).tolist()
        (x_r, _), x_s = history.seen("latent")
        v_r = history.features[0]
        if v_r.shape != x_s.shape:
            raise HistoryError(
                f"a velocity of shape {tuple(v_r.shape)} does not move a latent of shape "
                f"{tuple(x_s.shape)}: use MeanVelocity at site='output' of a model that is given "
                "the latent alone and returns its velocity"
            )
        ahead = (at_s - at_t) / (at_s - at_r)
        part = history.combine([-ahead, 1.0])
        wide = torch.promote_types(part.dtype, torch.float32)
        moved = x_s.to(part.device, wide) - x_r.to(part.device, wide)
        forecast: Tensor = part.to(wide) + ahead / (at_s - at_r) * moved
        return forecast.to(part.dtype)
