"""Flow matching with guidance distilled in, as FLUX.1-dev and HunyuanVideo were made.

A picture x and noise n are joined by the line (1 - sigma) x + sigma n, and the network learns its
velocity n - x (Lipman et al., 2210.02747; Esser et al., 2403.03206). Guidance is learned after
it: told a scale w, the network is to say at once what two calls would (Meng et al., 2210.03142).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from diffusers.models.normalization import (
    AdaLayerNormContinuous,
    AdaLayerNormZero,
    AdaLayerNormZeroSingle,
)
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache.zoo.training import Stage

CAPTION_DROPOUT = 0.12
STRONGEST = 5.0  # guidance scale that is distilled
RATE = 2e-3

Batch = Callable[[torch.Generator], tuple[Tensor, list[str]]]


class Velocity(Protocol):
    """What a pipeline's transformer says of noisy latents `(n, ...)` at `sigma` `(n,)`."""

    def __call__(
        self, model: Any, noisy: Tensor, sigma: Tensor, captions: list[str], scale: Tensor
    ) -> Tensor: ...


def match(
    model: nn.Module,
    velocity: Velocity,
    batch: Batch,
    shift: float,
    steps: int,
    empty: str = "",
    middle: float = 0.8,
) -> Stage:
    """The stage that trains `model` without guidance, captions dropped now and then.

    Args:
        model: the transformer.
        velocity: asks it.
        batch: draws latents and their captions.
        shift: of the noise levels towards noise, as the sampler's.
        steps: optimiser steps.
        empty: what a dropped caption becomes.
        middle: share of the noise levels that are drawn around the middle, logit-normally as
            Esser et al. found best; the others are drawn evenly.
    """

    def loss(generator: torch.Generator) -> Tensor:
        latents, captions = batch(generator)
        dropped = torch.rand(len(latents), generator=generator) < CAPTION_DROPOUT
        said = [empty if out else text for out, text in zip(dropped.tolist(), captions)]
        noisy, sigma, aim = _on_the_line(latents, shift, middle, generator)
        return F.mse_loss(velocity(model, noisy, sigma, said, torch.ones(len(latents))), aim)

    return Stage("transformer", model, loss, steps, RATE, compiled=(model,))


def distil(
    model: nn.Module,
    velocity: Velocity,
    batch: Batch,
    shift: float,
    steps: int,
    empty: str = "",
    middle: float = 0.8,
) -> Stage:
    """The stage that teaches a trained `model` to obey its guidance embedding."""
    teacher = copy.deepcopy(model).eval().requires_grad_(False)
    model.requires_grad_(True)

    def loss(generator: torch.Generator) -> Tensor:
        latents, captions = batch(generator)
        noisy, sigma, _ = _on_the_line(latents, shift, middle, generator)
        count = len(latents)
        scale = 1 + (STRONGEST - 1) * torch.rand(count, generator=generator)
        one = torch.ones(count)
        with torch.no_grad():
            conditional = velocity(teacher, noisy, sigma, captions, one)
            unconditional = velocity(teacher, noisy, sigma, [empty] * count, one)
        weight = scale.view(-1, *[1] * (latents.dim() - 1))
        aim = unconditional + weight * (conditional - unconditional)
        return F.mse_loss(velocity(model, noisy, sigma, captions, scale), aim)

    return Stage("guidance", model, loss, steps, RATE / 3, compiled=(model, teacher))


def start_at_zero(model: nn.Module) -> None:
    """Let every block start as the identity (adaLN-Zero, Peebles and Xie, 2212.09748)."""
    kinds = (AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous)
    modulations = [module.linear for module in model.modules() if isinstance(module, kinds)]
    for block in getattr(model, "transformer_blocks", ()):
        modulations += [block.img_mod[-1], block.txt_mod[-1]] if hasattr(block, "img_mod") else []
    for linear in modulations:
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)


def _on_the_line(
    latents: Tensor, shift: float, middle: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    even = torch.rand(len(latents), generator=generator)
    if middle:
        central = torch.rand(len(latents), generator=generator) < middle
        even = torch.where(central, torch.randn(len(latents), generator=generator).sigmoid(), even)
    sigma = shift * even / (1 + (shift - 1) * even)
    noise = torch.randn(latents.shape, generator=generator)
    along = sigma.view(-1, *[1] * (latents.dim() - 1))
    return torch.lerp(latents, noise, along), sigma, noise - latents
