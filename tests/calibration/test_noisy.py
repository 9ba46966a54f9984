"""Samplers that draw noise are calibrated by what moves between two runs of the same seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

import forecastcache as fc
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.part_files import Parts
from forecastcache.errors import CalibrationError
from forecastcache.sampling.trajectory import trajectory_of

from ..conftest import make_unconditional
from .toys import STEPS, Guided

COMPUTED = (0, 3, 6, 9)
SCHEDULERS: dict[str, dict[str, Any]] = {
    "FlowMatchEulerDiscreteScheduler": {"stochastic_sampling": True},
    "EulerAncestralDiscreteScheduler": {},
    "DDPMScheduler": {"clip_sample": False},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++"},
}


def pipe_with(name: str, **changes: Any) -> Guided:
    made = Guided(lambda step: [1.0, -0.5])
    made.scheduler = getattr(diffusers, name)(**SCHEDULERS.get(name, {}) | changes)
    return made


def asked(count: int = 12, seed: int = 0) -> fc.Request:
    return fc.Request(steps=STEPS, count=count, seed=seed)


def error(pipe: Guided, schedule: fc.Schedule, predictor: fc.Predictor) -> float:
    """Squared distance from the plain run of the same seeds, on samples of their own."""
    ends = []
    for forecast in (fc.Reuse(), predictor):
        steps = fc.Every(1) if not ends else schedule
        with trajectory_of(pipe, 20) as seen, fc.attach(pipe, steps, forecast):
            asked(20, seed=100).run(pipe)
        ends.append(seen.samples[-1])
    return (ends[1] - ends[0]).square().mean().item()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_sampler_that_draws_noise_is_served(name):
    """In several parts too: the noise of a sample is the same in any batch."""
    pipe = pipe_with(name)
    made = fc.calibrate(
        pipe, asked(), schedules=[fc.Listed(COMPUTED)], micro_batch=5, refine=False
    )
    motion = made.recording.motion
    assert (motion.noisy, motion.is_linear, motion.first_order) == (True, True, False)
    assert made.evaluations >= 12 * (STEPS + STEPS // 4 + len(COMPUTED))
    schedule, predictor = made.choose(4)
    assert schedule.steps == COMPUTED
    ours = error(pipe, schedule, predictor)
    assert ours < 0.5 * min(error(pipe, schedule, it) for it in (fc.Reuse(), fc.Taylor(order=1)))


def test_the_file_knows_the_motion(tmp_path):
    pipe, path = pipe_with("DDPMScheduler"), tmp_path / "toy.cal"
    made = fc.calibrate(pipe, asked(4), path, schedules=[fc.Listed(COMPUTED)], refine=False)
    again = Calibration.load(path)
    np.testing.assert_array_equal(again.recording.displacements, made.recording.displacements)
    np.testing.assert_array_equal(again.recording.motion.keep, made.recording.motion.keep)
    assert {offer.loop for offer in again.offers()} == {"open", "closed", "exact"}
    with pytest.raises(CalibrationError, match="DDPMScheduler is stochastic .* loop='open'"):
        again.predictor(fc.Listed((0, 5)), "simulated")


def test_ddim_is_served_at_the_eta_that_it_was_calibrated_at():
    pipe = make_unconditional()
    pipe.scheduler = diffusers.DDIMScheduler(clip_sample=False)
    noisy = fc.Request(steps=6, count=4, call={"eta": 0.5})
    made = fc.calibrate(pipe, noisy, schedules=["0,2,4"], refine=False)
    assert made.identity.eta == 0.5
    assert made.recording.motion.noisy
    with fc.attach(pipe, *made.choose(3)):
        noisy.run(pipe)
        with pytest.raises(CalibrationError, match="of eta=0.5, .* by eta=0: ask for eta=0.5"):
            fc.Request(steps=6, count=4).run(pipe)


def test_open_loop_runs_nothing_beside_the_plain_run():
    made = fc.calibrate(pipe_with("DDPMScheduler"), asked(4), schedules=[])
    assert made.recording.displacements is None
    assert made.evaluations == 4 * STEPS


def test_what_explains_no_step_is_refused_by_name():
    pipe = pipe_with("DDPMScheduler", clip_sample=True)
    with pytest.raises(CalibrationError, match="DDPMScheduler is not linear .* clip_sample"):
        fc.calibrate(pipe, asked(), schedules=[fc.Listed(COMPUTED)])


def test_noise_that_depends_on_the_batch_is_refused():
    pipe = pipe_with("EulerAncestralDiscreteScheduler")
    step = pipe.scheduler.step
    # One that takes no generator, as a scheduler of somebody's own may.
    pipe.scheduler.step = lambda output, time, sample, return_dict=True: step(
        output, time, sample, return_dict=return_dict
    )
    with pytest.raises(CalibrationError, match="in batches: record all in one .--micro-batch"):
        fc.calibrate(pipe, asked(6), schedules=[fc.Listed(COMPUTED)], micro_batch=3)
    made = fc.calibrate(pipe, asked(6), schedules=[fc.Listed(COMPUTED)], micro_batch=6)
    assert made.recording.motion.noisy


def test_killed_it_goes_on_with_what_was_displaced(tmp_path, monkeypatch):
    pipe, out = pipe_with("DDPMScheduler"), tmp_path / "toy.cal"
    options = {"schedules": [fc.Listed(COMPUTED)], "micro_batch": 2, "refine": False}
    whole = fc.calibrate(pipe, asked(4), **options)
    write = Parts.write

    def killed(self: Parts, name: str, content: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Parts, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        fc.calibrate(pipe, asked(4), out, **options)
    monkeypatch.setattr(Parts, "write", write)
    kept = {path.name for path in Path(f"{out}.parts").glob("*.safetensors")}
    assert {f"displaced-0-000{part}.safetensors" for part in (0, 1)} < kept
    again = fc.calibrate(pipe, asked(4), out, **options)
    np.testing.assert_array_equal(again.recording.displacements, whole.recording.displacements)
    assert again.fits[0].rows == whole.fits[0].rows
    assert not Path(f"{out}.parts").exists()
