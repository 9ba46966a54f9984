"""Pipelines that call their denoiser by other names, with several times, or with nests.

What a run must come to is made here by a cache of a few lines that counts the scheduler's steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import diffusers
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

import forecastcache as fc
from forecastcache.engine.call import AttachedModel
from forecastcache.errors import AttachError
from forecastcache.registry import adapter_for

from .pipelines import image_vae, quiet, rand, run, without
from .tiny import make

STEPS = 7
COMPUTED = (0, 1, 3, 4)


class Case(NamedTuple):
    """A pipeline, the name of its denoiser, and what it is called with."""

    pipe: Any
    part: str
    request: dict[str, Any]
    branches: int = 1


class Pieces:
    """A pipeline by somebody else, or a part of which only a few things are read."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__ |= parts


def stable_cascade_prior(guidance_scale: float = 4.0) -> Case:
    pipe = diffusers.StableCascadePriorPipeline(
        prior=make("stable_cascade_prior").model,
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        text_encoder=Pieces(dtype=torch.float32),
        tokenizer=None,
    )
    request = {
        "prompt_embeds": rand(1, 5, 12),
        "prompt_embeds_pooled": rand(1, 1, 10),
        "negative_prompt_embeds": -rand(1, 5, 12),
        "negative_prompt_embeds_pooled": -rand(1, 1, 10),
        "guidance_scale": guidance_scale, "height": 256, "width": 256, "output_type": "pt",
        "num_inference_steps": STEPS,
    }  # fmt: skip
    if guidance_scale <= 1:
        request = {name: it for name, it in request.items() if not name.startswith("negative")}
    return Case(quiet(pipe), "prior", request)


def stable_cascade_prior_without_guidance() -> Case:
    return stable_cascade_prior(guidance_scale=0.0)


def stable_cascade_decoder() -> Case:
    pipe = diffusers.StableCascadeDecoderPipeline(
        decoder=make("stable_cascade").model,
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        text_encoder=Pieces(dtype=torch.float32),
        latent_dim_scale=2.0,
        **without("tokenizer", "vqgan"),
    )
    request = {
        "image_embeddings": rand(1, 6, 4, 4),
        "prompt_embeds": rand(1, 5, 12), "prompt_embeds_pooled": rand(1, 1, 10),
        "negative_prompt_embeds": -rand(1, 5, 12),
        "negative_prompt_embeds_pooled": -rand(1, 1, 10),
        "guidance_scale": 1.1, "num_inference_steps": STEPS,
    }  # fmt: skip
    return Case(quiet(pipe), "decoder", request)


def unidiffuser() -> Any:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(
        **small, intermediate_size=16, vocab_size=20, max_position_embeddings=5, eos_token_id=1
    )
    vision = CLIPVisionConfig(
        **small, intermediate_size=16, image_size=8, patch_size=4, projection_dim=10
    )
    pipe = diffusers.UniDiffuserPipeline(
        unet=make("unidiffuser").model,
        vae=image_vae(latent_channels=4),
        text_encoder=CLIPTextModel(text),
        image_encoder=CLIPVisionModelWithProjection(vision),
        text_decoder=diffusers.UniDiffuserTextDecoder(
            prefix_length=5, prefix_inner_dim=16, prefix_hidden_dim=12, vocab_size=20, n_embd=16,
            n_layer=1, n_head=2, n_positions=80,
        ),
        text_tokenizer=Pieces(eos_token_id=1, decode=lambda *_, **__: ""),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
        **without("clip_image_processor", "clip_tokenizer"),
    )  # fmt: skip
    return quiet(pipe)


def unidiffuser_text_to_image() -> Case:
    """The text stands still, at time 0; for the other half of guidance it is noise, at 1000."""
    pipe = unidiffuser()
    pipe.set_text_to_image_mode()
    request = {
        "prompt_embeds": rand(1, 5, 16), "negative_prompt_embeds": -rand(1, 5, 16),
        "height": 16, "width": 16, "guidance_scale": 3.0, "num_inference_steps": STEPS,
    }  # fmt: skip
    return Case(pipe, "unet", request, branches=2)


def unidiffuser_joint() -> Case:
    """Image and text move; each is held still in one of the other two calls of a step."""
    pipe = unidiffuser()
    pipe.set_joint_mode()
    size = {"height": 16, "width": 16, "guidance_scale": 3.0, "num_inference_steps": STEPS}
    return Case(pipe, "unet", size, branches=3)


