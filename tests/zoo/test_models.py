"""The text models that ship: stock pipelines, small, and good enough to measure on."""

from __future__ import annotations

import json
import shutil
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import forecastcache as fc
from forecastcache import zoo
from forecastcache.errors import RequestError, UnknownNameError
from forecastcache.evaluation.measure import Measure
from forecastcache.evaluation.method import Forecast
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.zoo import judge, text, train, training
from forecastcache.zoo.scores import Scorer, scorer_of

STOCK = {
    "flux-digits": (diffusers.FluxPipeline, diffusers.AutoencoderKL, 9),
    "qwen-digits": (diffusers.QwenImagePipeline, diffusers.AutoencoderKLQwenImage, 8),
    "hunyuan-digits": (diffusers.HunyuanVideoPipeline, diffusers.AutoencoderKLHunyuanVideo, 9),
}
KINDS = {name: kind for name, (kind, *_) in STOCK.items()} | {
    "qwen-lightning": diffusers.QwenImagePipeline, "wan-digits": diffusers.WanPipeline,
}  # fmt: skip
MADE = [name for name in STOCK if zoo.made(name)]
moving = pytest.mark.skipif("hunyuan-digits" not in MADE, reason="zoo:hunyuan-digits is not made")


@cache
def pipeline(name: str) -> Any:
    pipe = load(zoo.PREFIX + name)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", MADE)
