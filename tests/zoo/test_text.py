"""Text encoders of the zoo: captions word by word, in the templates of the stock pipelines."""

from __future__ import annotations

import pytest
import torch
from diffusers import QwenImagePipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import nn

from forecastcache.zoo import captions, text, training

CAPTION = "a bold red seven leaning left on a white background, moving right"
MOVING = captions.vocabulary(moving=True)


def qwen_template() -> str:
    return QwenImagePipeline(None, None, None, None, None).prompt_template_encode


def test_captions_are_read_word_by_word():
    words = CAPTION.replace(",", " ,").split()
    _, clip = text.clip(MOVING)
    assert [token.removesuffix("</w>") for token in clip.tokenize(CAPTION)] == words
    _, t5 = text.t5(MOVING)
    assert [token.removeprefix("▁") for token in t5.tokenize(CAPTION)] == words


@pytest.mark.parametrize("word", MOVING)
def test_every_word_is_one_token_anywhere(word):
    for _, tokenizer in (text.clip(MOVING), text.t5(MOVING)):
        assert len(tokenizer.tokenize(f"{word} {word}")) == 2


@pytest.mark.parametrize(
    ("make", "template", "cut"),
    [
        (text.qwen, qwen_template(), 34),
        (text.llama, DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"]),
    ],
)
def test_templates_have_the_tokens_that_their_pipelines_cut_off(tmp_path, make, template, cut):
    _, tokenizer = make(template, MOVING)
    tokenizer.save_pretrained(tmp_path)
    for reader in (tokenizer, type(tokenizer).from_pretrained(tmp_path)):
        assert len(reader(template.split("{}")[0]).input_ids) == cut
        kept = reader(template.format(CAPTION)).input_ids[cut:]
        assert reader.decode(kept).startswith(CAPTION)
        assert reader.padding_side == "right"


def test_a_word_that_t5_does_not_know_is_its_unknown():
    _, tokenizer = text.t5(captions.vocabulary())
    assert tokenizer("a purple seven").input_ids[1] == tokenizer.unk_token_id


def test_teaching_makes_attributes_readable(tmp_path):
    torch.manual_seed(0)
    model, tokenizer = text.clip(captions.vocabulary())
    seen: list[str] = []

    def summary(captions_: list[str]) -> torch.Tensor:
        seen.extend(captions_)
        ids = tokenizer(captions_, padding=True, return_tensors="pt").input_ids
        return model(ids).pooler_output

    assert training.fit(text.teach("clip", model, summary, steps=60), tmp_path).total() > 0
    losses = torch.load(tmp_path / "clip.pt")["losses"]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert not any(parameter.requires_grad for parameter in model.parameters())
    read = captions.read(seen)
    rows = zip(*(read[name].tolist() for name in ("digit", "ink", "background")))
    assert {captions.Combination(*row) for row in rows} <= set(captions.combinations("train"))


def test_what_is_remembered_is_what_was_encoded():
    calls: list[list[str]] = []
    layer = nn.Embedding(10, 3)

    def encode(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(texts)
        ids = torch.tensor([len(it) for it in texts])
        return layer(ids), ids

    recall = text.remembered(encode)
    recall(["a", "bb", "a"])
    features, ids = recall(["ccc", "bb", "a"])
    assert calls == [["a", "bb"], ["ccc"]]
    assert ids.tolist() == [3, 2, 1]
    assert torch.equal(features, layer(ids))
    assert not features.requires_grad
