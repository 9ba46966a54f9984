"""Sound: Stable Audio's pipeline, made small, plays a second of chirps, chords and scales.

A stock `StableAudioPipeline`: 2,048 samples at 2 kHz, Oobleck autoencoder to 32 latents of 8
channels, 4 blocks of width 96, T5 for the captions, true guidance in one batch, EDM's noise levels
(Karras et al., 2206.00364) with Stable Audio's velocity (Evans et al., 2407.14358).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import (
    AutoencoderOobleck,
    EDMDPMSolverMultistepScheduler,
    StableAudioDiTModel,
    StableAudioPipeline,
)
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import remove_weight_norm

from forecastcache.zoo import text
from forecastcache.zoo.training import Stage

RATE, LENGTH = 2000, 2048  # samples a second, samples
CHANNELS, HOP = 8, 64  # of the latents, and samples for each
NOTES = ("c", "d", "e", "f", "g", "a")
SEMITONES = (0, 2, 4, 5, 7, 9)
REGISTERS = {"low": 110.0, "high": 220.0}  # Hz of their lowest note
KINDS = ("rising chirp", "falling chirp", "chord", "scale")
TOGETHER = (0, 4, 7)  # semitones of a chord's notes above its lowest
HARMONICS = 4
SHOWN = 5  # sounds in a row of the page's picture
HIGHEST = 900.0  # Hz, below half the rate
TOKENS = 8
BATCH, VAE_STEPS, STEPS = 32, 1200, 2500
SOUNDS, VAE_BATCH = 3072, 8
DROPPED = 0.12  # share of captions that are left out
GUIDANCE = 3.0


def pipeline() -> StableAudioPipeline:
    """The pipeline, untrained."""
    words = [*NOTES, *REGISTERS, *" ".join(KINDS).split(), "a", "in"]
    encoder, tokenizer = text.t5(words)
    tokenizer.model_max_length = TOKENS
    vae = AutoencoderOobleck(
        encoder_hidden_size=16,
        downsampling_ratios=[4, 4, 4],
        channel_multiples=[1, 2, 4],
        decoder_channels=12,
        decoder_input_channels=CHANNELS,
        audio_channels=1,
        sampling_rate=RATE,
    )
    transformer = StableAudioDiTModel(
        sample_size=LENGTH // HOP,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=4,
        attention_head_dim=24,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        cross_attention_dim=text.WIDTH,
        cross_attention_input_dim=text.WIDTH,
        time_proj_dim=64,
        global_states_input_dim=2 * text.WIDTH,
    )
    scheduler = EDMDPMSolverMultistepScheduler(
        sigma_min=0.02,
        sigma_max=80.0,
        sigma_schedule="exponential",
        prediction_type="v_prediction",
    )
    # As it is after loading for use; an average of weights cannot be kept of normed ones.
    for module in vae.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
    projection = StableAudioProjectionModel(text.WIDTH, text.WIDTH, 0, 2)
    for each in (encoder, projection):
        each.eval().requires_grad_(False)
    return StableAudioPipeline(vae, encoder, projection, tokenizer, transformer, scheduler)


def stages(pipe: StableAudioPipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training."""
    yield Stage("sound-vae", pipe.vae, lambda it: _vae_loss(pipe, it), VAE_STEPS, 1e-3, 0.99)

    generator = torch.Generator().manual_seed(seed)
    said = [_drawn(generator) for _ in range(SOUNDS)]
    waves = torch.stack([wave(it, generator) for it in said])
    with torch.no_grad():
        latents = torch.cat([pipe.vae.encode(it).latent_dist.mean for it in waves.split(64)])
    spread = round(latents.std().item(), 4)
    pipe.scheduler.register_to_config(sigma_data=spread)
    captions = [caption(it) for it in said]
    every = dict(zip(dict.fromkeys(captions), _told(pipe, list(dict.fromkeys(captions)))))

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        pick = torch.randint(len(latents), (BATCH,), generator=generator)
        angle = (0.003 + 0.994 * torch.rand(BATCH, generator=generator)) * math.pi / 2
        words = torch.stack([every[captions[it]] for it in pick.tolist()])
        words = words * (torch.rand(BATCH, 1, 1, generator=generator) > DROPPED)
        return latents[pick], angle, torch.randn(latents[pick].shape, generator=generator), words

    def loss(batch: tuple[Tensor, ...]) -> Tensor:
        clean, angle, noise, words = batch
        cosine, sine = (it[:, None, None] for it in (angle.cos(), angle.sin()))
        clean = clean / spread
        velocity = cosine * noise - sine * clean
        noisy = cosine * clean + sine * noise
        # As the scheduler has it, at sigma = spread tan(angle).
        time = 0.25 * (spread * angle.tan()).log()
        answer = pipe.transformer(
            noisy, time, words, _seconds(pipe, BATCH), _rotary(pipe), return_dict=False
        )[0]
        return F.mse_loss(answer, velocity)

    model = pipe.transformer
    yield Stage("sound", model, loss, STEPS, 2e-3, open_ended=True, draw=draw)


