"""Tokens that receive the most attention are computed at a forecast step, as in ToCa."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, scaled_dot_product_attention

import forecastcache as fc
from forecastcache.engine import attention_scores
from forecastcache.engine.attention_scores import AttentionReceived, received
from forecastcache.engine.taps import Taps
from forecastcache.errors import AttachError, HistoryError
from forecastcache.granularity import as_site

from ..adapters.tiny import make
from ..conftest import fingerprint, sample
from .test_tokens import EVERY_FOURTH, NAMES, Kept, outputs

BY_ATTENTION = fc.Tokens(0.5, by="attention")
SHUT = torch.ones(5, 5, dtype=torch.bool).tril()


def attention_map(query: Tensor, key: Tensor, **options: Any) -> Tensor:
    """The map of attention: what comes of values that are the unit vectors."""
    values = torch.eye(key.shape[2], dtype=key.dtype).expand(*key.shape[:2], -1, -1)
    return scaled_dot_product_attention(query, key, values, **options)


@pytest.mark.parametrize("at_once", [1, 40, 2**24])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 2.0},
        {"is_causal": True},
        {"attn_mask": SHUT},
        {"attn_mask": SHUT[None, None, :1]},
        {"attn_mask": torch.linspace(-3, 3, 50).reshape(2, 1, 5, 5)},
    ],
    ids=str,
)
def test_scores_are_the_columns_of_the_map(options, at_once, monkeypatch):
    monkeypatch.setattr(attention_scores, "AT_ONCE", at_once)
    query, key, value = torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    expected = attention_map(query, key, **options).mean(1).sum(1)
    torch.testing.assert_close(received(query, key, value, **options)[..., 0], expected)


def test_fewer_heads_of_keys_serve_several_of_queries():
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    expected = attention_map(query, key.repeat_interleave(2, 1)).mean(1).sum(1)
    found = received(query, key, key, enable_gqa=True)
    torch.testing.assert_close(found[..., 0], expected)


@pytest.mark.parametrize("call", ["in order", "by name"])
def test_attention_comes_to_the_same_while_it_is_seen(call):
    query, key, value = torch.randn(3, 2, 4, 5, 8)
    with AttentionReceived() as seen:
        if call == "in order":
            found = scaled_dot_product_attention(query, key, value, SHUT)
        else:
            found = scaled_dot_product_attention(query=query, key=key, value=value, attn_mask=SHUT)
    assert torch.equal(found, scaled_dot_product_attention(query, key, value, SHUT))
    assert torch.equal(seen.scores, received(query, key, value, SHUT))


class Joint(nn.Module):
    """Attention of an image's tokens after a text's; every query asks for `asked`."""

    def __init__(self) -> None:
        super().__init__()
        self.to_v, self.add_v_proj = nn.Identity(), nn.Identity()

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        tokens = torch.cat([self.add_v_proj(text), self.to_v(image)], 1).unsqueeze(1)
        return scaled_dot_product_attention(torch.ones_like(tokens), tokens, tokens)


class Doubling(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        self.given = tokens
        return 2 * tokens


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.ff, self.ff_context = Joint(), Doubling(), Doubling()

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        self.attn(image, text)
        return self.ff(image), self.ff_context(text)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block()])

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return self.blocks[0](image, text)


TRUNK = fc.Trunk(
    path="blocks",
    streams=("image", "text"),
    modules=("attn", "ff", "ff_context"),
    tokenwise=(
        fc.Tokenwise("ff", values="attn.to_v"),
        fc.Tokenwise("ff_context", values="attn.add_v_proj", leads=True),
    ),
)


def test_those_that_receive_the_most_are_computed_of_each_kind_and_sample():
    model, kept = Model(), Kept()
    taps = Taps(model, list(TRUNK.sites_in("blocks.0", model.blocks[0], BY_ATTENTION)))
    # The larger a token, the more of the attention is its own.
    image = one_hot(torch.zeros(2, 4, dtype=torch.long), 3) * torch.tensor(
        [[4.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]]
    ).unsqueeze(-1)
    text = one_hot(torch.zeros(2, 2, dtype=torch.long), 3) * torch.tensor(
        [[1.0, 9.0], [9.0, 1.0]]
    ).unsqueeze(-1)
    taps.call(model, kept, model.forward, (image, text), {})
    assert kept.features["blocks.0.attn.received"].shape == (2, 6, 1)
    kept.computing = False
    found = taps.call(model, kept, model.forward, (image + 1, text + 1), {})
    chosen = [
        torch.tensor([[True, False, True, False], [False, False, True, True]]),
        torch.tensor([[False, True], [True, False]]),
    ]
    for output, tokens, own in zip(found, (image, text), chosen, strict=True):
        expected = torch.where(own[..., None], 2 * (tokens + 1), 2 * tokens)
        assert torch.equal(output, expected)
    assert model.blocks[0].ff.given.shape == (2, 2, 3)


@pytest.mark.parametrize("name", [*NAMES, "qwen_image", "wan"])
def test_scores_are_those_of_all_tokens_and_of_each_block(name):
    tiny = make(name)
    site = fc.attach(tiny.model, fc.Listed([0]), fc.Reuse(), site=BY_ATTENTION)
    with torch.no_grad(), site as session:
        tiny.model(**tiny.arguments, timestep=torch.full((2,), 0.9))
        sites = session.report().dry_runs[0].sites
    scored = {path: features for path, features in sites.items() if path.endswith(".received")}
    blocks = {path for path in sites if path.endswith(("attn", "attn1"))}
    assert len(scored) == len(blocks) > 1
    assert all(feature.shape[2] == 1 for (feature,) in scored.values())


@pytest.mark.parametrize("name", NAMES)
def test_operations_and_bytes_are_as_planned(name):
    _, report = outputs(make(name), BY_ATTENTION)  # which compares them with torch's count
    _, module = outputs(make(name), "module")
    assert report.cache_bytes == report.cache_bytes_planned > module.cache_bytes
    assert report.flops_plain == module.flops_plain
    assert report.dry_runs[0].flops_scoring > 0


@pytest.mark.parametrize("name", NAMES)
def test_none_is_module_and_all_are_those_chosen_by_values(name):
    none, module, every, values = (
        outputs(make(name), site)[0]
        for site in (
            fc.Tokens(0, by="attention"), "module", fc.Tokens(1, by="attention"), fc.Tokens(1),
        )
    )  # fmt: skip
    assert all(map(torch.equal, none, module))
    assert all(map(torch.equal, every, values))


@pytest.mark.parametrize("name", NAMES)
def test_another_score_chooses_other_tokens(name):
    attention, values = (outputs(make(name), site)[0] for site in (BY_ATTENTION, fc.Tokens(0.5)))
    assert not all(map(torch.equal, attention, values))


def test_a_run_with_every_step_computed_is_the_plain_run_and_leaves_nothing(pipe):
    before, plain = fingerprint(pipe.transformer), sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(), site=BY_ATTENTION):
        assert torch.equal(sample(pipe), plain)
    assert fingerprint(pipe.transformer) == before


def test_fused_projections_are_served(pipe):
    for block in pipe.transformer.transformer_blocks:
        block.attn1.fuse_projections()
    with pytest.raises(AttachError, match="use by=attention or site='module'"):
        fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site="tokens")
    plain = sample(pipe)
    with fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site=BY_ATTENTION):
        assert not torch.equal(sample(pipe), plain)


def test_attention_that_is_not_torchs_is_said(pipe):
    for block in pipe.transformer.transformer_blocks:
        block.attn1.processor = lambda attn, hidden_states, **_: hidden_states
    with (
        fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site=BY_ATTENTION),
        pytest.raises(HistoryError, match="blocks.0.attn1 did not call .* leave out by=attention"),
    ):
        sample(pipe)


def test_it_is_written_in_one_way(pipe):
    assert as_site("tokens: 0.5, by=attention") == str(BY_ATTENTION)
    assert as_site(str(BY_ATTENTION)) == "tokens:share=0.5,by=attention"
    with pytest.raises(AttachError, match="by='norms', but input should be 'values' or 'atten"):
        fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site="tokens:0.5,by=norms")
