"""Single frames take the short way through video autoencoders and come out the same."""

from __future__ import annotations

import pytest
import torch

from forecastcache.zoo import hunyuan_digits, qwen_digits
from forecastcache.zoo.flat import flattened


@pytest.mark.parametrize("recipe", [hunyuan_digits, qwen_digits])
@pytest.mark.parametrize("frames", [1, 5])
def test_what_comes_out_is_the_same_as_the_long_way(recipe, frames):
    torch.manual_seed(0)
    vae = recipe._vae().double()
    clip = torch.randn(2, 3, frames, 32, 32, dtype=torch.float64)

    def through() -> tuple[torch.Tensor, torch.Tensor]:
        latent = vae.encode(clip).latent_dist.mean
        return latent, vae.decode(latent).sample

    long = through()
    forwards = [module.forward for module in vae.modules()]
    with flattened(vae):
        short = through()
    for a, b in zip(long, short):
        torch.testing.assert_close(a, b)
    assert [module.forward for module in vae.modules()] == forwards
