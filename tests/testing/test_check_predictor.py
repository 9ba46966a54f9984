"""The suite passes what conforms and names what does not."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.errors import ConformanceError
from forecastcache.testing import check_predictor

from ..built_ins import COMPUTED, TIMES, learned, predictors


@pytest.mark.parametrize(
    "predictor", [it for it in predictors() if not isinstance(it, fc.Learned)], ids=str
)
def test_every_built_in_conforms(predictor):
    check_predictor(predictor)


@pytest.mark.parametrize(
    "predictor", [it for it in predictors() if isinstance(it, fc.Learned)], ids=str
)
def test_a_learned_predictor_conforms_on_its_own_trajectory(predictor):
    check_predictor(predictor, fc.Listed(COMPUTED), TIMES)


def test_fitted_rows_need_not_keep_constants_but_others_must():
    assert sum(learned().rows[0].weights) != 1
    with pytest.raises(ConformanceError, match="constant trajectory is off"):
        check_predictor(Half())


class Half(fc.LinearPredictor):
    @property
    def depth(self):
        return 1

    def weights(self, computed, target):
        return np.full(len(computed), 0.5)


class Counting(fc.LinearPredictor):
    """Keeps state: every row differs from the one before."""

    @property
    def depth(self):
        return 2

    def weights(self, computed, target):
        calls = CALLS.append(1) or len(CALLS)
        return np.array([-calls, 1 + calls][-len(computed) :]) if len(computed) == 2 else [1.0]


CALLS: list[int] = []


class HandsOut(fc.Predictor):
    @property
    def depth(self):
        return 1

    def forecast(self, history, target):
        return history.features[-1]


class WritesHistory(HandsOut):
    def forecast(self, history, target):
        return history.features[-1].mul_(0.5) * 2


MODEL = torch.nn.Linear(1, 1)


class AsksTheModel(HandsOut):
    def forecast(self, history, target):
        MODEL(torch.ones(1))
        return history.features[-1].clone()


class Endless(HandsOut):
    @property
    def depth(self):
        return float("inf")


class Truthful(HandsOut):
    @property
    def depth(self):
        return True


class OwnModule(HandsOut):
    """Not linear, by a module of its own."""

    module: ClassVar = torch.nn.Identity()

    def forecast(self, history, target):
        return self.module(history.features[-1].clone())


def test_a_predictor_may_have_a_module_of_its_own():
    check_predictor(OwnModule())


class Widens(HandsOut):
    def forecast(self, history, target):
        return history.features[-1].double() * 1


class Turns(HandsOut):
    def forecast(self, history, target):
        return history.features[-1].flatten()


class Squares(HandsOut):
    def forecast(self, history, target):
        newest = history.features[-1]
        return newest * newest.abs()


class Explodes(HandsOut):
    def forecast(self, history, target):
        return history.features[-1] / 0


class NotHungry(HandsOut):
    def prepare(self, computed, target):
        return lambda history: history.combine([1.0])


class NeverFull(HandsOut):
    @property
    def minimum(self):
        return 2


class Listless(HandsOut):
    weights: tuple[float, ...] = (1.0,)

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return 0


class Drifts(HandsOut):
    """Adds a little of the scale of the features."""

    def forecast(self, history, target):
        newest = history.features[-1]
        return newest + newest.abs().max() * 1e-3


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Counting, "forecast the same history differently"),
        (HandsOut, "handed out a part of its history, or its forecast shares memory"),
        (WritesHistory, "wrote to its history: copy"),
        (AsksTheModel, "called Linear while it forecast: a forecast is made from the history"),
        (Endless, "depth of inf: give a whole number of at least 1"),
        (Truthful, "depth of True: give a whole number"),
        (Widens, "and returned .*float64"),
        (Turns, r"returned \(120,\)"),
        (Squares, "four times as large is off by"),
        (Explodes, "its forecast is not finite"),
        (NotHungry, "forecast from 0 features, but its minimum is 1"),
        (NeverFull, "needs 2 features but keeps 1"),
        (Listless, "came back from pickle as"),
        (Drifts, "constant trajectory is off by"),
    ],
)
def test_what_does_not_conform_is_named(kind, complaint):
    with pytest.raises(ConformanceError, match=complaint) as error:
        check_predictor(kind())
    assert isinstance(error.value, AssertionError)


def test_a_class_that_cannot_be_pickled_is_told_what_to_do():
    class Local(fc.Taylor):
        """Defined in a function."""

    with pytest.raises(ConformanceError, match="from pickle .* at the top of a module"):
        check_predictor(Local())


class Nothing(HandsOut):
    def forecast(self, history, target):
        return None


class Hides(HandsOut):
    def forecast(self, history, target):
        return history.features[-1].nan_to_num()


def test_what_is_no_predictor_no_forecast_or_no_schedule_is_named():
    for thing in (fc.Taylor, "taylor"):
        with pytest.raises(ConformanceError, match="is no predictor: give an object"):
            check_predictor(thing)
    with pytest.raises(ConformanceError, match="computes all 50 steps"):
        check_predictor(fc.Taylor(), fc.Every(1))
    with pytest.raises(ConformanceError, match="returned None, no tensor"):
        check_predictor(Nothing())
    with pytest.raises(ConformanceError, match="a finite forecast of features that are not"):
        check_predictor(Hides())
