"""Super-resolution: FLUX's control pipeline, told digits of 8x8 pixels, draws them at 32x32.

`zoo:flux-digits`, trained further with the latents of the small picture beside the noise, as
FLUX.1-Canny-dev and FLUX.1-Depth-dev have their control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from diffusers import FluxControlPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache.sampling.loading import load
from forecastcache.zoo import data
from forecastcache.zoo.flux_digits import TEXT_TOKENS, _arguments, _encode
from forecastcache.zoo.pictures import Subjects, subjects_of
from forecastcache.zoo.training import Stage

SMALL = 8  # pixels
SHOWN = 8  # pictures in a row of the page's
STEPS, BATCH, RATE = 1500, 96, 1e-3
SUBJECTS = 20_000
SHIFT = 1.65  # of the noise levels, as the pipeline's scheduler has it at 16 tokens
GUIDANCE = 1.0  # the small picture says enough


def pipeline() -> FluxControlPipeline:
    """`zoo:flux-digits` with room for a control, which it does not see yet."""
    pipe = load("zoo:flux-digits")
    config = dict(pipe.transformer.config)
    width = config["in_channels"]
    wider = {**config, "in_channels": 2 * width, "out_channels": width}
    told = FluxTransformer2DModel.from_config(wider)
    known = pipe.transformer.state_dict()
    known["x_embedder.weight"] = F.pad(known["x_embedder.weight"], (0, width))
    told.load_state_dict(known)
    return FluxControlPipeline.from_pipe(pipe, transformer=told)


def stages(pipe: FluxControlPipeline, seed: int) -> Iterator[Stage]:
    """The one stage of its training."""
    subjects = subjects_of(data.scans("train"))
    generator = torch.Generator().manual_seed(seed)
    subjects = subjects.sample(SUBJECTS, generator)
    clean = _packed(pipe, subjects.batches(256))
    control = _packed(pipe, map(small, subjects.batches(256)))
    with torch.no_grad():
        words, pooled = _encode(pipe, [""])

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        pick = torch.randint(len(clean), (BATCH,), generator=generator)
        even = torch.rand(BATCH, generator=generator)
        sigma = SHIFT * even / (1 + (SHIFT - 1) * even)
        noise = torch.randn(clean[pick].shape, generator=generator)
        noisy = torch.lerp(clean[pick], noise, sigma[:, None, None])
        return torch.cat([noisy, control[pick]], dim=2), sigma, noise - clean[pick]

    def loss(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        noisy, sigma, velocity = batch
        each = [it.expand(len(noisy), *it.shape[1:]) for it in (words, pooled)]
        told = _arguments(sigma, torch.full_like(sigma, GUIDANCE), *each)
        answer: Tensor = pipe.transformer(noisy, **told).sample
        return F.mse_loss(answer, velocity)

    model: nn.Module = pipe.transformer
    yield Stage("upscale", model, loss, STEPS, RATE, compiled=(model,), draw=draw)


def calls(pipe: FluxControlPipeline, count: int, seed: int) -> dict[str, Any]:
    """The arguments of a call for `count` held-out pictures, without generators."""
    return {
        "prompt": [""] * count,
        "control_image": small(_pictures(count, seed).draw()),
        "height": data.SIZE,
        "width": data.SIZE,
        "max_sequence_length": TEXT_TOKENS,
        "guidance_scale": GUIDANCE,
        "num_inference_steps": 50,
        "output_type": "pt",
    }


def samples(output: Any) -> Tensor:
    """What a call gave, `(n, 3, h, w)` in [0, 1]."""
    found: Tensor = output.images
    return found


def worth(made: Tensor, count: int, seed: int) -> str:
    """How well samples show what the small pictures were made of, beside bicubic ones."""
    true = _pictures(count, seed).draw() / 2 + 0.5
    bicubic = small(true * 2 - 1) / 2 + 0.5
    near, usual = (
        -10 * ((it - true) ** 2).flatten(1).mean(1).log10().mean().item() for it in (made, bicubic)
    )
    return f"PSNR to the true picture {near:.1f} dB, of bicubic interpolation {usual:.1f} dB"


def size(rows: int) -> tuple[float, float]:
    """Inches of the picture of so many rows, beside the small pictures and the true ones."""
    return SHOWN, (rows + 2) * 1.12 + 0.5


def draw(figure: Any, shown: dict[str, Tensor], count: int, seed: int) -> None:
    """Rows of pictures: the small ones, what was made of them, the true ones."""
    true = _pictures(count, seed).draw()
    rows = {"small": small(true) / 2 + 0.5, **shown, "true": true / 2 + 0.5}
    for axes, (title, pictures) in zip(figure.subplots(len(rows)), rows.items()):
        axes.imshow(torch.cat([*pictures[:SHOWN]], dim=2).movedim(0, 2), interpolation="nearest")
        axes.set_title(title, fontsize=9, loc="left", pad=2)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_linewidth(0.5)


def small(pictures: Tensor) -> Tensor:
    """Pictures at 8x8, brought back to their size by bicubic interpolation."""
    tiny = F.interpolate(pictures, size=(SMALL, SMALL), mode="area")
    wide = F.interpolate(tiny, size=pictures.shape[-2:], mode="bicubic", antialias=False)
    return wide.clamp(-1, 1)


def _pictures(count: int, seed: int) -> Subjects:
    held_out = subjects_of(data.scans("held-out"), "held-out")
    return held_out.sample(count, torch.Generator().manual_seed(seed))


@torch.no_grad()
def _packed(pipe: FluxControlPipeline, batches: Iterable[Tensor]) -> Tensor:
    config = pipe.vae.config
    latents = torch.cat([pipe.vae.encode(it).latent_dist.mean for it in batches])
    scaled = (latents - config.shift_factor) * config.scaling_factor
    packed: Tensor = FluxControlPipeline._pack_latents(scaled, *scaled.shape)
    return packed
