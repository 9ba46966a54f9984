"""Recipe of `zoo:dit-digits`: a class-conditional DiT of 60 classes, ten digits in six inks.

A stock `DiTPipeline`, made small: 32x32 RGB, 8x8x4 latents, 16 tokens of width 120, 8 blocks.
Trained as the original (Peebles and Xie, 2212.09748): noise prediction, 1,000 linear betas,
labels dropped for classifier-free guidance. The loss is weighted by min-SNR (2303.09556): with all
noise levels alike, fewer samples were judged as asked and guidance of 4 was further from smooth.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from torch import Tensor
from torch.nn import functional as F

from forecastcache.zoo import data
from forecastcache.zoo.judge import Judge, Verdict, draw
from forecastcache.zoo.training import Stage, fit

PALETTES = (
    ("red", "cream"),
    ("blue", "yellow"),
    ("black", "pink"),
    ("green", "mint"),
    ("orange", "navy"),
    ("white", "plum"),
)
NULL_CLASS = 1000  # what DiTPipeline passes for "no class"
LABEL_DROPOUT = 0.15
GUIDANCE_SCALE = 2.0  # at the default of 4 the trajectories are stiff: long intervals fall apart
KL_WEIGHT = 1e-6
SNR_CEILING = 5.0


def make(
    work: Path, seed: int = 0, vae_steps: int = 2000, steps: int = 4500
) -> tuple[DiTPipeline, float]:
    """Train the pipeline from nothing, or go on with what `work` holds.

    Args:
        work: folder for checkpoints and loss curves.
        seed: of the weights' initialisation and of every batch.
        vae_steps: optimiser steps for the autoencoder.
        steps: optimiser steps for the transformer.

    Returns:
        The pipeline, and the seconds of training.
    """
    torch.manual_seed(seed)
    vae, transformer = _vae(), _transformer()
    seconds = fit(_vae_stage(vae, vae_steps), work, seed)
    latents, classes = _latents(vae)
    scheduler = DDIMScheduler(
        beta_schedule="linear", timestep_spacing="trailing", clip_sample=False
    )
    seconds += fit(_transformer_stage(transformer, scheduler, latents, classes, steps), work, seed)
    _clear_unused_classes(transformer)

    labels = {str(i): label for i, label in enumerate(_labels())}
    pipe = DiTPipeline(transformer, vae, scheduler, id2label=labels)
    pipe.register_to_config(id2label=labels)
    return pipe, seconds


def asked(classes: list[int]) -> Verdict:
    """What the judge must read on pictures of `classes`."""
    ids = torch.tensor(classes)
    palettes = [PALETTES[i] for i in (ids // 10).tolist()]
    inks, backgrounds = list(data.INKS), list(data.BACKGROUNDS)
    return Verdict(
        ids % 10,
        torch.tensor([inks.index(ink) for ink, _ in palettes]),
        torch.tensor([backgrounds.index(background) for _, background in palettes]),
    )


def figures(pipe: DiTPipeline, judge: Judge, per_class: int = 5) -> tuple[str, Tensor]:
    """How often 50-step samples are what was asked for, and the first of each class.

    Returns:
        The figure in words, and pictures `(classes, 3, 32, 32)` in [0, 1].
    """
    count = len(_labels())
    classes = list(range(count)) * per_class
    generators = [torch.Generator().manual_seed(i) for i in range(len(classes))]
    images = pipe(
        classes, guidance_scale=GUIDANCE_SCALE, generator=generators, output_type="np"
    ).images
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
    right = judge.read(pictures * 2 - 1).agrees(asked(classes)).float().mean().item()
    return f"{right:.1%} of {len(classes)} samples judged as asked", pictures[:count]


def _labels() -> list[str]:
    return [f"{ink} {digit}" for ink, _ in PALETTES for digit in data.DIGITS]


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=data.SIZE,
    )


def _transformer() -> DiTTransformer2DModel:
    transformer = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=30,
        in_channels=4,
        out_channels=4,
        num_layers=8,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=NULL_CLASS,
    )
    for block in transformer.transformer_blocks:
        # diffusers drops labels block by block; a sample's label must go in all blocks or none.
        block.norm1.emb.class_embedder.dropout_prob = 0
        # adaLN-Zero: every block starts as the identity (section 3.2 of the paper).
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
    torch.nn.init.zeros_(transformer.proj_out_2.weight)
    torch.nn.init.zeros_(transformer.proj_out_2.bias)
    return transformer


def _vae_stage(vae: AutoencoderKL, steps: int) -> Stage:
    scans = data.scans("train")

    def loss(generator: torch.Generator) -> Tensor:
        pictures, _ = draw(scans, 32, generator)
        posterior = vae.encode(pictures).latent_dist
        drawn = vae.decode(posterior.sample(generator)).sample
        surprise: Tensor = posterior.kl().mean()
        return F.l1_loss(drawn, pictures) + KL_WEIGHT * surprise

    return Stage("vae", vae, loss, steps, rate=2e-3, decay=0.995)


@torch.no_grad()
def _latents(vae: AutoencoderKL) -> tuple[Tensor, Tensor]:
    """Every training scan in every palette: scaled latents `(n, 4, 8, 8)` and classes `(n,)`.

    Sets the autoencoder's scaling factor so that the latents have unit deviation.
    """
    scans = data.scans("train")
    means = []
    for ink, background in PALETTES:
        colour = torch.tensor([data.INKS[ink]]).expand(len(scans), 3)
        behind = torch.tensor([data.BACKGROUNDS[background]]).expand(len(scans), 3)
        for pictures in data.paint(scans.ink, colour, behind).split(256):
            means.append(vae.encode(pictures).latent_dist.mean)
    latents = torch.cat(means)
    factor = round(1 / latents.std().item(), 4)
    vae.register_to_config(scaling_factor=factor)
    classes = torch.cat([scans.digit + 10 * i for i in range(len(PALETTES))])
    return latents * factor, classes


def _transformer_stage(
    transformer: DiTTransformer2DModel,
    scheduler: DDIMScheduler,
    latents: Tensor,
    classes: Tensor,
    steps: int,
) -> Stage:
    signal = scheduler.alphas_cumprod
    snr = signal / (1 - signal)
    weight = snr.clamp(max=SNR_CEILING) / snr

    def loss(generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(latents), (128,), generator=generator)
        time = torch.randint(len(signal), (128,), generator=generator)
        dropped = torch.rand(128, generator=generator) < LABEL_DROPOUT
        noise = torch.randn(128, *latents.shape[1:], generator=generator)
        noisy = scheduler.add_noise(latents[pick], noise, time)
        label = classes[pick].masked_fill(dropped, NULL_CLASS)
        guess = transformer(noisy, timestep=time, class_labels=label).sample
        error = (guess - noise).square().mean((1, 2, 3))
        weighted: Tensor = weight[time] * error
        return weighted.mean()

    return Stage("transformer", transformer, loss, steps, rate=2e-3)


def _clear_unused_classes(transformer: DiTTransformer2DModel) -> None:
    """Zero the embedding rows between the last class and the null class: they compress away."""
    for block in transformer.transformer_blocks:
        block.norm1.emb.class_embedder.embedding_table.weight[len(_labels()) : NULL_CLASS] = 0
