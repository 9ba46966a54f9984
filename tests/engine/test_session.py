"""What attaching does, what it leaves behind, and what it refuses."""

from __future__ import annotations

import threading

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

import forecastcache as fc
from forecastcache.errors import NotFiniteError, ScheduleError

from ..conftest import SITES, make_pipeline, make_transformer, sample

EVERY_THIRD = fc.Every(3, first=2)


@pytest.mark.parametrize("site", SITES)
def test_all_computed_is_bit_identical(pipe, site):
    plain = sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(order=2), site=site) as session:
        assert torch.equal(sample(pipe), plain)
    assert session.report().computed == tuple(range(12))


@pytest.mark.parametrize("site", SITES)
def test_forecasting_changes_the_picture_a_little_and_skips_the_rest(pipe, site):
    plain = sample(pipe)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site) as session:
        picture = sample(pipe)
    assert session.report().computed == (0, 1, 4, 7, 10)
    assert 0 < (picture - plain).abs().mean() < 0.05


@pytest.mark.parametrize("site", SITES)
def test_an_interrupt_between_steps_does_not_reach_the_next_run(pipe, site):
    never_stopped = make_pipeline()
    with fc.attach(never_stopped, EVERY_THIRD, fc.Taylor(), site=site):
        fresh = sample(never_stopped, seed=1, classes=(5,))
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site):
        for stop_after in (1, 2, 5):
            step, calls = pipe.scheduler.step, 0

            def interrupt(*args, step=step, stop_after=stop_after, **kwargs):
                nonlocal calls
                calls += 1
                if calls == stop_after:
                    raise KeyboardInterrupt
                return step(*args, **kwargs)

            pipe.scheduler.step = interrupt
            with pytest.raises(KeyboardInterrupt):
                sample(pipe, classes=(5,))
            del pipe.scheduler.step
            assert torch.equal(sample(pipe, seed=1, classes=(5,)), fresh)


def other_requests() -> list[dict]:
    return [
        {"seed": 0},
        {"seed": 0},
        {"seed": 7, "classes": (3, 4)},
        {"classes": (1, 2, 3)},
        {"steps": 7},
        {"steps": 1},
        {"steps": 1},
        {"steps": 12, "guidance_scale": 1.0},
        {"classes": (9,), "steps": 20},
    ]


@pytest.mark.parametrize("site", SITES)
def test_run_after_run_equals_a_fresh_process(pipe, site):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site):
        one_after_another = [sample(pipe, **request) for request in other_requests()]
    plain = sample(pipe)
    for request, result in zip(other_requests(), one_after_another):
        fresh = make_pipeline()
        with fc.attach(fresh, EVERY_THIRD, fc.Taylor(), site=site):
            assert torch.equal(sample(fresh, **request), result), request
    assert torch.equal(plain, sample(make_pipeline()))


@pytest.mark.parametrize("site", SITES)
def test_another_resolution_in_the_middle_starts_afresh(site):
    model = make_transformer()
    label = torch.tensor([1])
    small, large = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 12, 12)

    def run(sample: torch.Tensor) -> list[torch.Tensor]:
        times = torch.linspace(900, 100, 6)
        with torch.no_grad():
            return [model(sample, timestep=t[None], class_labels=label).sample for t in times]

    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site):
        first, second, third = run(small), run(large), run(small)
    assert all(map(torch.equal, first, third))
    assert second[-1].shape == large.shape
    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site):
        assert all(map(torch.equal, run(large), second))


def test_a_bare_model_takes_a_run_with_another_condition_for_what_it_is(pipe):
    pipe.scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    with fc.attach(pipe.transformer, EVERY_THIRD, fc.Taylor()):
        sample(pipe, steps=1, classes=(7,))
        after_another = sample(pipe, classes=(1,))
    with fc.attach(pipe.transformer, EVERY_THIRD, fc.Taylor()):
        assert torch.equal(sample(pipe, classes=(1,)), after_another)


def test_the_cache_is_gone_before_the_picture_is_decoded(pipe):
    held = []
    decode = pipe.vae.decode

    def watch(*args, **kwargs):
        held.append([len(branch.steps) for branch in session._runs.newest._branches.values()])
        return decode(*args, **kwargs)

    pipe.vae.decode = watch
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        sample(pipe)
    assert held == [[]]


@pytest.mark.parametrize("site", SITES)
def test_two_threads_with_a_pipeline_each(site):
    def attached_sample(seed: int) -> torch.Tensor:
        pipe = make_pipeline(seed)
        start.wait()
        with fc.attach(pipe, fc.Every(2 + seed), predictor, site=site):
            return torch.stack([sample(pipe, seed=i) for i in range(3)])

    predictor = fc.Taylor()  # one object for both
    start = threading.Barrier(1)
    alone = [attached_sample(seed) for seed in (0, 1)]

    made = [make_pipeline(seed) for seed in (0, 1)]  # seeding torch is global: not in threads
    start = threading.Barrier(2)
    together: dict[int, torch.Tensor] = {}

    def work(seed: int) -> None:
        start.wait()
        with fc.attach(made[seed], fc.Every(2 + seed), predictor, site=site):
            together[seed] = torch.stack([sample(made[seed], seed=i) for i in range(3)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[seed], alone[seed]) for seed in (0, 1))


