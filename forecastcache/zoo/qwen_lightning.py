"""Recipe of `zoo:qwen-lightning`: zoo:qwen-digits in 8 steps of one call each.

As Qwen-Image-Lightning is to Qwen-Image: the same pipeline with other weights and another
scheduler. From each of 8 noise levels the network is to go in one step, without guidance, to where
its teacher goes in four steps of two calls (Salimans and Ho, Progressive distillation, 2202.00512;
guidance distilled in the same step, Meng et al., 2210.03142).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, QwenImagePipeline
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache import zoo
from forecastcache.zoo import data, judge, qwen_digits, scores, text
from forecastcache.zoo.flat import flattened
from forecastcache.zoo.pictures import captioned, subjects_of
from forecastcache.zoo.training import Stage

TEACHER = "qwen-digits"
EIGHT, SUBSTEPS = 8, 4
SCALE = zoo.entry(TEACHER).call["true_cfg_scale"]
NEGATIVE = zoo.entry(TEACHER).call["negative_prompt"]
STEPS, BATCH, RATE = 800, 48, 5e-4
SHIFT = qwen_digits.SHIFT

DATA = f"""what zoo:{TEACHER} was trained on, and zoo:{TEACHER} itself, which teaches it."""
asked = judge.asked
reader = judge.Judge.load
real = scores.real_pictures


def pipeline() -> QwenImagePipeline:
    """The teacher's pipeline, with the scheduler of the student."""
    pipe = DiffusionPipeline.from_pretrained(zoo.folder(TEACHER), dtype=torch.float32)
    pipe.register_modules(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=math.log(SHIFT), max_shift=math.log(SHIFT)
        )
    )
    return pipe


def stages(pipe: QwenImagePipeline, seed: int) -> Iterator[Stage]:
    """The one stage of its training."""
    teacher = DiffusionPipeline.from_pretrained(zoo.folder(TEACHER), dtype=torch.float32)
    subjects = subjects_of(data.scans("train"))
    with flattened(pipe.vae):
        latents = qwen_digits.latents_as_seen(pipe.vae, subjects)
    yield Distillation(
        pipe.transformer,
        teacher.transformer.requires_grad_(False),
        text.remembered(partial(qwen_digits.encode, pipe)),
        captioned(latents, subjects, BATCH),
    ).stage(STEPS)


@dataclass(frozen=True)
class Distillation:
    """How the student learns.

    Attributes:
        student: transformer to train.
        teacher: transformer that it learns from.
        encode: function of captions, to what the text encoder makes of them.
        batch: function that draws latents and their captions.
    """

    student: nn.Module
    teacher: nn.Module
    encode: Callable[[list[str]], tuple[Tensor, ...]]
    batch: Callable[[torch.Generator], tuple[Tensor, list[str]]]

    def stage(self, steps: int) -> Stage:
        """The stage that trains it."""
        levels = levels_of_sampler(EIGHT)

        def loss(generator: torch.Generator) -> Tensor:
            latents, said = self.batch(generator)
            count = len(latents)
            which = torch.randint(EIGHT, (count,), generator=generator)
            high, low = levels[which, None, None], levels[which + 1, None, None]
            noise = torch.randn(latents.shape, generator=generator)
            start = torch.lerp(latents, noise, high)
            words, empty = self.encode(said), self.encode([NEGATIVE] * count)
            reached = start
            for part in range(SUBSTEPS):
                before = torch.lerp(high, low, part / SUBSTEPS)
                there = before.flatten()
                with torch.no_grad():
                    towards = _velocity(self.teacher, reached, there, words)
                    away = _velocity(self.teacher, reached, there, empty)
                guided = _as_long_as(torch.lerp(away, towards, SCALE), towards)
                reached = reached + guided * (low - high) / SUBSTEPS
            wanted = (reached - start) / (low - high)
            return F.mse_loss(_velocity(self.student, start, high.flatten(), words), wanted)

        return Stage("lightning", self.student, loss, steps, RATE)


def levels_of_sampler(steps: int) -> Tensor:
    """Where the sampler computes, `(steps + 1,)`, from 1 to 0."""
    even = torch.linspace(1, 0, steps + 1)
    return SHIFT * even / (1 + (SHIFT - 1) * even)


def _as_long_as(vectors: Tensor, others: Tensor) -> Tensor:
    """What the pipeline does to guided velocities."""
    lengths, wanted = (it.norm(dim=-1, keepdim=True) for it in (vectors, others))
    scaled: Tensor = vectors * wanted / lengths
    return scaled


def _velocity(model: Any, noisy: Tensor, sigma: Tensor, said: tuple[Tensor, ...]) -> Tensor:
    arguments = qwen_digits.arguments(sigma, torch.ones(len(noisy)), *said)
    velocity: Tensor = model(noisy, **arguments).sample
    return velocity
