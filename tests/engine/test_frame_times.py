"""Pipelines whose frames have times of their own: SkyReels-V2's diffusion forcing."""

from __future__ import annotations

import diffusers
import pytest
import torch

import forecastcache as fc

from ..adapters.pipelines import WAN_REQUEST, Case, awake, quiet, run, unipc, without

FRAMES = {"num_frames": 17, "base_num_frames": 17}
# Each frame is two steps behind the one before it: 5 latent frames take 6 + 4 * 2 iterations. The
# second window of a longer film has 2 frames to make, beside 2 that are given.
BEHIND = {"ar_step": 2, "causal_block_size": 1}
LONGER = {"num_frames": 25, "overlap_history": 5}
STEPS = 6


@pytest.fixture(scope="module")
def forcing() -> Case:
    torch.manual_seed(0)
    model = diffusers.SkyReelsV2Transformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4,
        out_channels=4, text_dim=12, freq_dim=8, ffn_dim=16, num_layers=1, rope_max_seq_len=32,
    )  # fmt: skip
    pipe = diffusers.SkyReelsV2DiffusionForcingPipeline(
        scheduler=unipc(),
        transformer=awake(model),
        **without("vae", "text_encoder", "tokenizer"),
    )
    request = WAN_REQUEST | FRAMES | {"prompt": None, "num_inference_steps": STEPS}
    return Case(quiet(pipe), request, steps=STEPS, branches=2)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [({}, STEPS), (BEHIND, STEPS + 8), (LONGER, STEPS), (LONGER | BEHIND, STEPS + 2)],
    ids=["together", "one behind another", "window by window", "both"],
)
def test_every_iteration_is_a_step_of_the_pipelines_run(forcing, changes, steps):
    every_third = fc.Every(3, first=2)
    plain = run(forcing.pipe, forcing.request, **changes)
    with fc.attach(forcing.pipe, fc.Every(1), fc.Reuse()):
        assert torch.equal(run(forcing.pipe, forcing.request, **changes), plain)
    with fc.attach(forcing.pipe, every_third, fc.Reuse()) as session:
        run(forcing.pipe, forcing.request, **changes)
        report = session.report()
    assert {call.step.total for call in report.calls} == {steps}
    assert [(c.step.index, c.branch) for c in report.calls] == [
        (index, branch) for index in range(steps) for branch in range(2)
    ]
    assert report.computed == every_third.computed(steps)


def test_no_noise_level_is_told_where_frames_have_several(forcing):
    with fc.attach(forcing.pipe, fc.Every(3, first=2), fc.Reuse()) as session:
        run(forcing.pipe, forcing.request, **BEHIND)
        calls = session.report().calls
    assert {call.step.logsnr for call in calls if call.step.index > 0} == {None}