def test_they_are_stock_pipelines_of_at_most_eight_megabytes(name):
    pipe, (kind, autoencoder, blocks) = pipeline(name), STOCK[name]
    assert type(pipe) is kind
    assert type(pipe.vae) is autoencoder
    lists = (pipe.transformer.transformer_blocks, getattr(
        pipe.transformer, "single_transformer_blocks", ()
    ))  # fmt: skip
    assert sum(map(len, lists)) == blocks
    assert isinstance(pipe.scheduler, diffusers.FlowMatchEulerDiscreteScheduler)
    files = [file for file in zoo.folder(name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 8_000_000


@pytest.mark.parametrize("name", MADE)
def test_weights_are_bfloat16_and_guidance_is_as_in_the_original(name):
    weights = zoo.folder(name) / "transformer" / "diffusion_pytorch_model.safetensors"
    with safe_open(weights, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert kinds == {"BF16"}
    embeds = pipeline(name).transformer.config.guidance_embeds
    assert embeds == (name != "qwen-digits")
    assert ("true_cfg_scale" in zoo.entry(name).call) == (name == "qwen-digits")


@pytest.mark.parametrize("name", [name for name in MADE if not zoo.entry(name).moving])
def test_samples_are_what_held_out_captions_ask_for(name):
    request = Request.of(zoo.PREFIX + name, count=32, steps=20)
    pictures = request.sample(pipeline(name))
    asked = judge.asked(list(request.prompts))
    scores = Scorer(judge.Judge.load(), asked, zoo.recipe(name).real()).score(pictures)
    assert scores.accuracy >= 0.85  # 0.9 of 300 samples, see the cards
    others = judge.Verdict(*(it.roll(1) for it in asked))
    assert judge.Judge.load().read(pictures * 2 - 1).agrees(others).float().mean() < 0.1


@moving
def test_clips_are_what_held_out_captions_ask_for():
    request = Request.of("zoo:hunyuan-digits", count=24, steps=20)
    clips = request.sample(pipeline("hunyuan-digits"))
    assert clips.shape == (24, 9, 3, 32, 32)
    seen = judge.Judge.load().read(clips * 2 - 1)
    assert seen.agrees(judge.asked(list(request.prompts))).float().mean() >= 0.7


@cache
def measure(name: str) -> Measure:
    request = Request.of(zoo.PREFIX + name, count=2, steps=10)
    scorer = scorer_of(zoo.PREFIX + name, request.arguments(pipeline(name)))
    return Measure(pipeline(name), request, scorer)


# Each site once, and the largest cache of each: tests/adapters has all pairs, on smaller models.
@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("flux-digits", "output"),
        ("qwen-digits", "hidden"),
        ("hunyuan-digits", "block"),
        *((name, "module") for name in STOCK),
    ],
)
def test_forecasting_is_measured_at_every_site(name, site):
    if name not in MADE:
        pytest.skip(f"zoo:{name} is not made")
    method = Forecast(fc.Taylor(order=1), fc.Every(5, first=3), site, "taylor", "every:5")
    found = measure(name)(method)
    assert found.row.computed == (0, 1, 2, 7)
    assert found.row.cache_bytes == found.row.cache_bytes_planned > 0
    assert 12 < found.row.psnr_db < 80
    assert found.plain.shape == found.samples.shape
    assert found.row.judged_plain is not None


@pytest.mark.parametrize("name", MADE)
def test_they_load_and_run_as_any_pipeline_does(name):
    """With no dtype given: what diffusers and transformers then choose must go together."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(zoo.folder(name))
    pipe.set_progress_bar_config(disable=True)
    call = {**zoo.entry(name).call, "num_inference_steps": 2}
    output = pipe("a red seven on a white background", **call)
    assert len(getattr(output, "images", getattr(output, "frames", []))) == 1


@pytest.mark.parametrize("name", MADE)
def test_all_computed_changes_nothing(name):
    request, pipe = Request.of(zoo.PREFIX + name, count=1, steps=4), pipeline(name)
    plain = request.sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(order=1), site="module"):
        assert torch.equal(request.sample(pipe), plain)


def test_unknown_words_are_named_in_one_warning():
    with pytest.warns(
        UserWarning, match="does not know 'purple', 'cat': .* it knows a, an"
    ) as said:
        request = Request.of("zoo:flux-digits", prompts=["a purple seven", "a purple cat"])
    assert len(said) == 1
    assert request.sample(pipeline("flux-digits"), num_inference_steps=2).isfinite().all()


def test_guidance_is_asked_for_by_the_name_that_counts():
    for name in MADE:
        request = Request.of(zoo.PREFIX + name, guidance_scale=1.5)
        arguments, true = request.arguments(pipeline(name)), name == "qwen-digits"
        assert arguments["true_cfg_scale" if true else "guidance_scale"] == 1.5
        assert ("guidance_scale" if true else "true_cfg_scale") not in arguments
        assert request.guidance(pipeline(name)) == 1.5


def test_a_model_that_was_not_made_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "place", lambda name: tmp_path / "flux-digits")
    with pytest.raises(UnknownNameError, match="python -m forecastcache.zoo.train flux-digits"):
        load("zoo:flux-digits")


def test_a_damaged_checkpoint_is_named_with_its_remedy(tmp_path, monkeypatch):
    broken = tmp_path / "flux-digits"
    shutil.copytree(zoo.folder("flux-digits"), broken)
    weights = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr(zoo, "folder", lambda name: broken)
    with pytest.raises(RequestError) as raised:
        load("zoo:flux-digits")
    message = str(raised.value)
    assert message.startswith("zoo:flux-digits cannot be loaded")
    assert "python -m forecastcache.zoo.train flux-digits" in message


def test_a_request_in_parts_asks_for_the_same():
    pipe = pipeline("flux-digits")
    request = Request.of("zoo:flux-digits", count=5, steps=2)
    parts = request.split(pipe, 2)
    assert [len(part.prompts) for part in parts] == [2, 2, 1]
    together = torch.cat([part.sample(pipe) for part in parts])
    torch.testing.assert_close(together, request.sample(pipe), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "name",
    ["flux-digits", *(pytest.param(it, marks=pytest.mark.slow) for it in [*KINDS][1:])],
)
def test_recipes_make_them_from_nothing(name, tmp_path, monkeypatch):
    """In two steps a stage, on a hundred pictures."""
    recipe, teach = zoo.recipe(name), text.teach
    subjects = recipe.subjects_of
    monkeypatch.setattr(training, "CAN_COMPILE", False)
    monkeypatch.setattr(recipe, "subjects_of", lambda scans: subjects(scans)[torch.arange(100)])
    monkeypatch.setattr(recipe, "CLIPS", 100, raising=False)
    monkeypatch.setattr(text, "teach", lambda *a, **k: teach(*a, **k, steps=2))
    for steps in ("VAE_STEPS", "STEPS", "GUIDANCE_STEPS", "EXPERT_STEPS"):
        monkeypatch.setattr(recipe, steps, 2, raising=False)
    train.train(name, tmp_path / "work", tmp_path / "model", samples=4)
    made = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "model")
    assert type(made) is KINDS[name]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "seed 0" in card
    assert "of 4 samples" in card
    assert (tmp_path / "model" / "samples.png").stat().st_size > 1000
    curves = [*(tmp_path / "model").glob("*-loss.png")]
    assert curves
    assert all(curve.stat().st_size > 1000 for curve in curves)


@moving
def test_a_video_is_saved_as_a_film_and_a_contact_sheet(forecastcache, tmp_path):
    code, out, _ = forecastcache(
        "run", "zoo:hunyuan-digits", "--count", 2, "--steps", 8, "--interval", 3,
        "--out", tmp_path, "--json",
    )  # fmt: skip
    figures = json.loads(out)
    assert (code, figures["samples"]) == (0, 2)
    with Image.open(figures["film"]) as film:
        assert (film.format, film.n_frames) == ("GIF", 9)
        assert film.width == film.height  # two clips beside each other, plain above forecast
    with Image.open(figures["picture"]) as sheet:
        assert sheet.width > 500
    assert {path.suffix for path in tmp_path.iterdir()} == {".gif", ".png"}


def test_prompts_from_a_file_are_asked_and_strangers_named(forecastcache, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red seven on a white background\na purple seven\n")
    code, out, err = forecastcache(
        "run", "zoo:flux-digits", "--prompts", prompts, "--steps", 6, "--interval", 2,
        "--out", tmp_path, "--json",
    )  # fmt: skip
    figures = json.loads(out)
    assert (code, figures["samples"]) == (0, 2)
    assert figures["guidance_scale"] == zoo.entry("flux-digits").call["guidance_scale"]
    assert [line for line in err.splitlines() if "does not know 'purple'" in line]
    assert err.count("does not know") == 1


def test_a_model_of_few_steps_is_asked_for_few_and_another_name_has_the_same_weights():
    assert Request.of("zoo:qwen-lightning", count=1).steps == 8
    assert Request.of("zoo:qwen-lightning", count=1, steps=4).steps == 4
    assert Request.of("zoo:flux-digits", count=1).steps == zoo.usual_steps("a/model") == 50
    assert zoo.place("flux-emoji-true") == zoo.place("zoo:flux-emoji")
    assert zoo.recipe("flux-emoji-true") is zoo.recipe("flux-emoji")
    assert zoo.calibration("flux-emoji-true") != zoo.calibration("flux-emoji")
    assert "flux-emoji-true" not in zoo.RECIPES
    call = Request.of("zoo:flux-emoji-true", count=1).call
    assert (call["true_cfg_scale"], call["guidance_scale"], call["height"]) == (5.0, 1.0, 64)
