"""Noise levels: the log signal-to-noise ratios of a scheduler's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def log_snrs(scheduler: Any) -> np.ndarray | None:
    """log(alpha^2 / sigma^2) at each of the scheduler's timesteps; None if it does not tell.

    Flow matching mixes (1 - sigma) of the sample with sigma of noise, so its ratio is
    2 log((1 - sigma) / sigma): -inf at sigma = 1, where runs begin. Diffusion keeps
    alpha^2 = alphas_cumprod (Kingma et al., 2107.00630, section 3.1).

    Args:
        scheduler: a scheduler of diffusers.
    """
    config = getattr(scheduler, "config", {})
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    times, kept, sigmas = (
        _numbers(getattr(scheduler, name, None))
        for name in ("timesteps", "alphas_cumprod", "sigmas")
    )
    if times is None:
        return None
    with np.errstate(divide="ignore"):
        if kept is not None and not flow:
            ratios = np.log(kept) - np.log1p(-kept)
            interpolated: np.ndarray = np.interp(times, np.arange(len(kept)), ratios)
            return interpolated
        if sigmas is None or len(sigmas) < len(times) or sigmas.max() > 1:
            return None
        sigmas = sigmas[: len(times)]
        levels: np.ndarray = 2 * (np.log1p(-sigmas) - np.log(sigmas))
        return -levels if config.get("invert_sigmas") else levels


def _numbers(values: Any) -> np.ndarray | None:
    """In float64 on the host, wherever they lie."""
    if values is None:
        return None
    numbers: np.ndarray = torch.as_tensor(values).cpu().double().numpy()
    return numbers