class Words:
    """As much of a tokenizer as Cosmos 3's pipeline asks for."""

    eos_token_id = 1

    def convert_tokens_to_ids(self, token: str) -> int:
        return 2

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        words = conversation[-1]["content"].split()
        return Pieces(input_ids=[3 + len(word) % 15 for word in words])


class Sound(nn.Module):
    """In the place of a vocoder."""

    _hop_size = 10
    config = Pieces(sampling_rate=100)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def cosmos3() -> Case:
    """Tokens of a video and of its sound with a time each; the text before them is integers."""
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    pipe = diffusers.Cosmos3OmniPipeline(
        transformer=make("cosmos3").model,
        text_tokenizer=Words(),
        vae=vae,
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True
        ),
        sound_tokenizer=Sound(),
        enable_safety_checker=False,
    )
    request = {
        "prompt": "a red seven", "negative_prompt": "noise", "num_frames": 5, "height": 32,
        "width": 48, "guidance_scale": 3.0, "num_inference_steps": STEPS, "enable_sound": True,
    }  # fmt: skip
    return Case(quiet(pipe), "transformer", request, branches=2)


CASES = (
    stable_cascade_prior, stable_cascade_prior_without_guidance, stable_cascade_decoder,
    unidiffuser_text_to_image, unidiffuser_joint, cosmos3,
)  # fmt: skip


@contextmanager
def counted(pipe: Any, part: str) -> Iterator[None]:
    """Lines through the two newest computed outputs of each call of a step, by the step's number.

    Steps are counted as the scheduler makes them: no time is read, no argument compared.
    """
    model, kind = getattr(pipe, part), type(pipe.scheduler)
    forward, advance = model.forward, kind.step
    place = {"step": 0, "call": 0}
    kept: dict[int, list[tuple[int, list[Any]]]] = {}

    def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        if scheduler is pipe.scheduler:  # a sound has a copy, which steps beside it
            place["step"], place["call"] = place["step"] + 1, 0
        return advance(scheduler, *args, **kwargs)

    def call(*args: Any, **kwargs: Any) -> Any:
        known = kept.setdefault(place["call"], [])
        place["call"] += 1
        now = place["step"]
        if now in COMPUTED:
            output = forward(*args, **kwargs)
            leaves, form = pytree.tree_flatten(output)
            known.append((now, [*leaves, form]))
            return output
        (before, (*x, _)), (newest, (*y, form)) = known[-2:]
        share = (now - newest) / (newest - before)
        made = [b if b is None else b + (b - a) * share for a, b in zip(x, y, strict=True)]
        return pytree.tree_unflatten(made, form)

    model.forward, kind.step = call, step
    try:
        yield
    finally:
        del model.forward
        kind.step = advance


@pytest.mark.parametrize("make_case", CASES, ids=lambda case: case.__name__)
def test_a_run_is_what_counting_the_schedulers_steps_makes_it(make_case):
    pipe, part, request, branches = make_case()
    plain = run(pipe, request)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(order=1)):
        assert torch.equal(run(pipe, request), plain)
    with counted(pipe, part):
        wanted = run(pipe, request)
    with fc.attach(pipe, fc.Listed(COMPUTED), fc.Taylor(order=1)) as session:
        got = run(pipe, request)
        report = session.report()
        again = run(pipe, request)
    assert report.computed == COMPUTED
    assert len(report.calls) == STEPS * branches
    assert {call.branch for call in report.calls} == set(range(branches))
    assert {call.step.total for call in report.calls} == {STEPS}
    assert report.cache_bytes == report.cache_bytes_planned
    # Weights of a sum against a slope, in float32, over the solver's steps.
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(again, got)
    assert not torch.allclose(got, plain, rtol=1e-3, atol=1e-3)
    assert torch.equal(run(pipe, request), plain)


def test_the_sample_is_what_moves_and_not_the_positions_before_it():
    tiny = make("cosmos3")
    adapter = adapter_for(tiny.model)
    call = AttachedModel(tiny.model, adapter, "output").read(
        tiny.model.forward, (), tiny.arguments
    )
    assert torch.equal(call.sample, tiny.arguments["vision_tokens"][0][None])
    assert [time.shape for time in call.times] == [(12,), (4,)]
    assert any(torch.equal(tiny.arguments["input_ids"], each) for each in call.conditions)


