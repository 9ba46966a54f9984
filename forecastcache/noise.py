"""Noise levels: the log signal-to-noise ratio of a scheduler's steps."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_snr(scheduler: Any, position: int) -> float | None:
    """log(alpha^2 / sigma^2) at one of the scheduler's timesteps; None if it does not tell.

    Flow matching mixes (1 - sigma) of the sample with sigma of noise, so its ratio is
    2 log((1 - sigma) / sigma): -inf at sigma = 1, where runs begin. Diffusion keeps
    alpha^2 = alphas_cumprod (Kingma et al., 2107.00630, section 3.1).

    Args:
        scheduler: of diffusers, after `set_timesteps`.
        position: in `scheduler.timesteps`.
    """
    config = getattr(scheduler, "config", {})
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    known = getattr(scheduler, "alphas_cumprod", None)
    with np.errstate(divide="ignore"):
        if known is not None and not flow:
            kept = np.asarray(known, dtype=np.float64)
            levels = np.log(kept) - np.log1p(-kept)
            time = float(scheduler.timesteps[position])
            return float(np.interp(time, np.arange(len(levels)), levels))
        sigmas = np.asarray(getattr(scheduler, "sigmas", ()), dtype=np.float64)
        if position >= len(sigmas) or sigmas.max() > 1:
            return None
        sigma = sigmas[position]
        return float(2 * (np.log1p(-sigma) - np.log(sigma)))
