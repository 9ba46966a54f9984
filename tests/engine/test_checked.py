"""An outsider's mistake is named in a run: in a forecast, a depth or a schedule's answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError, HistoryError, ScheduleError
from forecastcache.testing.fake_pipeline import FakePipeline

from ..adapters.tiny import make

TIMES = [1.0, 0.8, 0.6, 0.4, 0.2]


def run(tiny):
    for time in TIMES:
        tiny.model(**tiny.arguments, timestep=torch.full((2,), time))


def run_all(pipe):
    for time in pipe.scheduler.timesteps:
        pipe.transformer(torch.ones(1, 3), time)


class Newest(fc.Predictor):
    """Forecasts what `make` makes of the newest feature."""

    made: str

    @property
    def depth(self):
        return 2

    def forecast(self, history, target):
        return FORECASTS[self.made](history.features[-1])


def called_model(feature):
    return MODELS[-1](torch.ones(1, 3), torch.tensor(0.5))


MODELS = []
FORECASTS = {
    "nothing": lambda feature: None,
    "numpy": lambda feature: feature.numpy().copy(),
    "number": lambda feature: 0.5,
    "integers": lambda feature: feature.int(),
    "bools": lambda feature: feature > 0,
    "wider": lambda feature: feature.double(),
    "broadcast": lambda feature: feature[:1].clone(),
    "mean": lambda feature: feature.mean(),
    "elsewhere": lambda feature: torch.empty_like(feature, device="meta"),
    "handed out": lambda feature: feature,
    "view": lambda feature: feature.flatten().view_as(feature),
    "written": lambda feature: feature.mul_(2) * 1,
    "asked": called_model,
}
COMPLAINTS = {
    "nothing": "forecast NoneType, no tensor, where features are .*: return a tensor like them",
    "numpy": "forecast ndarray, no tensor",
    "number": "forecast float, no tensor",
    "integers": r"forecast \(.*\) of torch.int32 on cpu, where features are .* torch.float32",
    "bools": r"forecast \(.*\) of torch.bool on cpu",
    "wider": r"forecast \(.*\) of torch.float64 on cpu",
    "broadcast": r"forecast \(1, .*\) of torch.float32 on cpu, where features are \(2, ",
    "mean": r"forecast \(\) of",
    "elsewhere": r"forecast \(.*\) of torch.float32 on meta, where features are .* on cpu",
    "handed out": r"handed out a part of its history.*: return a copy, as history",
    "view": "handed out a part of its history",
    "written": "wrote to its history: copy what is to be changed",
}


@pytest.mark.parametrize("site", ["output", "module"])
@pytest.mark.parametrize("made", COMPLAINTS)
def test_a_forecast_that_is_not_like_the_features_is_named(made, site):
    tiny = make("dit")
    with (
        fc.attach(tiny.model, fc.Every(3, first=2), Newest(made), site=site),
        torch.no_grad(),
        pytest.raises(
            HistoryError, match=rf"^Newest\(made='{made}'\) {COMPLAINTS[made]}"
        ) as error,
    ):
        run(tiny)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("made", ["handed out", "written"])
def test_it_is_named_in_inference_mode_too(made):
    tiny = make("dit")
    with (
        fc.attach(tiny.model, fc.Every(3, first=2), Newest(made)),
        torch.inference_mode(),
        pytest.raises(HistoryError, match=COMPLAINTS[made]),
    ):
        run(tiny)


def test_a_forecast_that_calls_the_model_is_named_and_the_session_goes_on():
    pipe = FakePipeline(TIMES)
    MODELS.append(pipe.transformer)
    sample, times = torch.ones(1, 3), pipe.scheduler.timesteps
    with fc.attach(pipe, fc.Every(3, first=2), Newest("asked")):
        pipe.transformer(sample, times[0])
        pipe.transformer(sample, times[1])
        with pytest.raises(HistoryError, match="called the model while it forecast: a forecast"):
            pipe.transformer(sample, times[2])
        assert torch.equal(pipe.transformer(sample, times[0]), sample * times[0])


class Halves(Newest):
    """Computes in the dtype of storage, as `history.features` are."""

    made: str = ""

    def forecast(self, history, target):
        return history.features[-1] / 2


def test_a_forecast_in_the_dtype_of_storage_is_taken():
    pipe = FakePipeline(TIMES)
    sample = torch.full((1, 3), 4.0)
    with fc.attach(pipe, fc.Listed([0, 2]), Halves(), dtype=torch.bfloat16):
        for time in pipe.scheduler.timesteps[:2]:
            output = pipe.transformer(sample, time)
    assert output.dtype == torch.float32
    assert torch.equal(output, sample / 2)


class Depth(Newest):
    made: str = ""
    kept: object = 1
    needed: object = 1

    @property
    def depth(self):
        return self.kept

    @property
    def minimum(self):
        return self.needed


@pytest.mark.parametrize("count", [0, -1, 1.0, True, None, "2", float("inf"), np.float64(2)])
def test_a_depth_that_is_no_positive_integer_is_refused(count):
    for given, name in ((Depth(kept=count), "depth"), (Depth(needed=count), "minimum")):
        with pytest.raises(AttachError, match=f"has a {name} of .*: give a whole number of at"):
            fc.attach(FakePipeline(TIMES), fc.Every(3), given)


@pytest.mark.parametrize("answer", [1, None, "yes", np.bool_(True), torch.tensor(True)])
def test_a_schedules_answer_must_be_a_bool(answer):
    ANSWERS.append(answer)
    pipe = FakePipeline(TIMES)
    with (
        fc.attach(pipe, Answers(), fc.Reuse()),
        pytest.raises(ScheduleError, match=r"compute gave .*: it must give True or False"),
    ):
        pipe.transformer(torch.ones(1, 3), pipe.scheduler.timesteps[0])


ANSWERS = []


class Answers(fc.Schedule):
    def compute(self, step, state):
        return ANSWERS[-1]


class Writes(fc.Schedule):
    tensor: str

    @property
    def needs(self):
        return frozenset({"output"})

    def compute(self, step, state):
        written = getattr(state, self.tensor)
        if written is not None:
            written[..., 0] += 1
        return step.index % 2 == 0


@pytest.mark.parametrize("tensor", ["sample", "computed_output", "forecast_output"])
def test_a_schedule_that_writes_to_its_state_is_named(tensor):
    pipe = FakePipeline(TIMES)
    with (
        fc.attach(pipe, Writes(tensor), fc.Reuse()),
        pytest.raises(ScheduleError, match=r"compute wrote to a tensor of its state.*clone"),
    ):
        run_all(pipe)
