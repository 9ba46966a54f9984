"""How a pipeline samples is seen at its first step, and its scheduler is left as it was."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.engine.sampling_watch import SamplingWatch, guidance_scale

from ..adapters.pipelines import PIPELINES, run


def branches(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator) for _ in range(2))


@given(
    scale=st.floats(1.1, 20),
    first=st.sampled_from(["conditional", "unconditional"]),
    batched=st.booleans(),
    rescaled=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    shape=st.sampled_from([(1, 4, 8, 8), (2, 4, 8, 8), (1, 16, 8), (2, 16, 8), (1, 4, 3, 8, 8)]),
    seed=st.integers(0, 5),
)
def test_the_scale_is_found(scale, first, batched, rescaled, dtype, shape, seed):
    cond, uncond = branches(*shape, seed=seed)
    guided = uncond + scale * (cond - uncond)
    if rescaled and len(shape) == 3:  # token by token, as Qwen-Image does
        guided = guided * cond.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True)
    outputs = [cond, uncond] if first == "conditional" else [uncond, cond]
    outputs = [torch.cat(outputs)] if batched else outputs
    found = guidance_scale([x.to(dtype) for x in outputs], guided.to(dtype))
    if dtype == torch.float32:
        assert found == pytest.approx(scale, rel=1e-4)
    else:  # which may round away what guidance moves; then it is not told
        assert found is None or found == pytest.approx(scale, rel=0.02)


def test_a_single_branch_has_scale_one_and_what_is_unlike_has_none():
    one, other = branches(2, 4, 8, 8)
    assert guidance_scale([one], one) == 1.0
    assert guidance_scale([torch.cat([one, other], 1)], one) == 1.0  # with a learned variance
    assert guidance_scale([one], other) is None
    assert guidance_scale([one, other], torch.randn(2, 4, 8, 8)) is None
    assert guidance_scale([one, one, other], one) is None
    assert guidance_scale([one], one.flatten(1)) is None


HEARD: list[object] = []


class Asking(fc.Reuse):
    """Reuse that asks how the pipeline samples."""

    @property
    def needs(self):
        return frozenset({"sampling"})

    def for_sampling(self, sampling):
        HEARD.append(sampling)
        return self


SCALES = {
    "dit": 4.0, "flux": 1.0, "flux_true_guidance": 3.0, "qwen_image": 3.0, "wan": 4.0,
    "hunyuan_video": 1.0, "hidream": 4.0,
}  # fmt: skip


@pytest.mark.parametrize("name", SCALES)
def test_it_is_seen_in_every_pipeline_and_nothing_is_left(name):
    case = PIPELINES[name]()
    HEARD.clear()
    with fc.attach(case.pipe, fc.Listed([0, 4]), Asking()):
        run(case.pipe, case.request)
    (seen,) = HEARD
    assert seen.guidance == pytest.approx(SCALES[name], rel=1e-3)
    assert "step" not in vars(case.pipe.scheduler)


def test_noise_that_is_asked_for_is_seen(pipe):
    HEARD.clear()
    with fc.attach(pipe, fc.Listed([0]), Asking()):
        pipe([1], num_inference_steps=4)
    assert HEARD[0].eta == 0
    watch = SamplingWatch(pipe.scheduler)
    pipe.scheduler.set_timesteps(4)
    sample = torch.ones(1, 4, 8, 8)
    watch.see(sample)
    pipe.scheduler.step(sample, pipe.scheduler.timesteps[0], sample, eta=0.5)
    assert watch.seen() == (1.0, 0.5, 256, 0)
    assert "step" not in vars(pipe.scheduler)


def test_the_scheduler_is_left_as_it_was_when_a_call_raises(pipe):
    with (
        warnings.catch_warnings(),
        pytest.raises(RuntimeError),
        fc.attach(pipe, fc.Listed([0]), Asking()),
    ):
        pipe.transformer(torch.zeros(1, 3, 8, 8), timestep=torch.tensor([9]), class_labels=None)
    assert "step" not in vars(pipe.scheduler)
