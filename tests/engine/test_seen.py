"""What a predictor may see beside the features: the latent and the first block's residual."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError
from forecastcache.registry import adapter_for

from ..adapters.tiny import make
from ..conftest import make_unconditional
from .test_adaptive import TIMES, run

SHOWN: list[tuple[Any, ...]] = []


class Looking(fc.Predictor):
    """Reuse that notes what it is shown."""

    need: str

    @property
    def depth(self):
        return 2

    @property
    def needs(self):
        return frozenset({self.need})

    def forecast(self, history, target):
        past, now = history.seen(self.need)
        one, _ = history.newest(1).seen(self.need)
        SHOWN.append((target.index, [each.clone() for each in past], one, now.clone()))
        return history.features[-1] * 1


@pytest.fixture(autouse=True)
def clear():
    SHOWN.clear()


def first_blocks(tiny):
    """The first block's residual of the image, step by step."""
    noted: list[torch.Tensor] = []
    block = tiny.model.get_submodule(adapter_for(tiny.model).trunk[0].path)[0]
    streams = adapter_for(tiny.model).trunk[0].streams

    def note(_, args, kwargs, output):
        after = output[streams.index("hidden_states")] if isinstance(output, tuple) else output
        noted.append(after - kwargs.get("hidden_states", (*args, None)[0]))

    handle = block.register_forward_hook(note, with_kwargs=True)
    run(tiny)
    handle.remove()
    return noted


@pytest.mark.parametrize("name", ["dit", "flux", "wan"])
@pytest.mark.parametrize("site", ["output", "block"])
def test_the_first_block_is_shown_at_the_computed_steps_and_now(name, site):
    tiny = make(name)
    wanted = first_blocks(tiny)
    with fc.attach(tiny.model, fc.Listed([0, 1]), Looking(need="first_block"), site=site):
        run(tiny)
    assert {index for index, *_ in SHOWN} == {2, 3}
    for index, past, one, now in SHOWN:
        assert torch.equal(torch.stack(past), torch.stack(wanted[:2]))
        assert torch.equal(one[0], past[-1])
        assert torch.equal(now, wanted[index])


def test_the_latent_is_the_sample_that_the_model_is_given():
    tiny = make("flux")
    given = [tiny.arguments["hidden_states"] * (1 + time / 1000) for time in TIMES]
    with fc.attach(tiny.model, fc.Listed([0, 2]), Looking(need="latent")) as session:
        run(tiny)
    report = session.report()
    assert report.shown_bytes == 2 * given[0].nbytes
    assert f"and {report.shown_bytes:,} bytes that the predictor is shown" in str(report)
    assert report.cache_bytes == report.cache_bytes_planned
    (first, past, _, now), (last, later, *_) = SHOWN
    assert (first, last) == (1, 3)
    assert torch.equal(past[0], given[0])
    assert torch.equal(now, given[1])
    assert torch.equal(torch.stack(later), torch.stack([given[0], given[2]]))


@pytest.mark.parametrize("predictor", [fc.TwoAnchor(), fc.TAP()], ids=str)
@pytest.mark.parametrize("site", ["output", "hidden", "module"])
def test_looking_changes_nothing_where_all_is_computed(predictor, site):
    tiny = make("flux")
    plain = run(tiny)
    with fc.attach(tiny.model, fc.Every(1), predictor, site=site):
        assert all(map(torch.equal, run(tiny), plain))
    assert all(map(torch.equal, run(tiny), plain))


def test_a_step_that_is_computed_after_all_is_kept_with_what_it_showed():
    class Wild(Looking):
        def forecast(self, history, target):
            super().forecast(history, target)
            return history.features[-1] * torch.nan

    tiny = make("flux")
    wanted = first_blocks(tiny)
    with fc.attach(
        tiny.model, fc.Listed([0]), Wild(need="first_block"), not_finite="recompute"
    ) as session:
        run(tiny)
    assert session.report().computed == (0, 1, 2, 3)
    assert torch.equal(torch.stack(SHOWN[-1][1]), torch.stack(wanted[1:3]))


def test_a_model_without_blocks_is_refused_before_it_is_touched():
    pipe = make_unconditional()
    with pytest.raises(AttachError, match="names no first_block"):
        fc.attach(pipe, fc.Every(3), fc.TAP())
    assert pipe(num_inference_steps=2, output_type="np").images.shape[0] == 1


@pytest.mark.parametrize(
    ("schedule", "votes"), [(fc.Every(3), 0), (fc.FirstBlockCache(), len(TIMES))], ids=str
)
def test_processes_vote_where_the_schedule_looks_inside_and_not_for_the_predictor(
    schedule, votes, monkeypatch
):
    asked: list[bool] = []
    monkeypatch.setattr(
        "forecastcache.engine.run.agreed", lambda _, wanted, device: asked.append(wanted) or wanted
    )
    tiny = make("flux")
    with fc.attach(tiny.model, schedule, Looking(need="first_block"), site="hidden"):
        run(tiny)
    assert len(asked) == votes
