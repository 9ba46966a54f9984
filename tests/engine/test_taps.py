"""Stand-ins are there while a call lasts, for the modules that are there then."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
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
