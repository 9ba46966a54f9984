"""The recipe of emoji, on a handful of pictures that need no package, in two steps a stage."""

from __future__ import annotations

import diffusers
import pytest
import torch
from safetensors import safe_open

from forecastcache import zoo
from forecastcache.errors import CheckpointError, MissingDataError, UnknownNameError
from forecastcache.sampling.request import Request
from forecastcache.zoo import flux_emoji, train
from forecastcache.zoo.emoji import names, pictures
from forecastcache.zoo.emoji.judge import EmojiJudge


class FewSteps(Request):
    @classmethod
    def of(cls, *arguments, **fields):
        return Request.of(*arguments, **{**fields, "steps": 2})


@pytest.fixture
def handful(monkeypatch):
    """Pictures out of noise; few of them, and few steps."""
    noise = torch.randint(256, (8, 4, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    every = noise[torch.arange(len(names.known())) % len(noise)]
    monkeypatch.setattr(pictures, "originals", lambda: every)
    small = {"POOL": 8, "MEASURED": 4, "BATCH": 4, "PARTS": 2, "WHOLES": 2}
    steps = ("READING_STEPS", "VAE_STEPS", "STEPS", "GUIDANCE_STEPS", "DECODER_STEPS")
    for name, number in {**small, **dict.fromkeys(steps, 2)}.items():
        monkeypatch.setattr(flux_emoji, name, number)
    monkeypatch.setattr(train, "Request", FewSteps)
    monkeypatch.setattr(EmojiJudge, "accuracy", lambda self: "untrained, reads nothing")
    monkeypatch.setattr(flux_emoji, "reader", EmojiJudge)


def test_it_is_made_from_nothing_and_shown_on_the_way(handful, tmp_path, capsys):
    with pytest.raises(CheckpointError, match="is not there: train the stages before it first"):
        train.train("flux-emoji", tmp_path / "work", preview=True)
    train.train("flux-emoji", tmp_path / "work", tmp_path / "model", samples=2, steps=3)
    made = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "model")
    assert type(made) is diffusers.FluxPipeline
    transformer = made.transformer
    blocks = len(transformer.transformer_blocks) + len(transformer.single_transformer_blocks)
    assert (blocks, transformer.config.guidance_embeds) == (10, True)
    weights = tmp_path / "model" / "transformer" / "diffusion_pytorch_model.safetensors"
    with safe_open(weights, "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118
    files = [file for file in (tmp_path / "model").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 24_000_000
    card = (tmp_path / "model" / "README.md").read_text()
    for said in ("Noto Emoji (Apache-2.0)", "true_cfg_scale=5.0", "of 2 samples", "16.0.0"):
        assert said in card
    saved = torch.load(tmp_path / "work" / "zoo" / "flux-emoji" / "transformer.pt")
    assert (saved["steps"], len(saved["losses"])) == (3, 3)
    capsys.readouterr()
    train.train("flux-emoji", tmp_path / "work", preview=True, samples=2)
    assert "of 2 judged as asked" in capsys.readouterr().out
    assert (tmp_path / "work" / "zoo" / "flux-emoji" / "preview.png").stat().st_size > 1000


def test_both_kinds_of_guidance_are_asked_for_as_flux_takes_them(handful):
    pipe = flux_emoji.pipeline()
    pipe.set_progress_bar_config(disable=True)
    for parameter in pipe.transformer.parameters():
        parameter.data.normal_(std=0.1)
    call = {**zoo.entry("flux-emoji").call, "num_inference_steps": 2, "output_type": "latent"}

    def sample(**changes) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return pipe("fox on navy", generator=generator, **{**call, **changes}).images

    assert sample().shape == (1, 64, 16)
    true = sample(**zoo.entry("flux-emoji-true").call | {"num_inference_steps": 2})
    assert not torch.equal(true, sample(guidance_scale=1.0))


def test_a_picture_of_the_pool_is_encoded_once(handful, monkeypatch):
    pipe = flux_emoji.pipeline()
    encoded: list[int] = []
    whole = flux_emoji.latents_of

    def counted(vae, batches):
        found = whole(vae, batches)
        encoded.append(len(found))
        return found

    monkeypatch.setattr(flux_emoji, "latents_of", counted)
    draw = flux_emoji._batches(pipe.vae.eval())
    for seed in range(20):
        latents, said = draw(torch.Generator().manual_seed(seed))
        assert latents.shape == (4, 64, 16)
        assert len(said) == 4
    assert sum(encoded) == flux_emoji.MEASURED + flux_emoji.POOL
    again, _ = draw(torch.Generator().manual_seed(19))
    assert torch.equal(again, latents)


def test_it_is_listed_once_its_weights_are_there():
    for name in zoo.RECIPES:
        assert (name in zoo.MODELS) == zoo.made(name)
    if not zoo.made("flux-emoji"):
        with pytest.raises(UnknownNameError, match="forecastcache.zoo.train flux-emoji"):
            zoo.folder("flux-emoji")


def test_without_the_pictures_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setenv(pictures.VARIABLE, str(tmp_path / "nowhere"))
    pictures.originals.cache_clear()
    with pytest.raises(MissingDataError, match="npm install --no-save"):
        train.train("flux-emoji", tmp_path / "work", tmp_path / "model")
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "model").exists()
