"""Stand-ins are there while a call lasts, for the modules that are there then."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import forecastcache as fc
from forecastcache.adapter import Site
from forecastcache.engine import taps

from ..conftest import fingerprint, make_transformer, sample

EVERY_THIRD = fc.Every(3, first=2)


@pytest.mark.parametrize("fails_at", range(12))
def test_an_interrupt_while_the_modules_are_put_back_leaves_no_trace(pipe, fails_at, monkeypatch):
    before, plain = fingerprint(pipe.transformer), sample(pipe)
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="module")
    count = 0

    def interrupted(*args):
        nonlocal count
        count += 1
        if count == fails_at + 1:  # six modules are swapped in, and six back
            raise KeyboardInterrupt
        place(*args)

    place = taps._set_child
    monkeypatch.setattr(taps, "_set_child", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample(pipe)
    session.detach()
    assert fingerprint(pipe.transformer) == before
    assert torch.equal(sample(pipe), plain)


def test_a_module_replaced_after_attach_is_the_one_that_runs(pipe):
    with fc.attach(pipe, fc.Every(1), fc.Taylor(), site="module"):
        sample(pipe)
        pipe.transformer.transformer_blocks[1].attn1 = (
            make_transformer(7).transformer_blocks[0].attn1
        )
        attached = sample(pipe)
    assert torch.equal(sample(pipe), attached)


def test_a_block_replaced_after_attach_lends_its_embedding_to_the_forecast(pipe):
    another = make_transformer(7).transformer_blocks[0]
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="hidden"):
        sample(pipe)
        pipe.transformer.transformer_blocks[0] = another
        replaced = sample(pipe)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="hidden"):
        assert torch.equal(sample(pipe), replaced)


class Kept:
    """A recorder that forecasts what it was shown."""

    def __init__(self) -> None:
        self.computing = True
        self.features: dict[str, Any] = {}

    def observe(self, path: str, feature: Any) -> None:
        self.features[path] = feature

    def forecast(self, path: str) -> Any:
        return self.features[path]


class Shared(nn.Module):
    """One layer for two streams, the second of which reads it by parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 6)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        gate, value = self.layer(text).split([3, 3], dim=-1)
        return self.layer(image).sum() + (gate * value).sum()


GIVEN = torch.arange(6.0).reshape(3, 2), torch.ones(3, 2)


def test_a_module_that_runs_twice_has_a_feature_for_each_run():
    model, kept = Shared(), Kept()
    stand_ins = taps.Taps(model, [Site("layer", "output")])
    computed = stand_ins.call(model, kept, model.forward, GIVEN, {})
    assert {*kept.features} == {"layer", "layer#2"}
    kept.computing = False
    for _ in range(2):
        others = [-x for x in GIVEN]
        assert torch.equal(stand_ins.call(model, kept, model.forward, others, {}), computed)


def test_a_layer_left_out_may_give_its_argument_the_width_of_its_output():
    model, kept = Shared(), Kept()
    kept.computing = False
    stand_ins = taps.Taps(model, [Site("layer", "nothing", wide=True)])
    image, text = (x[:, :1].expand(3, 6) for x in GIVEN)
    expected = image.sum() + (text[:, :3] * text[:, 3:]).sum()
    assert torch.equal(stand_ins.call(model, kept, model.forward, GIVEN, {}), expected)
