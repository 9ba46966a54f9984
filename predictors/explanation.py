"""explain(): what a linear predictor does with given steps."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecastcache.errors import OptionError
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.predictors.coordinates import Coordinate, nodes_of
from forecastcache.predictors.differences import (
    noise_gain,
    polynomial_degree,
    to_differences,
    to_divided_differences,
)
from forecastcache.schedule import Listed
from forecastcache.step import Step


@dataclass(frozen=True)
class Explanation:
    """What a linear predictor does with given steps.

    Attributes:
        predictor: explained.
        computed: steps in the history, oldest first.
        target: step forecast.
        row: one weight a computed step, oldest first.
        even: whether the steps that weigh anything are evenly spaced.
        differences: coefficients of the backward differences if even, else of Newton's divided
            differences, from the newest step back; order 0 first.
        noise_gain: sum of the absolute weights.
        degree: the degree up to which polynomials are reproduced exactly, in the predictor's
            coordinate, or the step's index if it has none; -1 for none.
    """

    predictor: LinearPredictor
    computed: tuple[Step, ...]
    target: Step
    row: tuple[float, ...]
    even: bool
    differences: tuple[float, ...]
    noise_gain: float
    degree: int

    def __str__(self) -> str:
        kind = "backward" if self.even else "divided"
        weights = [f"{w:.6g}" for w in self.row[::-1]]
        coefficients = [f"{c:.6g}" for c in self.differences]
        width = max(map(len, ["weight", *weights])) + 2
        lines = [f"  step{'weight':>{width}}   order   coefficient of the {kind} difference"]
        for i, (step, weight) in enumerate(zip(self.computed[::-1], weights)):
            line = f"{step.index:6}{weight:>{width}}"
            lines.append(line + (f"{i:8}   {coefficients[i]}" if i < len(coefficients) else ""))
        computed = " ".join(str(step.index) for step in self.computed)
        title = f"{self.predictor} forecasts step {self.target.index} from steps {computed}"
        gain = f"noise gain {self.noise_gain:.4g}; {self._exactness()}"
        return "\n".join([title, *lines, gain])

    def _exactness(self) -> str:
        if self.degree < 0:
            return "not exact, not even on constants"
        names = ("constants", "straight lines", "parabolas", "cubics")
        if self.degree < len(names):
            return f"exact on {names[self.degree]} (degree {self.degree})"
        return f"exact on polynomials of degree {self.degree}"

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "predictor": str(self.predictor),
            "computed": [step.index for step in self.computed],
            "target": self.target.index,
            "row": list(self.row),
            "even": self.even,
            "differences": list(self.differences),
            "noise_gain": self.noise_gain,
            "degree": self.degree,
        }


def explain(
    predictor: Predictor, computed: Sequence[Step | int], target: Step | int
) -> Explanation:
    """The row with which `predictor` forecasts `target`, its differences, gain and exactness.

    Args:
        predictor: a linear one.
        computed: steps computed so far, oldest first; a number stands for a step of that index,
            whose time is unknown. From step 0 on they tell the warm-up too.
        target: step to forecast, later than all of them.

    Raises:
        OptionError: the predictor is not linear, or the steps do not rise.
        HistoryError: the predictor cannot forecast from these steps.
    """
    predictor = _linear(predictor)
    steps = tuple(map(_as_step, computed))
    goal = _as_step(target)
    indices = [step.index for step in (*steps, goal)]
    if indices[0] < 0 or any(b <= a for a, b in zip(indices, indices[1:])):
        listed = " ".join(map(str, indices[:-1]))
        raise OptionError(
            f"the computed steps are {listed} and the target is {goal.index}: each must be above "
            "the one before it, from 0 on"
        )
    if indices[0] == 0:  # the computed steps are all known, and with them the warm-up
        predictor = predictor.for_schedule(Listed(indices[:-1]))
    row = predictor.row(steps, goal)
    used = np.flatnonzero(row)
    oldest = int(used[0]) if len(used) else len(row) - 1
    coordinate: Coordinate = getattr(predictor, "coordinate", "step")
    *nodes, goal_node = nodes_of([*steps[oldest:], goal], coordinate).tolist()
    newest_first = nodes[::-1]
    weights = row[oldest:][::-1].tolist()
    even = len(set(np.diff(newest_first).tolist())) <= 1
    coefficients = (
        to_differences(weights) if even else to_divided_differences(weights, newest_first)
    )
    return Explanation(
        predictor=predictor,
        computed=steps,
        target=goal,
        row=tuple(row.tolist()),
        even=even,
        differences=tuple(map(float, coefficients)),
        noise_gain=noise_gain(row),
        degree=polynomial_degree(weights, [node - goal_node for node in newest_first]),
    )


def _linear(predictor: Predictor) -> LinearPredictor:
    if not isinstance(predictor, Predictor):
        raise OptionError(f"{predictor!r} is no predictor: give one, such as Taylor(order=1)")
    if not isinstance(predictor, LinearPredictor):
        raise OptionError(
            f"{predictor} has no row to explain: it is no one weighted sum of the features; "
            "explain a linear predictor"
        )
    return predictor


def _as_step(step: Step | int) -> Step:
    return step if isinstance(step, Step) else Step(operator.index(step), float("nan"))