def calls(pipe: StableAudioPipeline, count: int, seed: int) -> dict[str, Any]:
    """The arguments of a call for `count` sounds, without generators."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "prompt": [caption(_drawn(generator)) for _ in range(count)],
        "audio_end_in_s": LENGTH / RATE,
        "guidance_scale": GUIDANCE,
        "num_inference_steps": 50,
    }


def samples(output: Any) -> Tensor:
    """What a call gave, `(n, 1, samples)` in [0, 1]."""
    found: Tensor = output.audios / 2 + 0.5
    return found


def worth(made: Tensor, count: int, seed: int) -> str:
    """Whether sounds have most of their power where what was asked for has it."""
    generator = torch.Generator().manual_seed(seed)
    asked = [_drawn(generator) for _ in range(count)]
    true = torch.stack([wave(it, generator) for it in asked])
    own, wanted = (_spectrum(it) for it in ((made - 0.5) * 2, true))
    alike = (own @ wanted.T).argmax(1)
    right = [asked[one] == asked[other] for one, other in enumerate(alike.tolist())]
    share = sum(right) / count
    return f"{share:.0%} of {count} are nearest, by spectrum, to what was asked for"


def size(rows: int) -> tuple[float, float]:
    """Inches of the picture of so many rows, beside that of the sounds as asked for."""
    return 1.7 * SHOWN, 1.3 * (rows + 1) + 0.9


def draw(figure: Any, shown: dict[str, Tensor], count: int, seed: int) -> None:
    """Rows of spectrograms: sounds as asked for, and what was made."""
    generator = torch.Generator().manual_seed(seed)
    asked = [_drawn(generator) for _ in range(count)]
    true = torch.stack([wave(it, generator) for it in asked])
    rows = {"one as asked for": true} | {what: made * 2 - 1 for what, made in shown.items()}
    grid = figure.subplots(len(rows), SHOWN, sharex=True, sharey=True)
    for axes, sound in zip(grid[0], asked):
        axes.set_title(caption(sound), fontsize=8)
    for line, (title, waves) in zip(grid, rows.items()):
        line[0].set_ylabel(title, fontsize=8)
        for axes, power in zip(line, _magnitudes(waves[:SHOWN], 256)):
            loud = 20 * power.clamp(min=1e-3).log10()
            axes.imshow(loud, origin="lower", aspect="auto", vmin=-20, vmax=35)
            axes.set(xticks=[], yticks=[])
    figure.supxlabel("time, one second", fontsize=9)
    figure.supylabel(f"frequency, up to {RATE // 2} Hz", fontsize=9)


Sound = tuple[str, str, str]


def caption(sound: Sound) -> str:
    kind, note, register = sound
    return f"a {kind} in {register} {note}"


def wave(sound: Sound, generator: torch.Generator) -> Tensor:
    """One second of a sound, `(1, samples)` in [-1, 1], no two alike."""
    kind, note, register = sound
    lowest = REGISTERS[register] * 2 ** (SEMITONES[NOTES.index(note)] / 12)
    tune, phase, decay = torch.rand(3, generator=generator).tolist()
    lowest *= 2 ** ((tune - 0.5) / 60)
    time = torch.arange(LENGTH) / LENGTH
    if kind == "chord":
        parts = [torch.full((LENGTH,), lowest * 2 ** (it / 12)) for it in TOGETHER]
    elif kind == "scale":
        steps = torch.tensor(TOGETHER).repeat_interleave(LENGTH // 3 + 1)[:LENGTH]
        parts = [lowest * 2 ** (steps / 12)]
    else:
        rising = time if kind == "rising chirp" else 1 - time
        parts = [lowest * 2**rising]
    turns = [(it / RATE).cumsum(0) + phase for it in parts]
    sung = sum(
        (2 * math.pi * number * turn).sin() / number**1.5 * (number * pitch < HIGHEST)
        for pitch, turn in zip(parts, turns)
        for number in range(1, HARMONICS + 1)
    )
    envelope = (1 - (-60 * time).exp()) * (-(1 + 2 * decay) * time).exp()
    played: Tensor = sung * envelope
    return (played / played.abs().max() * 0.9)[None]


def _drawn(generator: torch.Generator) -> Sound:
    kind, note, register = (
        int(torch.randint(it, (), generator=generator)) for it in (len(KINDS), len(NOTES), 2)
    )
    return KINDS[kind], NOTES[note], [*REGISTERS][register]


def _vae_loss(pipe: StableAudioPipeline, generator: torch.Generator) -> Tensor:
    waves = torch.stack([wave(_drawn(generator), generator) for _ in range(VAE_BATCH)])
    latents = pipe.vae.encode(waves).latent_dist.mean
    blurred = latents + 0.05 * torch.randn(latents.shape, generator=generator)
    made = pipe.vae.decode(blurred).sample
    heard: Tensor = (made - waves).abs().mean() + 1e-3 * latents.square().mean()
    for size in (64, 256):
        own, wanted = (_magnitudes(it, size) for it in (made, waves))
        heard = heard + 0.02 * (own - wanted).abs().mean()
    return heard


def _magnitudes(waves: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size)
    return torch.stft(waves[:, 0], size, size // 4, window=window, return_complex=True).abs()


def _spectrum(waves: Tensor) -> Tensor:
    return F.normalize(_magnitudes(waves, 256).flatten(1), dim=1)


@torch.no_grad()
def _told(pipe: StableAudioPipeline, captions: list[str]) -> Tensor:
    """Captions as the transformer is told them, the seconds behind their words."""
    words = pipe.encode_prompt(captions, "cpu", False)
    seconds = pipe.encode_duration(0.0, LENGTH / RATE, "cpu", False, len(captions))
    return torch.cat([words, *seconds], dim=1)


@torch.no_grad()
def _seconds(pipe: StableAudioPipeline, count: int) -> Tensor:
    return torch.cat(pipe.encode_duration(0.0, LENGTH / RATE, "cpu", False, count), dim=2)


def _rotary(pipe: StableAudioPipeline) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = get_1d_rotary_pos_embed(
        pipe.rotary_embed_dim, LENGTH // HOP + 1, use_real=True, repeat_interleave_real=False
    )
    return found
