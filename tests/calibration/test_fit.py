"""Recording and closed loop, on toys where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

import forecastcache as fc
from forecastcache.calibration.distributed import Shard
from forecastcache.calibration.gram import open_loop_rows
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.recording import record
from forecastcache.errors import AttachError, CalibrationError
from forecastcache.sampling.trajectory import trajectory_of

from .toys import STEPS, Toy, curved, rolls_of, starts

COMPUTED = (0, 2, 5, 8)


def recorded(pipe: Toy, start: torch.Tensor):
    return record(pipe, lambda: pipe(start), prompts=len(start))


def final(
    pipe: Toy, start: torch.Tensor, predictor: fc.Predictor, computed: tuple[int, ...] = COMPUTED
) -> torch.Tensor:
    with fc.attach(pipe, fc.Listed(computed), predictor):
        return pipe(start).images


def test_a_recording_is_what_the_run_did():
    pipe, start = Toy(curved), starts(3)
    recording, seen = recorded(pipe, start)
    samples = seen.samples
    assert len(samples) == STEPS + 1
    assert torch.equal(samples[0], start)
    assert torch.equal(samples[-1], pipe(start).images)
    answers = torch.stack([curved(x, t / 1000) for x, t in zip(samples, pipe.scheduler.timesteps)])
    flat = answers.double().flatten(1).numpy()
    np.testing.assert_allclose(recording.gram, flat @ flat.T, rtol=1e-6)
    np.testing.assert_allclose(recording.branches[0], recording.gram, rtol=1e-12)
    np.testing.assert_allclose(recording.times, pipe.scheduler.timesteps.numpy())


def test_the_samplers_coefficients_are_recovered():
    pipe = Toy(curved)
    recording, _ = recorded(pipe, starts(4))
    motion = recording.motion
    np.testing.assert_allclose(motion.keep[:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(motion.move[:, 0], pipe.scheduler.sigmas.diff().numpy(), atol=1e-5)
    motion.require_first_order("FlowMatchEulerDiscreteScheduler")
    ddim = Toy(curved, DDIMScheduler(clip_sample=False))
    recorded(ddim, starts(4))[0].motion.require_first_order("DDIM")


@pytest.mark.parametrize("kind", [DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler])
def test_other_samplers_are_refused_by_name(kind):
    recording, _ = recorded(Toy(curved, kind()), starts(8))
    with pytest.raises(
        CalibrationError, match=f"{kind.__name__} is stochastic or of higher.*open"
    ):
        recording.motion.require_first_order(kind.__name__)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_half_precision_rounds_is_no_higher_order(dtype):
    start = starts(8).to(dtype)
    recording, _ = recorded(Toy(curved), start)
    assert recording.precision == torch.finfo(dtype).eps
    recording.motion.require_first_order("FlowMatchEulerDiscreteScheduler")
    other, _ = recorded(Toy(curved, DPMSolverMultistepScheduler()), start)
    with pytest.raises(CalibrationError, match="of higher order"):
        other.motion.require_first_order("DPMSolverMultistepScheduler")


def test_a_first_sample_drawn_in_float32_hides_no_rounding():
    """As HunyuanVideo's: the scheduler goes on in the dtype that the network answers in."""

    def coarse(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return curved(sample, sigma).bfloat16()

    recording, _ = recorded(Toy(coarse), starts(8))
    assert recording.precision == torch.finfo(torch.bfloat16).eps
    recording.motion.require_first_order("FlowMatchEulerDiscreteScheduler")


def test_recordings_add_up_over_prompts():
    pipe, start = Toy(curved), starts(5)
    whole, _ = recorded(pipe, start)
    first, _ = recorded(pipe, start[:2])
    second, _ = recorded(pipe, start[2:])
    together = second + first
    assert together.prompts == 5
    for name in ("gram", "branches", "products"):
        np.testing.assert_allclose(getattr(together, name), getattr(whole, name), rtol=1e-6)
    other, _ = record(pipe, lambda: pipe(start, steps=STEPS), 5)
    shorter, _ = record(pipe, lambda: pipe(start, steps=4), 5)
    with pytest.raises(CalibrationError, match="one size, one number of steps"):
        other + shorter


def test_nothing_is_left_behind_also_after_an_exception():
    pipe = Toy(curved)
    step, forward = pipe.scheduler.step, pipe.transformer.forward

    def fail() -> None:
        pipe(starts(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(pipe, fail, 1)
    assert pipe.scheduler.step == step
    assert pipe.transformer.forward == forward


def test_zero_error_where_the_history_spans_the_trajectory():
    """A velocity that is a straight line over the noise levels: any two tell all others."""
    generator = torch.Generator().manual_seed(0)
    base, slope = torch.randn(2, 6, generator=generator)
    pipe = Toy(lambda sample, sigma: base + sigma * slope + 0 * sample)
    start = starts(4)
    _, rolls = rolls_of(pipe, start, ridge=1e-12)
    rolled = rolls.fitted((0, 2))
    late = [row for row in rolled.rows if row.target > 2]
    assert all(row.computed == (0, 2) for row in late)
    # Step 1 is forecast from step 0 alone and misses; the row of step 3 makes up for it.
    assert rolls.missed(rolled.final).max() < 1e-7


def test_rows_work_in_a_run_of_their_own():
    pipe, start = Toy(curved), starts(6)
    recording, rolls = rolls_of(pipe, start)
    rolled = rolls.fitted(COMPUTED)
    assert {row.target for row in rolled.rows} == set(range(STEPS)) - set(COMPUTED)
    again = final(pipe, start, fc.Learned(rolled.rows, recording.times))
    torch.testing.assert_close(again, rolled.final, atol=1e-6, rtol=0)


def test_closed_loop_is_nearer_than_open_loop_and_taylor_on_other_prompts():
    pipe, late = Toy(curved), (0, 4, 8, 11)
    recording, rolls = rolls_of(pipe, starts(40))
    rolled = rolls.fitted(late)
    others = starts(40, seed=1)
    aim = pipe(others).images

    def error(predictor: fc.Predictor) -> float:
        return (final(pipe, others, predictor, late) - aim).square().mean().item()

    closed = error(fc.Learned(rolled.rows))
    opened = error(fc.Learned(open_loop_rows(recording.gram, late)))
    assert closed < 0.6 * opened
    assert closed < error(fc.Taylor(order=1))
    assert closed < error(fc.Reuse())


def test_the_network_runs_at_computed_steps_alone():
    pipe, start = Toy(curved), starts(2)
    _, rolls = rolls_of(pipe, start)
    before = pipe.transformer.calls
    rolls.fitted(COMPUTED)
    assert pipe.transformer.calls - before == len(COMPUTED)
    assert rolls.evaluations == len(COMPUTED) * len(start)


def test_rows_do_not_depend_on_how_the_prompts_lie_in_parts():
    pipe, start = Toy(curved), starts(6)
    on = torch.arange(6) < 4

    def rolled(*sizes: int):
        _, rolls = rolls_of(pipe, start, shard=Shard(sizes, len(sizes)))
        return rolls.fitted((0, 3), on)

    whole, parted = rolled(6), rolled(2, 3, 1)
    for a, b in zip(whole.rows, parted.rows):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5)
    torch.testing.assert_close(parted.final, whole.final, rtol=1e-4, atol=1e-5)


def test_nan_is_refused_by_the_step():
    pipe = Toy(lambda sample, sigma: sample / (sigma > 0.5))
    with pytest.raises(CalibrationError, match="NaN or infinity at step"):
        recorded(pipe, starts(1))


def test_a_pipeline_without_a_scheduler_is_refused():
    with pytest.raises(AttachError, match="has no scheduler"), trajectory_of(object()):
        pass


def test_a_cache_spares_what_two_schedules_share_and_changes_nothing():
    pipe, start, cache = Toy(curved), starts(5), OutputCache()
    _, rolls = rolls_of(pipe, start)

    def rolled(computed: tuple[int, ...], cache: OutputCache | None):
        return rolls.fitted(computed, cache=cache)

    rolled((0, 2, 5, 8), cache)
    before = pipe.transformer.calls
    again = rolled((0, 2, 5, 10), cache)
    assert pipe.transformer.calls - before == 1
    assert (cache.hits, cache.misses) == (3, 5)
    fresh = rolled((0, 2, 5, 10), None)
    assert again.rows == fresh.rows
    assert torch.equal(again.final, fresh.final)


def test_a_cache_without_room_keeps_nothing():
    pipe, start, cache = Toy(curved), starts(2), OutputCache(room=10)
    _, rolls = rolls_of(pipe, start)
    for _ in range(2):
        rolls.fitted((0, 4), cache=cache)
    assert cache.hits == 0
