"""Small autoencoders: how they are built and trained, and what they make of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from forecastcache.zoo import data
from forecastcache.zoo.training import Stage

KL_WEIGHT = 1e-6
INK = 0.2  # difference from the corner of a picture that makes a pixel ink


def small_autoencoder_kl(latent_channels: int, **options: Any) -> AutoencoderKL:
    """Stable Diffusion's autoencoder, for pictures of 32x32 and latents of 8x8.

    Args:
        latent_channels: number of channels of the latents.
        **options: further arguments of the class.
    """
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=data.SIZE,
        **options,
    )


def fully_convolutional_autoencoder_kl(latent_channels: int, size: int) -> AutoencoderKL:
    """The same without attention, for pictures of any size, here to latents a quarter as wide.

    What it learns on parts of pictures holds for whole ones.

    Args:
        latent_channels: number of channels of the latents.
        size: width of the pictures, in pixels.
    """
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=size,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def autoencoder_stage(
    vae: Any,
    draw: Callable[[torch.Generator], Tensor],
    steps: int,
    ink: float = 1.0,
    rate: float = 2e-3,
) -> Stage:
    """The stage that trains an autoencoder.

    Args:
        vae: autoencoder to train.
        draw: draws pictures or clips in [-1, 1], `(n, 3, ..., h, w)`.
        steps: number of optimiser steps.
        ink: weight of an error in the ink, one in the background weighing 1.
        rate: peak learning rate.
    """

    def loss(generator: torch.Generator) -> Tensor:
        pictures = draw(generator)
        posterior = vae.encode(pictures).latent_dist
        decoded = vae.decode(posterior.sample(generator)).sample
        errors = (decoded - pictures).abs()
        if ink != 1:
            corner = pictures[..., :1, :1]
            errors = errors * torch.where((pictures - corner).abs() > INK, ink, 1.0)
        total: Tensor = errors.mean() + KL_WEIGHT * posterior.kl().mean()
        return total

    return Stage("vae", vae, loss, steps, rate, decay=0.995)


def decoder_stage(
    vae: Any, draw: Callable[[torch.Generator], Tensor], steps: int, rate: float = 1e-3
) -> Stage:
    """The stage that trains the decoder further: what the latents mean stays as it is.

    Args:
        vae: autoencoder, trained, whose decoder takes latents as they are.
        draw: draws pictures in [-1, 1], `(n, 3, h, w)`.
        steps: number of optimiser steps.
        rate: peak learning rate.
    """

    @torch.no_grad()
    def draw_both(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pictures = draw(generator)
        return pictures, vae.encode(pictures).latent_dist.sample(generator)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        pictures, latents = batch
        errors: Tensor = (vae.decoder(latents) - pictures).abs().mean()
        return errors

    return Stage("decoder", vae.decoder, loss, steps, rate, decay=0.995, draw=draw_both)


def normalised(vae: Any, latents: Tensor) -> Tensor:
    """Latents `(n, channels, ...)` of mean 0 and deviation 1 in each channel.

    Sets the scaling of an autoencoder that has one for each channel.
    """
    others = [it for it in range(latents.dim()) if it != 1]
    mean, deviation = (of(others, keepdim=True) for of in (latents.mean, latents.std))
    vae.register_to_config(
        latents_mean=[round(it, 4) for it in mean.flatten().tolist()],
        latents_std=[round(it, 4) for it in deviation.flatten().tolist()],
    )
    return (latents - mean) / deviation


@torch.no_grad()
def latents_of(vae: Any, batches: Iterable[Tensor]) -> Tensor:
    """The latents of batches of pictures or clips, as means: `(n, channels, ..., h, w)`."""
    return torch.cat([vae.encode(it.to(vae.device)).latent_dist.mean.cpu() for it in batches])
