"""How samplers move the samples: found from runs, and carried to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.calibration.gram import RIDGE, least_weights
from forecastcache.calibration.part_files import Parts
from forecastcache.calibration.recorder import RequestRecorder
from forecastcache.calibration.recording import record
from forecastcache.calibration.sampler import LAGS, Motion
from forecastcache.calibration.subset import Subset
from forecastcache.errors import CalibrationError
from forecastcache.sampling.trajectory import Trajectory, trajectory_of

from .toys import STEPS, Guided, Toy, curved, rolls_of, starts

COMPUTED = (0, 3, 6, 9)
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
# Of each family in diffusers: how to make one, and the regressors that its steps need.
LINEAR: dict[str, tuple[Callable[[], Any], int]] = {
    "flow-matching Euler": (diffusers.FlowMatchEulerDiscreteScheduler, 2),
    "Euler": (diffusers.EulerDiscreteScheduler, 2),
    "DDIM": (lambda: diffusers.DDIMScheduler(clip_sample=False), 2),
    "DPM++ 2M": (diffusers.DPMSolverMultistepScheduler, 4),
    "DPM++ 3M": (lambda: diffusers.DPMSolverMultistepScheduler(solver_order=3), 6),
    "DPM++ 2M, flow": (lambda: diffusers.DPMSolverMultistepScheduler(**FLOW), 4),
    "DPM++ 2S": (diffusers.DPMSolverSinglestepScheduler, 3),
    "UniPC": (diffusers.UniPCMultistepScheduler, 6),
    "UniPC, flow": (lambda: diffusers.UniPCMultistepScheduler(**FLOW), 6),
    "UniPC 3": (lambda: diffusers.UniPCMultistepScheduler(solver_order=3), 8),
    "DEIS": (diffusers.DEISMultistepScheduler, 3),
    "DEIS, flow": (lambda: diffusers.DEISMultistepScheduler(**FLOW), 4),
    "LMS": (diffusers.LMSDiscreteScheduler, 7),
    "PNDM": (lambda: diffusers.PNDMScheduler(skip_prk_steps=True), 7),
    "iPNDM": (diffusers.IPNDMScheduler, 8),
    "EDM DPM++": (diffusers.EDMDPMSolverMultistepScheduler, 4),
}


def sampled(pipe: Toy, start: torch.Tensor) -> Trajectory:
    with trajectory_of(pipe, len(start)) as seen:
        pipe(start)
    return seen


def missed(motion: Motion, one: Trajectory, other: Trajectory) -> list[float]:
    """What the motion leaves of each step of the difference of two runs, beside the sample."""
    moved = [a.double() - b.double() for a, b in zip(one.samples, other.samples)]
    answers = [a.double() - b.double() for a, b in zip(one.guided, other.guided)]
    found = []
    for step in range(len(answers)):
        foretold = torch.zeros_like(moved[0])
        for lag in range(min(step + 1, LAGS)):
            foretold += motion.keep[step, lag] * moved[step - lag]
            foretold += motion.move[step, lag] * answers[step - lag]
        away = moved[step + 1] - foretold
        found.append(float(away.norm() / one.samples[step + 1].norm()))
    return found


@pytest.mark.parametrize("name", LINEAR)
def test_the_factors_of_linear_samplers_hold_for_any_other_run(name):
    """To 1e-5 of the samples, of which float32 leaves some 1e-7 and its cancellation more."""
    make, regressors = LINEAR[name]
    pipe, start = Toy(curved, make()), starts(8, size=60)
    recording, seen = record(pipe, lambda: pipe(start), len(start))
    motion = recording.motion
    motion.require_linear(name)
    assert motion.missed < 1e-5
    used = np.count_nonzero(motion.keep, axis=1) + np.count_nonzero(motion.move, axis=1)
    assert used.max() <= regressors
    assert motion.first_order == (regressors == 2)
    other = sampled(pipe, start + 0.1 * starts(8, seed=1, size=60))
    assert max(missed(motion, other, seen)) < 1e-5


def test_what_displacements_come_to_follows_from_the_recursion():
    generator = np.random.default_rng(0)
    keep, move = generator.normal(size=(2, STEPS, LAGS))
    moved, answers = generator.normal(size=(2, STEPS + 1))
    step = 5  # up to which the displacements are known; later answers are plain
    answers[step + 1 :] = 0
    known = moved[: step + 1].tolist()
    for at in range(step, STEPS):
        known.append(
            sum(keep[at, k] * known[at - k] + move[at, k] * answers[at - k] for k in range(LAGS))
        )
    samples, outputs = (each[step] for each in Motion(keep, move, 0.0).carried)
    newest = slice(step, step - LAGS, -1)
    foretold = samples @ moved[newest] + outputs @ answers[newest]
    assert known[-1] == pytest.approx(foretold, rel=1e-9)


def test_sensitivities_carry_an_error_to_the_end():
    keep, move = np.zeros((2, 3, LAGS))
    keep[:, 0], move[:, 0] = [0.9, 0.5, 2.0], [1.0, 3.0, 4.0]
    np.testing.assert_allclose(Motion(keep, move, 0.0).sensitivity, [0.5 * 2, 3 * 2, 4])


@pytest.mark.parametrize("name", ["flow-matching Euler", "DDIM"])
def test_rows_of_first_order_land_each_step(name):
    """w = argmin |x_{s+1} - a_s x~_s - b_s sum_c w_c g~_c|^2 + ridge |w|^2, to rounding."""
    pipe, start = Toy(curved, LINEAR[name][0]()), starts(20)
    _, rolls = rolls_of(pipe, start)
    assert not rolls.guided
    rolled = rolls.fitted(COMPUTED)
    for row in rolled.rows:
        keep, move = rolls.motion.keep[row.target, 0], rolls.motion.move[row.target, 0]
        away = rolls.plain[row.target + 1].double() - keep * rolled.samples[row.target].double()
        known = zip(rolled.computed, rolled.guided)
        past = torch.stack([g.double().flatten() for c, g in known if c in row.computed]) * move
        expected = least_weights((past @ past.T).numpy(), (past @ away.flatten()).numpy(), RIDGE)
        np.testing.assert_allclose(row.weights, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["DPM++ 2M, flow", "UniPC, flow", "DEIS, flow", "LMS", "PNDM"])
def test_rows_of_multistep_samplers_end_nearer_than_taylor_on_other_starts(name):
    pipe, others = Toy(curved, LINEAR[name][0]()), starts(40, seed=1)
    _, rolls = rolls_of(pipe, starts(40))
    rows = rolls.fitted(COMPUTED).rows
    aim = pipe(others).images

    def error(predictor: fc.Predictor) -> float:
        with fc.attach(pipe, fc.Listed(COMPUTED), predictor):
            return (pipe(others).images - aim).square().mean().item()

    assert error(fc.Learned(rows)) < 0.5 * min(error(fc.Taylor(order=1)), error(fc.Reuse()))


def test_nonlinear_samplers_are_refused_by_name():
    for config in ({"clip_sample": True}, {"clip_sample": False, "thresholding": True}):
        pipe = Toy(curved, diffusers.DDIMScheduler(**config))
        start = starts(8, size=60).reshape(8, 1, 6, 10)  # thresholding reads images
        motion = record(pipe, lambda: pipe(start), 8)[0].motion  # noqa: B023
        with pytest.raises(CalibrationError, match="DDIMScheduler is not linear .* clip_sample"):
            motion.require_linear("DDIMScheduler")


def test_a_scheduler_that_makes_more_steps_than_asked_is_served(tmp_path):
    """PNDM repeats its second step."""
    pipe = Guided(lambda step: [1.0, -0.5])
    pipe.scheduler = diffusers.PNDMScheduler(skip_prk_steps=True)
    asked = fc.Request(steps=6, count=4)
    made = fc.calibrate(pipe, asked, tmp_path / "toy.cal", schedules=["0,2,4"], refine=False)
    assert made.recording.steps == 7
    assert made.offer(4) == made.offer(3)
    with fc.attach(pipe, *fc.Calibration.load(tmp_path / "toy.cal").choose(3)) as session:
        asked.run(pipe)
    assert sum(call.was_computed for call in session.calls) == 3 * 2  # branches


@pytest.mark.parametrize("name", ["flow-matching Euler", "DPM++ 2M, flow"])
def test_outputs_are_kept_where_the_samples_do_not_tell_them(name, tmp_path):
    pipe, group = Guided(lambda step: [1.0]), ProcessGroup()
    pipe.scheduler = LINEAR[name][0]()
    parts = fc.Request(steps=STEPS, count=5).split(pipe, 3)
    with Parts.of(tmp_path / "toy.cal", {}, group) as kept:
        recorder = RequestRecorder(pipe, True, kept, group, 3, None, Subset())
        made, read = (recorder.fitter(0, parts, lambda *_: None).rolls for _ in range(2))
    told = name == "flow-matching Euler"
    assert len(made.guided) == len(read.guided) == (0 if told else STEPS)
    with trajectory_of(pipe, 5) as seen:
        fc.Request(steps=STEPS, count=5).run(pipe)
    for step, guided in enumerate(seen.guided):
        torch.testing.assert_close(made.plain_guided(step).float(), guided, rtol=1e-4, atol=1e-4)
        assert torch.equal(read.plain_guided(step), made.plain_guided(step))
