"""Back blocks are forecast in the first part of a run and front ones later, as in Delta-DiT."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import forecastcache as fc
from forecastcache.errors import OptionError, ScheduleError
from forecastcache.granularity import as_site, sites_in
from forecastcache.registry import adapter_for

from ..adapters.tiny import make
from ..conftest import make_pipeline, sample

EVERY_THIRD = fc.Every(3, first=2)  # 0, 1, 4, 7 and 10 of 12 steps
BACK_THEN_FRONT = fc.Blocks(1, 2, then=(0, 1))


def steps_run(pipe, site: str | fc.Blocks) -> list[list[int]]:
    """The steps at which each block ran."""
    found: list[list[int]] = [[] for _ in pipe.transformer.transformer_blocks]
    step = -1

    def begin(*_) -> None:
        nonlocal step
        step += 1

    with fc.attach(pipe, EVERY_THIRD, fc.Reuse(), site=site):
        pipe.transformer.pos_embed.register_forward_pre_hook(begin)
        for steps, block in zip(found, pipe.transformer.transformer_blocks, strict=True):
            block.register_forward_pre_hook(lambda *_, steps=steps: steps.append(step))
        sample(pipe)
    return found


@pytest.mark.parametrize(
    ("site", "rest"),
    [
        (BACK_THEN_FRONT, [{6, 8, 9, 11}, {2, 3, 5, 6, 8, 9, 11}, {2, 3, 5}]),
        ("block:2-2,then=0-0,switch=0.25", [{3, 5, 6, 8, 9, 11}, set(), {2}]),
    ],
    ids=str,
)
def test_the_span_moves_after_a_share_of_the_steps(site, rest):
    ran = steps_run(make_pipeline(), site)
    assert [{*range(12)} - {*steps} for steps in ran] == rest


def test_a_span_that_moves_to_itself_is_one_that_does_not():
    pipe = make_pipeline()
    runs = []
    for site in ("block:0-1", "block:0-1,then=0-1,switch=0.3"):
        with fc.attach(pipe, EVERY_THIRD, fc.Taylor(1), site=site) as session:
            runs.append(sample(pipe))
    assert torch.equal(*runs)
    assert len(session.report().dry_runs[0].sites) == 1


def test_it_is_each_of_its_spans_in_its_part_of_the_run():
    """Up to the switch a run is that of the first span, and one that starts there the second's."""
    pipe = make_pipeline()

    def run(site: str | fc.Blocks) -> list[torch.Tensor]:
        latents = []
        transformer = pipe.transformer
        handle = transformer.register_forward_hook(lambda *it: latents.append(it[2][0]))
        with fc.attach(pipe, EVERY_THIRD, fc.Taylor(1), site=site):
            sample(pipe)
        handle.remove()
        return latents

    moving, back, front = map(run, (BACK_THEN_FRONT, "block:1-2", "block:0-1"))
    assert all(map(torch.equal, moving[:6], back[:6]))
    assert not any(map(torch.equal, moving[6:], back[6:]))
    assert not any(map(torch.equal, moving[2:], front[2:]))


def test_a_run_with_every_step_computed_is_the_plain_run(pipe):
    plain = sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(), site=BACK_THEN_FRONT):
        assert torch.equal(sample(pipe), plain)


@pytest.mark.parametrize("site", [BACK_THEN_FRONT, fc.Blocks(2, 2, then="0-1")], ids=str)
def test_operations_and_bytes_are_as_planned(site):
    pipe = make_pipeline()
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor(1), site=site)
    # The kernel that CPUs have for attention is none that the counter knows.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        sample(pipe)
    counted = sum(counter.get_flop_counts()["DiTTransformer2DModel"].values())
    report = session.report()
    assert report.flops == counted < report.flops_plain
    assert report.cache_bytes == report.cache_bytes_planned > 0


def test_both_spans_are_kept_one_feature_a_trunk():
    model = make("flux").model
    sites = adapter_for(model).sites(model, "block:1-3,then=0-1")
    assert [(site.name, site.during) for site in sites] == [
        ("transformer_blocks.1", (0, 0.5)),
        ("single_transformer_blocks.0-1", (0, 0.5)),
        ("transformer_blocks.0-1", (0.5, 1)),
    ]


def test_a_block_of_both_spans_that_is_kept_by_itself_is_kept_once():
    model = make("hunyuan_dit").model
    sites = adapter_for(model).sites(model, "block:1-2,then=0-1")
    assert {site.name: site.during for site in sites} == {
        "blocks.0": (0.5, 1),
        "blocks.1": (0, 1),
        "blocks.2": (0, 0.5),
    }


def test_a_bare_model_does_not_tell_how_far_a_run_is():
    tiny = make("dit")
    with torch.no_grad(), fc.attach(tiny.model, fc.Listed([0]), fc.Reuse(), site=BACK_THEN_FRONT):
        tiny.model(**tiny.arguments, timestep=torch.full((2,), 900))
        with pytest.raises(ScheduleError, match="attach the pipeline instead .* leave out then="):
            tiny.model(**tiny.arguments, timestep=torch.full((2,), 800))


def test_it_is_written_in_one_way():
    site = "block:1-2,then=0-1"
    assert as_site(" block:01-2, then=0-1, switch=0.5") == str(BACK_THEN_FRONT) == site
    assert as_site(f"{site},switch=0.25") == f"{site},switch=0.25"
    assert fc.Config.from_yaml(fc.Config(site=BACK_THEN_FRONT).to_yaml()).site == site
    assert sites_in(f"module,{site}") == ("module", site)
    with pytest.raises(OptionError, match="greater than or equal to 0"):
        fc.Blocks(1, 2, then=(-1, 2))
