"""A span of blocks is forecast as one, and all other blocks run."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError, OptionError
from forecastcache.granularity import as_site, sites_in
from forecastcache.registry import adapter_for

from ..adapters.tiny import make
from ..conftest import fingerprint, make_pipeline, make_unconditional, sample

EVERY_THIRD = fc.Every(3, first=2)
TIMES = tuple(float(time) for time in range(1000, 100, -150))


def trajectory(name: str, site: str | fc.Blocks) -> list[torch.Tensor]:
    """The outputs of a small model along a trajectory, in float64 so that roundings are small."""
    tiny = make(name)
    model = tiny.model.double()
    given = {
        key: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in tiny.arguments.items()
    }
    found = []
    with torch.no_grad(), fc.attach(model, EVERY_THIRD, fc.Taylor(order=1), site=site):
        for time in TIMES:
            sample = given["hidden_states"] * (1 + time / 1000)
            step = torch.full((len(sample),), time, dtype=torch.float64)
            output = model(**{**given, "hidden_states": sample, "timestep": step})
            found.append(output[0])
    return found


@pytest.mark.parametrize("name", ["dit", "flux"])
def test_a_span_of_all_blocks_is_what_they_add_one_by_one(name):
    """A row is linear: it forecasts the sum of the residuals as the sum of their forecasts."""
    blocks = trajectory(name, "block")
    model = make(name).model
    span = trajectory(name, fc.Blocks(0, len(adapter_for(model).sites(model, "block")) - 1))
    for one_by_one, as_one in zip(blocks, span, strict=True):
        # Some sums of the blocks' residuals, each rounded to float64.
        torch.testing.assert_close(one_by_one, as_one, rtol=1e-11, atol=1e-11)


def test_a_span_of_one_block_is_that_block():
    pipe = make_pipeline()
    seen: list[int] = []
    for number, block in enumerate(pipe.transformer.transformer_blocks):
        block.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(order=1), site="block:1-1") as session:
        sample(pipe)
        computed = session.report().computed
    assert seen.count(1) == len(computed) < seen.count(0) == seen.count(2) == 12


def test_a_run_with_every_step_computed_is_the_plain_run(pipe):
    plain = sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(), site="block:0-1"):
        assert torch.equal(sample(pipe), plain)


def test_the_fewer_blocks_are_forecast_the_nearer_to_the_plain_run(pipe):
    plain = sample(pipe)
    errors = []
    for site in ("block:0-2", "block:1-2", "block:1-1"):
        with fc.attach(pipe, EVERY_THIRD, fc.Reuse(), site=site):
            errors.append(float((sample(pipe) - plain).pow(2).mean()))
    assert errors[0] > errors[1] > errors[2] > 0


def test_a_span_keeps_one_feature_a_trunk_and_they_were_planned():
    tiny = make("flux")
    sites = adapter_for(tiny.model).sites(tiny.model, "block:1-3")
    assert [site.name for site in sites] == [
        "transformer_blocks.1",
        "single_transformer_blocks.0-1",
    ]
    with torch.no_grad(), fc.attach(tiny.model, EVERY_THIRD, fc.Reuse(), site="block:1-3") as it:
        for time in TIMES:
            tiny.model(**tiny.arguments, timestep=torch.full((2,), time / 1000))
    report = it.report()
    assert report.cache_bytes == report.cache_bytes_planned > 0
    assert 0 < report.dry_runs[0].flops_forecast < report.dry_runs[0].flops_computed


@pytest.mark.parametrize("name", ["hunyuan_dit", "latte"])
def test_blocks_that_others_read_are_each_forecast_alone(name):
    tiny = make(name)
    adapter = adapter_for(tiny.model)
    blocks = adapter.sites(tiny.model, "block")
    assert adapter.sites(tiny.model, f"block:0-{len(blocks) - 1}") == blocks


@pytest.mark.parametrize("site", ["block:0-2", "block:1-2,then=0-1"])
@pytest.mark.parametrize("fails_in", [0, 1, 2])
def test_a_call_that_fails_within_a_span_leaves_nothing(pipe, fails_in, site):
    before, plain = fingerprint(pipe.transformer), sample(pipe)

    def fail(*_):
        raise KeyboardInterrupt

    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site)
    sample(pipe)
    handle = pipe.transformer.transformer_blocks[fails_in].register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        sample(pipe)
    handle.remove()
    session.detach()
    assert fingerprint(pipe.transformer) == before
    assert torch.equal(sample(pipe), plain)


def test_what_a_model_adds_between_two_blocks_is_added_once():
    """A ControlNet's part lies in the residual of the span, which nothing is added to."""
    tiny = make("flux")
    tokens = tiny.arguments["hidden_states"].shape[1]
    added = torch.ones(2, tokens, tiny.model.inner_dim)
    given = {**tiny.arguments, "controlnet_block_samples": [added]}
    with torch.no_grad(), fc.attach(tiny.model, fc.Listed([0]), fc.Reuse(), site="block:0-4"):
        computed, reused = (
            tiny.model(**given, timestep=torch.full((2,), time))[0] for time in (1.0, 1 - 1e-7)
        )
    torch.testing.assert_close(computed, reused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("site", "says"),
    [
        ("block:0-3", "has 3 blocks, .* with LAST at most 2"),
        ("block:2-1", "ends before it begins: write block:1-2"),
        ("block:-1", "block:-1 is not known: write one of .*block:FIRST-LAST"),
        ("block:a-b", "is not known"),
        ("block:0-1,then=1-3", "has 3 blocks, .* with LAST at most 2"),
        ("block:0-1,then=2-1", "ends before it begins: write block:1-2"),
        ("block:0-1,then=2", "'2' is no span of blocks: write FIRST-LAST"),
        ("block:0-1,then=1-2,switch=1", "switch='1', but input should be less than 1"),
        ("block:0-1,switch=0.2", "give then=FIRST-LAST"),
        ("block:0-1,when=1-2", "unknown option when='1-2'"),
        ("block:0-1,then=1-2,then=0-2", "sets an option twice"),
        (3, "3 is not known"),
    ],
)
def test_a_span_that_cannot_be_is_refused_with_one_that_can(pipe, site, says):
    before = fingerprint(pipe.transformer)
    with pytest.raises(AttachError, match=says):
        fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site)
    assert fingerprint(pipe.transformer) == before


def test_a_model_without_a_trunk_has_no_span():
    with pytest.raises(AttachError, match="no site 'block:0-1': write one of output"):
        fc.attach(make_unconditional(), EVERY_THIRD, fc.Taylor(), site="block:0-1")


def test_a_site_is_written_in_one_way():
    assert as_site(" block:02-5") == as_site(fc.Blocks(2, 5)) == "block:2-5"
    assert fc.Config(site=fc.Blocks(2, 5)).site == "block:2-5"
    assert fc.Config.from_yaml(fc.Config(site="block:2-5").to_yaml()).site == "block:2-5"
    assert sites_in("output, block:0-2,module") == ("output", "block:0-2", "module")
    with pytest.raises(OptionError, match="ends before"):
        fc.Blocks(2, 1)


def test_a_span_is_planned_from_a_configuration_alone():
    block = fc.plan_memory("flux.1-dev", site="block", depth=2)
    span = fc.plan_memory("flux.1-dev", site=fc.Blocks(2, 54), depth=2)
    assert {site.path for site in span.sites} == {
        "transformer_blocks.2-18",
        "single_transformer_blocks.0-35",
    }
    assert span.total_bytes * 57 == block.total_bytes * 2
