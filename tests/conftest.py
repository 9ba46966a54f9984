"""Small stock models with random weights, for everything but fidelity."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    UNet2DModel,
)
from hypothesis import settings
from torch import nn

from forecastcache.cli.app import run_app

from .browser import browser  # noqa: F401  # a fixture

# Seconds say nothing on a shared machine.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

# Threads cost small models more than they give.
torch.set_num_threads(1)


def shell(*command: object, cwd: Path) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fingerprint(model: nn.Module) -> tuple:
    """Everything by which a model could be told from one that was never attached to."""
    modules = [(name, id(module)) for name, module in model.named_modules()]
    dicts = [(name, sorted(module.__dict__)) for name, module in model.named_modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return modules, dicts, hooks, model.forward, list(model.state_dict())


EVERYTHING = bool(os.environ.get("EVERYTHING"))  # also what is too long for CI
SITES = ("output", "hidden", "block", "module")


def make_transformer(seed: int = 0, sample_size: int = 8) -> DiTTransformer2DModel:
    torch.manual_seed(seed)
    return DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        sample_size=sample_size,
        patch_size=2,
    ).eval()


def make_pipeline(seed: int = 0, sample_size: int = 8) -> DiTPipeline:
    transformer = make_transformer(seed, sample_size)
    vae = AutoencoderKL(
        block_out_channels=(8,), latent_channels=4, norm_num_groups=4, sample_size=sample_size
    ).eval()
    pipe = DiTPipeline(transformer, vae, DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_unconditional() -> DDIMPipeline:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()
    pipe = DDIMPipeline(unet, DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample(
    pipe: DiTPipeline,
    steps: int = 12,
    classes: tuple[int, ...] = (1, 2),
    seed: int = 0,
    guidance_scale: float = 4.0,
) -> torch.Tensor:
    """The pipeline's picture as a tensor `(n, h, w, 3)`, the same for the same arguments."""
    images = pipe(
        list(classes),
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(seed),
        guidance_scale=guidance_scale,
        output_type="np",
    ).images
    return torch.from_numpy(images)


@pytest.fixture
def pipe() -> DiTPipeline:
    return make_pipeline()


@pytest.fixture
def forecastcache(capsys):
    """Run the command line in this process: exit code, standard output, last line of errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            run_app([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return call
