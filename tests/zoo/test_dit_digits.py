"""The model that ships: stock, small, and good enough to measure on."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, DiTPipeline

from forecastcache import zoo
from forecastcache.errors import OptionError, UnknownNameError
from forecastcache.sampling.request import Request
from forecastcache.zoo import data, dit_digits, judge, train


@pytest.fixture(scope="module")
def pipe() -> DiTPipeline:
    pipe = DiffusionPipeline.from_pretrained(zoo.folder("dit-digits"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pictures(pipe) -> torch.Tensor:
    """A 20-step sample of each class."""
    request = Request.of("zoo:dit-digits", classes=[str(i) for i in range(60)], steps=20)
    return request.sample(pipe)


def test_it_is_a_stock_pipeline_of_at_most_eight_megabytes(pipe):
    assert type(pipe) is DiTPipeline
    assert type(pipe.scheduler) is DDIMScheduler
    assert pipe.transformer.dtype == torch.float32
    assert len(pipe.transformer.transformer_blocks) == 8
    files = [file for file in zoo.folder("zoo:dit-digits").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    assert len(set(pipe.labels.values())) == 60


def test_samples_are_judged_as_asked(pictures):
    asked = dit_digits.asked(list(range(60)))
    right = judge.Judge.load().read(pictures * 2 - 1).agrees(asked).float().mean().item()
    assert right >= 0.95


def test_the_judge_is_not_fooled_by_another_class(pictures):
    shifted = dit_digits.asked([(i + 1) % 60 for i in range(60)])
    assert not judge.Judge.load().read(pictures * 2 - 1).agrees(shifted).any()


def test_labels_say_what_is_asked(pipe):
    (number,) = pipe.get_label_ids(["blue seven"])
    asked = dit_digits.asked([number])
    assert data.DIGITS[asked.digit] == "seven"
    assert list(data.INKS)[asked.ink] == "blue"
    assert list(data.BACKGROUNDS)[asked.background] == "yellow"


def test_an_unknown_model_lists_the_known():
    known = "write one of zoo:dit-digits, zoo:flux-digits, zoo:qwen-digits, zoo:hunyuan-digits"
    with pytest.raises(UnknownNameError, match=f"no model 'cats': {known}"):
        zoo.folder("cats")


def test_a_folder_with_other_files_is_not_written_over(tmp_path):
    (tmp_path / "model_index.json").touch()  # a model, but whose?
    (tmp_path / "README.md").write_text("# mine\n")
    with pytest.raises(OptionError, match="holds something else than zoo:dit-digits"):
        train.train("dit-digits", tmp_path / "work", tmp_path)
    assert (tmp_path / "README.md").read_text() == "# mine\n"


def test_the_recipe_makes_a_pipeline_from_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dit_digits, "VAE_STEPS", 2)
    monkeypatch.setattr(dit_digits, "STEPS", 2)
    folder = tmp_path / "model"
    train.train("dit-digits", tmp_path, folder, samples=20)
    made = DiffusionPipeline.from_pretrained(folder)
    assert isinstance(made, DiTPipeline)
    assert made.vae.config.scaling_factor != pytest.approx(0.18215)  # fitted to the latents
    table = made.transformer.transformer_blocks[0].norm1.emb.class_embedder.embedding_table
    assert table.weight[:60].any(1).all()
    assert not table.weight[60:1000].any()
    assert table.weight[1000].any()
    assert "seed 0" in (folder / "README.md").read_text()
    assert (folder / "samples.png").stat().st_size > 1000
    assert (folder / "transformer-loss.png").stat().st_size > 1000