def combined() -> Any:
    prior, decoder = stable_cascade_prior().pipe, stable_cascade_decoder().pipe
    pipe = diffusers.StableCascadeCombinedPipeline(
        prior_prior=prior.prior, prior_scheduler=prior.scheduler, decoder=decoder.decoder,
        scheduler=decoder.scheduler,
        **without(
            "tokenizer", "text_encoder", "vqgan", "prior_text_encoder", "prior_tokenizer",
            "prior_feature_extractor", "prior_image_encoder",
        ),
    )  # fmt: skip
    return pipe


def test_a_pipeline_with_two_denoisers_is_refused_and_the_pipelines_inside_are_named():
    pipe = combined()
    with pytest.raises(AttachError) as refused:
        fc.attach(pipe, fc.Every(3), fc.Taylor())
    said = str(refused.value)
    assert "several models that take a time, decoder, prior_prior" in said
    assert "attach pipe.prior_pipe or pipe.decoder_pipe" in said
    with fc.attach(pipe.prior_pipe, fc.Every(3), fc.Taylor()):
        pass


class Told(nn.Module):
    def forward(self, sample, sigma):
        return sample * sigma


def test_a_pipeline_without_a_denoiser_is_refused_and_controlnets_do_not_count():
    torch.manual_seed(0)
    controlnet = diffusers.ControlNetModel(
        in_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=12,
        attention_head_dim=4,
    )  # fmt: skip
    with pytest.raises(AttachError, match=r"no transformer or unet .* an Adapter with that name"):
        fc.attach(Pieces(net=Told(), guide=controlnet), fc.Every(3), fc.Taylor())


def test_several_denoisers_of_other_names_are_to_be_given_themselves():
    with pytest.raises(AttachError, match=r"one, other, .* attach pipe.one or pipe.other$"):
        fc.attach(Pieces(one=Moves(), other=Moves()), fc.Every(3), fc.Taylor())


class Moves(nn.Module):
    """Takes two samples in a dictionary, and gives a dictionary and a list."""

    def forward(self, timestep, samples, condition=None):
        time = torch.as_tensor(timestep).max()
        image = samples["image"] * time + (0 if condition is None else condition["text"].mean())
        return {"image": image, "parts": [samples["sound"] + time, None, "note"]}


def test_samples_and_outputs_in_dictionaries():
    model = Moves()
    samples = {"image": rand(2, 3), "sound": rand(4)}
    texts = [{"text": rand(2, 5)}, {"text": -rand(2, 5)}]
    with fc.attach(model, fc.Listed([0, 1]), fc.Taylor()) as session:
        for time in (4.0, 3.0):
            for text in texts:
                model(time, samples, text)
        got = [model(torch.tensor(2.0), samples, text) for text in texts]
    for text, output in zip(texts, got, strict=True):
        expected = model(2.0, samples, text)
        torch.testing.assert_close(output["image"], expected["image"])
        torch.testing.assert_close(output["parts"][0], expected["parts"][0])
        assert output["parts"][1:] == [None, "note"]
    assert [call.branch for call in session.report().calls] == [0, 1] * 3


def test_a_batch_in_a_dictionary_that_is_halved_begins_anew():
    model = Moves()

    def samples(count: int) -> dict[str, Any]:
        return {"image": rand(count, 3), "sound": rand(count)}

    with fc.attach(model, fc.Listed([0, 1]), fc.Taylor()) as session:
        for time, count in ((5.0, 2), (4.0, 2), (3.0, 1), (2.0, 1)):
            model(time, samples(count))
    report = session.report()
    assert report.computed == (0, 1, 2)
    assert {call.branch for call in report.calls} == {0}


class Both(nn.Module):
    def forward(self, bb_ca, local_latents, bb_ca_time, local_latents_time):
        return bb_ca * bb_ca_time, local_latents * local_latents_time


def test_times_may_rise_in_a_pipeline_whose_schedulers_have_other_names():
    """As RFD4-Proteina's two, which begin at 0."""
    pipe = Pieces(transformer=Both())
    x, y = rand(2, 3), rand(2, 4)
    with fc.attach(pipe, fc.Listed([0, 1, 2]), fc.Taylor()) as session:
        for index in range(5):
            got = pipe.transformer(x, y, torch.tensor(index / 5), torch.tensor(index / 10))
    assert session.report().computed == (0, 1, 2)
    torch.testing.assert_close(got, (x * 0.8, y * 0.4))
