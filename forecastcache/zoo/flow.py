"""Flow matching with guidance distilled in, as FLUX.1-dev and HunyuanVideo were made.

A picture x and noise n are joined by the line (1 - sigma) x + sigma n, and the network learns its
velocity n - x (Lipman et al., 2210.02747; Esser et al., 2403.03206). Guidance is learned after
it: told a scale w, the network is to say at once what two calls would (Meng et al., 2210.03142).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class FlowMatching:
    """How a transformer of diffusers is trained.

    Attributes:
        model: transformer to train.
        encode: function of captions, to what the text encoders make of them.
        arguments: function of noise levels, guidance scales and encoded captions, to the arguments
            of the transformer's call beside the noisy latents.
        batch: function that draws latents and their captions.
        shift: shift of the noise levels towards noise, as the sampler's.
        empty: caption in place of a dropped one.
        strongest: guidance scale up to which guidance is distilled.
        unguided: share of the captions that are dropped in distillation too, so that the network
            still serves true guidance, at a guidance scale of 1.
        middle: share of the noise levels that are drawn around the middle, logit-normally as Esser
            et al. found best; the others are drawn evenly.
        levels: the lowest and the highest noise level that it is trained for.
    """

    model: nn.Module
    encode: Callable[[list[str]], tuple[Tensor, ...]]
    arguments: Callable[..., dict[str, Any]]
    batch: Callable[[torch.Generator], tuple[Tensor, list[str]]]
    shift: float
    empty: str = ""
    middle: float = 0.8
    strongest: float = STRONGEST
    unguided: float = 0.0
    levels: tuple[float, float] = (0.0, 1.0)

    def match(self, steps: int) -> Stage:
        """The stage that trains it without guidance, captions dropped now and then."""

        def draw(generator: torch.Generator) -> Any:
            latents, captions = self.batch(generator)
            said = self._dropped(captions, CAPTION_DROPOUT, generator)
            noisy, sigma, target = self._interpolate(latents, generator)
            return noisy, self._told(sigma, torch.ones(len(latents)), said), target

        def loss(batch: Any) -> Tensor:
            noisy, told, target = batch
            return F.mse_loss(_velocity(self.model, noisy, told), target)

        one = (self.model,)
        return Stage("transformer", self.model, loss, steps, RATE, compiled=one, draw=draw)

    def distil(self, steps: int) -> Stage:
        """The stage that teaches it, trained, to obey its guidance embedding."""
        model, teacher = self.model, copy.deepcopy(self.model).eval().requires_grad_(False)

        def draw(generator: torch.Generator) -> Any:
            latents, captions = self.batch(generator)
            noisy, sigma, _ = self._interpolate(latents, generator)
            count = len(latents)
            scale = 1 + (self.strongest - 1) * torch.rand(count, generator=generator)
            if self.unguided:
                captions = self._dropped(captions, self.unguided, generator)
            one, empty = torch.ones(count), [self.empty] * count
            said = ((one, captions), (one, empty), (scale, captions))
            return noisy, scale, [self._told(sigma, *it) for it in said]

        def loss(batch: Any) -> Tensor:
            noisy, scale, (conditional, unconditional, guided) = batch
            teacher.to(noisy.device)
            with torch.no_grad():
                towards = _velocity(teacher, noisy, conditional)
                away = _velocity(teacher, noisy, unconditional)
            target = torch.lerp(away, towards, _per_sample(scale, noisy))
            return F.mse_loss(_velocity(model, noisy, guided), target)

        both = (model, teacher)
        return Stage("guidance", model, loss, steps, RATE / 3, compiled=both, draw=draw)

    def _dropped(self, captions: list[str], share: float, generator: torch.Generator) -> list[str]:
        dropped = torch.rand(len(captions), generator=generator) < share
        return [self.empty if out else it for out, it in zip(dropped.tolist(), captions)]

    def _told(self, sigma: Tensor, scale: Tensor, captions: list[str]) -> dict[str, Any]:
        """The arguments of the transformer's call beside the noisy latents."""
        return self.arguments(sigma, scale, *self.encode(captions))

    def _interpolate(
        self, latents: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latents between data and noise, their noise levels, and their velocities."""
        count = len(latents)
        even = torch.rand(count, generator=generator)
        if self.middle:
            central = torch.rand(count, generator=generator) < self.middle
            normal = torch.randn(count, generator=generator)
            even = torch.where(central, normal.sigmoid(), even)
        low, high = (it / (self.shift - (self.shift - 1) * it) for it in self.levels)
        even = low + (high - low) * even
        sigma = self.shift * even / (1 + (self.shift - 1) * even)
        noise = torch.randn(latents.shape, generator=generator)
        return torch.lerp(latents, noise, _per_sample(sigma, latents)), sigma, noise - latents


def _velocity(model: nn.Module, noisy: Tensor, told: dict[str, Any]) -> Tensor:
    velocity: Tensor = model(noisy, **told).sample
    return velocity


def _per_sample(numbers: Tensor, latents: Tensor) -> Tensor:
    """One number a sample, `(n,)`, in a shape that broadcasts with latents `(n, ...)`."""
    return numbers.view(-1, *[1] * (latents.dim() - 1))


def start_at_zero(model: nn.Module) -> None:
    """Let every block start as the identity (adaLN-Zero, Peebles and Xie, 2212.09748)."""
    kinds = (AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous)
    modulations = [module.linear for module in model.modules() if isinstance(module, kinds)]
    for block in getattr(model, "transformer_blocks", ()):
        modulations += [block.img_mod[-1], block.txt_mod[-1]] if hasattr(block, "img_mod") else []
    for linear in modulations:
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