def test_a_schedule_past_the_end_is_refused_before_the_model_runs(pipe):
    ran = []
    pipe.transformer.pos_embed.register_forward_hook(lambda *_: ran.append(1))
    with (
        fc.attach(pipe, fc.Listed([0, 3, 60]), fc.Taylor()),
        pytest.raises(ScheduleError, match="step 60, but the trajectory has 12"),
    ):
        sample(pipe)
    assert not ran


def test_a_scheduler_that_repeats_a_time_is_followed(pipe):
    pipe.scheduler = PNDMScheduler(skip_prk_steps=True)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        sample(pipe, steps=11)
    assert len(pipe.scheduler.timesteps) == 12
    assert session.report().computed == (0, 1, 4, 7, 10)
    assert {call.branch for call in session.report().calls} == {0}


def test_a_scheduler_swapped_after_attach_is_followed(pipe):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        pipe.scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
        sample(pipe, steps=8)
        assert session.report().computed == (0, 1, 4, 7)
        assert session.report().calls[0].step[:3] == (0, 999.0, 8)


class Exploding(fc.LinearPredictor):
    @property
    def depth(self) -> int:
        return 1

    def weights(self, computed, target):
        return [1e39]


def test_a_forecast_that_is_not_finite_raises_or_recomputes(pipe):
    plain = sample(pipe)
    with (
        fc.attach(pipe, fc.Listed([0]), Exploding()),
        pytest.raises(NotFiniteError, match="step 1 is not finite: Exploding.*recompute"),
    ):
        sample(pipe)
    with fc.attach(pipe, fc.Listed([0]), Exploding(), not_finite="recompute") as session:
        assert torch.equal(sample(pipe), plain)
    assert session.report().computed == tuple(range(12))


def test_a_model_that_computes_nan_is_named_as_the_cause():
    model = make_transformer()
    model.proj_out_2.weight.data.fill_(torch.nan)
    latents, label = torch.randn(1, 4, 8, 8), torch.tensor([1])
    session = fc.attach(model, fc.Listed([0]), fc.Reuse())
    with torch.no_grad():
        model(latents, timestep=torch.tensor([900]), class_labels=label)
        model(latents, timestep=torch.tensor([800]), class_labels=label)
    with pytest.raises(NotFiniteError, match="the model itself computed NaN"):
        session.detach()
    assert "forward" not in model.__dict__


def test_the_next_computed_step_tells_of_a_forecast_that_was_not_finite():
    model = Explosive()
    session = fc.attach(model, fc.Listed([0, 3]), Exploding())
    for time in (6.0, 5.0, 4.0):
        model(torch.ones(3), torch.tensor(time))
    with pytest.raises(NotFiniteError, match="step 1 is not finite: Exploding"):
        model(torch.ones(3), torch.tensor(3.0))
    session.detach()  # with nothing more to say


def test_an_error_is_not_hidden_by_what_came_of_it():
    model = Explosive()

    def fail() -> None:
        with fc.attach(model, fc.Listed([0]), Exploding()):
            for time in (6.0, 5.0):
                model(torch.ones(3), torch.tensor(time))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "forward" not in model.__dict__


class Hungry(fc.Reuse):
    """Needs three features before its first forecast."""

    @property
    def depth(self) -> int:
        return 3

    @property
    def minimum(self) -> int:
        return 3


def test_the_session_computes_while_a_history_is_too_short(pipe):
    with fc.attach(pipe, fc.Listed([0, 8]), Hungry()) as session:
        sample(pipe)
    assert session.report().computed == (0, 1, 2, 8)


class Lazy(fc.Predictor):
    """Returns what is stored as it is stored."""

    @property
    def depth(self) -> int:
        return 1

    def forecast(self, history, target):
        return history.features[-1].clone()


def test_forecasts_come_in_the_features_dtype_whatever_the_storage():
    model, x = Explosive(), torch.ones(3)
    with fc.attach(model, fc.Listed([0]), Lazy(), dtype=torch.bfloat16):
        outputs = [model(x, torch.tensor(time)) for time in (3.0, 2.0, 1.0)]
    assert {output.dtype for output in outputs} == {torch.float32}


class Explosive(torch.nn.Module):
    """Computes NaN at times below 2.5."""

    def forward(self, x, timestep):
        return x * (timestep if timestep > 2.5 else torch.nan)


@pytest.mark.parametrize("predictor", [fc.Exponential(), fc.Exponential(2), fc.Taylor(2)], ids=str)
def test_what_the_model_computes_as_nan_is_named(predictor):
    model, x = Explosive(), torch.ones(3)
    session = fc.attach(model, fc.Listed([0, 1, 2, 3]), predictor)
    for time in (5.0, 4.0, 3.0, 2.0, 1.0):
        model(x, torch.tensor(time))
    with pytest.raises(fc.errors.NotFiniteError, match="the model itself computed NaN"):
        session.detach()
    with fc.attach(model, fc.Listed([0, 1, 2, 3]), predictor, not_finite="recompute") as session:
        for time in (5.0, 4.0, 3.0, 2.0, 1.0):
            model(x, torch.tensor(time))
    assert session.report().computed == (0, 1, 2, 3, 4)


class Reading(torch.nn.Module):
    """Reads data on its way."""

    def forward(self, x, timestep):
        return x * timestep.item()


def test_a_budget_for_a_model_that_reads_data_is_refused_in_words():
    model = Reading()
    with (
        fc.attach(model, fc.Every(2), fc.Reuse(), budget="1 GiB"),
        pytest.raises(fc.errors.BudgetError, match="cannot be planned.*leave out budget="),
    ):
        model(torch.ones(2), torch.tensor(1.0))
