"""Some tokens of each MLP are computed at a forecast step, the others and attention forecast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import forecastcache as fc
from forecastcache.engine.taps import Taps
from forecastcache.errors import AttachError, OptionError
from forecastcache.granularity import as_site, sites_in
from forecastcache.registry import adapter_for

from ..adapters.tiny import Tiny, make
from ..conftest import fingerprint, sample

EVERY_FOURTH = fc.Every(4, first=2)
TIMES = tuple(float(time) for time in range(1000, 300, -100))  # of steps 0 to 6; 0, 1, 3 computed
NAMES = ("dit", "flux")


def outputs(tiny: Tiny, site: str | fc.Tokens) -> tuple[list[torch.Tensor], fc.Report]:
    """What a model returns along a trajectory whose samples do not depend on it."""
    found = []
    session = fc.attach(tiny.model, EVERY_FOURTH, fc.Taylor(1), site=site)
    # The kernel that CPUs have for attention is none that the counter knows.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for time in TIMES:
            moving = tiny.arguments["hidden_states"] * (1 + time / 1000)
            step = torch.full((len(moving),), time / 1000)
            given = {**tiny.arguments, "hidden_states": moving, "timestep": step}
            found.append(tiny.model(**given)[0])
    session.detach()
    assert session.report().flops == counter.get_total_flops()
    return found, session.report()


def test_a_run_with_every_step_computed_is_the_plain_run(pipe):
    plain = sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(), site="tokens:0.5"):
        assert torch.equal(sample(pipe), plain)


@pytest.mark.parametrize("name", NAMES)
def test_without_tokens_it_is_module(name):
    module, none = (outputs(make(name), site)[0] for site in ("module", fc.Tokens(0)))
    assert all(map(torch.equal, module, none))


@pytest.mark.parametrize("name", NAMES)
def test_with_all_tokens_the_mlps_are_those_of_the_plain_model(name, monkeypatch):
    """As if attention alone were forecast, and everything else computed."""
    record = adapter_for(make(name).model)
    attention = "attn1" if name == "dit" else "attn"
    trunk = tuple(
        replace(it, modules=(attention,), skipped=(), tokenwise=()) for it in record.trunk
    )
    every, _ = outputs(make(name), fc.Tokens(1))
    monkeypatch.setattr(
        "forecastcache.engine.session.adapter_for", lambda _: replace(record, trunk=trunk)
    )
    expected, _ = outputs(make(name), "module")
    assert all(map(torch.equal, every, expected))


@pytest.mark.parametrize("name", NAMES)
def test_more_tokens_are_nearer_to_all(name):
    """To the run in which all tokens of the MLPs are computed, attention forecast alike."""
    found = {share: outputs(make(name), fc.Tokens(share))[0] for share in (0, 0.5, 1)}
    missed = {
        share: sum(float((x - y).pow(2).sum()) for x, y in zip(runs, found[1]))
        for share, runs in found.items()
    }
    assert missed[0] > missed[0.5] > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokens", [fc.Tokens(0.25), fc.Tokens(0.5, alternate=True)], ids=str)
def test_operations_and_bytes_are_as_planned(name, tokens):
    _, report = outputs(make(name), tokens)  # which compares the operations with torch's count
    assert report.flops < report.flops_plain
    assert report.cache_bytes == report.cache_bytes_planned


def test_every_second_forecast_step_rests_where_steps_alternate():
    tiny = make("dit")
    (alternating, _), (always, _), (module, _) = (
        outputs(tiny, site) for site in (fc.Tokens(0.5, alternate=True), "tokens:0.5", "module")
    )
    rests = [torch.equal(x, y) for x, y in zip(alternating, module)]
    assert rests == [True, True, False, True, False, True, False]  # of steps 0, 1 and 3 computed
    assert all(torch.equal(x, y) for x, y in list(zip(alternating, always))[4::2])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_v = nn.Identity()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.to_v(tokens).mean(1, keepdim=True).expand_as(tokens)


class Doubling(nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.given = tokens
        return 2 * tokens


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.ff = Attention(), Doubling()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.attn(tokens)
        return self.ff(tokens)


class Kept:
    """A recorder that forecasts what it was shown."""

    def __init__(self) -> None:
        self.computing, self.age = True, 1
        self.features: dict[str, Any] = {}

    def observe(self, path: str, feature: Any) -> None:
        self.features[path] = feature

    def forecast(self, path: str) -> Any:
        return self.features[path]


def test_those_with_the_smallest_values_are_computed_for_each_sample_at_once():
    model, kept = nn.Sequential(Block()), Kept()
    trunk = fc.Trunk(
        path="",
        streams=("tokens",),
        modules=("attn", "ff"),
        tokenwise=(fc.Tokenwise("ff", values="attn.to_v"),),
    )
    taps = Taps(model, list(trunk.sites_in("0", model[0], fc.Tokens(0.5))))
    norms = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
    tokens = torch.nn.functional.one_hot(torch.zeros(2, 4, dtype=torch.long), 3) * norms[..., None]
    computed = taps.call(model, kept, model.forward, (tokens,), {})
    assert torch.equal(computed, 2 * tokens)
    kept.computing = False
    moved = tokens + 1
    found = taps.call(model, kept, model.forward, (moved,), {})
    chosen = torch.tensor([[False, True, False, True], [True, True, False, False]])
    assert torch.equal(found, torch.where(chosen[..., None], 2 * moved, 2 * tokens))
    assert model[0].ff.given.shape == (2, 2, 3)
    assert torch.equal(kept.features["0.ff"], 2 * tokens)  # the history's own is not written to


def test_a_run_that_fails_within_an_mlp_leaves_nothing(pipe):
    before, plain = fingerprint(pipe.transformer), sample(pipe)

    def fail(*_):
        raise KeyboardInterrupt

    session = fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site="tokens:0.5")
    handle = pipe.transformer.transformer_blocks[1].ff.net[0].register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        sample(pipe)
    handle.remove()
    session.detach()
    assert fingerprint(pipe.transformer) == before
    assert torch.equal(sample(pipe), plain)


def test_fused_projections_are_refused(pipe):
    for block in pipe.transformer.transformer_blocks:
        block.attn1.fuse_projections()
    with pytest.raises(AttachError, match="fused.*unfuse_qkv_projections"):
        fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site="tokens")


def test_a_model_whose_record_names_no_such_module_has_no_tokens():
    with pytest.raises(AttachError, match="no site 'tokens:share=0.2': write one of output,"):
        fc.attach(make("hidream").model, EVERY_FOURTH, fc.Taylor(), site="tokens:0.2")


@pytest.mark.parametrize(
    ("site", "says"),
    [
        ("tokens:1.5", "share='1.5', but input should be less than or equal to 1"),
        ("tokens:few", "share='few', but input should be a valid number"),
        ("tokens:part=0.1", "unknown option part"),
        ("tokens:share=0.1,share=0.2", "sets an option twice"),
        ("token", "token is not known: write one of .*tokens:SHARE"),
    ],
)
def test_what_is_no_choice_of_tokens_is_refused(pipe, site, says):
    with pytest.raises(AttachError, match=says):
        fc.attach(pipe, EVERY_FOURTH, fc.Taylor(), site=site)


def test_a_site_is_written_in_one_way():
    assert as_site("tokens:0.10") == as_site(fc.Tokens()) == "tokens"
    assert as_site("tokens: 0.25, alternate=true") == "tokens:share=0.25,alternate=true"
    site = str(fc.Tokens(0.25, alternate=True))
    assert as_site(site) == site
    assert fc.Config.from_yaml(fc.Config(site=site).to_yaml()).site == site
    assert sites_in(f"{site},module") == (site, "module")
    with pytest.raises(OptionError, match="less than or equal to 1"):
        fc.Tokens(2)
