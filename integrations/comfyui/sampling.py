"""What is forecast in one run of a sampler, and from what.

ComfyUI's model returns the denoised sample `D(x, sigma)`. What is forecast is
`d = (x - D) / sigma`, in which the current sample is left out: the noise of a model that predicts
noise, the velocity of a flow model. So it is the model's own output, as at forecastcache's site
`output`, whatever the model's parametrisation; and `D = x - sigma d` afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import isclose
from typing import Any

import torch
from torch import Tensor

from forecastcache.history import History
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule
from forecastcache.step import Step

KEY = "forecastcache"
logger = logging.getLogger(KEY)
# What ComfyUI puts into the options where a call is not one condition on the whole sample, step
# after step: parts of a long video, and several GPUs at once.
OTHERWISE = ("context_window", "multigpu_thread_device")


class SamplingRun:
    """The histories of one run, one for each condition, and which steps are computed.

    A condition is told by its place (positive or negative) and its id. ComfyUI puts conditions
    into one batch or makes a call for each, as memory allows, at each step anew.

    Samplers that call the model several times a step show themselves by another noise level than
    the next, or by a condition that comes twice: the rest of the run is then computed.

    Args:
        schedule: schedule that knows its steps beforehand.
        predictor: predictor that needs nothing but steps and features.
        sigmas: noise levels of the run, one more than it has steps.

    Attributes:
        computed: number of calls that were computed.
        forecast: number of calls that were forecast.

    Raises:
        ForecastCacheError: schedule or predictor does not fit so many steps.
    """

    def __init__(self, schedule: Schedule, predictor: Predictor, sigmas: Sequence[float]) -> None:
        self.computed = self.forecast = self._most = 0
        self._sigmas, self._total = sigmas, len(sigmas) - 1
        schedule.check(self._total)
        chosen = schedule.computed(self._total)
        predictor.check(self._total, chosen)
        # Two tell a sampler that calls twice a step.
        self._chosen = {0, 1, *chosen}
        self._predictor = predictor.for_schedule(schedule)
        self._histories: dict[Hashable, History] = {}
        self._index, self._seen = -1, set[Hashable]()
        self._ended = ""

    def call(
        self, compute: Callable[[], Tensor], x: Tensor, sigma: Tensor, options: Mapping[str, Any]
    ) -> Tensor:
        """The denoised samples of one call: computed, or forecast for every condition in it.

        Args:
            compute: function that runs the model.
            x: samples, shape (conditions x batch, ...).
            sigma: noise levels, shape (conditions x batch,).
            options: ComfyUI's transformer options of the call.
        """
        keys = self._conditions(options)
        if not self._ended and any(options.get(it) is not None for it in OTHERWISE):
            self._end("the sample is computed in parts")
        if not self._ended:
            self._advance(keys, float(sigma.flatten()[0]))
        if self._ended:
            self.computed += 1
            return compute()
        step = Step(self._index, self._sigmas[self._index], self._total)
        levels = sigma.view(-1, *(1 for _ in x.shape[1:]))
        made = None if self._index in self._chosen else self._forecast(step, keys, x)
        if made is not None:
            self.forecast += 1
            return (x - levels * made).to(x.dtype)
        self.computed += 1
        denoised = compute()
        if denoised.shape != x.shape:
            self._end("the model returns another shape than it is given")
        elif not step.is_last:
            self._keep(step, keys, (x - denoised) / levels)
        return denoised

    def end(self) -> None:
        """Let go of all histories."""
        self._histories.clear()
        logger.info(
            "%s: computed %d calls of the model, forecast %d; histories held %d bytes%s",
            KEY, self.computed, self.forecast, self._most,
            f"; {self._ended}, so the rest of the run was computed" if self._ended else "",
        )  # fmt: skip

    def _conditions(self, options: Mapping[str, Any]) -> list[Hashable]:
        """What tells each condition of a call from every other one of its step."""
        places = options.get("cond_or_uncond", [0])
        return list(zip(places, options.get("uuids") or [None] * len(places)))

    def _advance(self, keys: Sequence[Hashable], level: float) -> None:
        """Find the step of a call."""
        same = self._index >= 0 and isclose(level, self._sigmas[self._index], rel_tol=1e-4)
        if not same:
            self._index, self._seen = self._index + 1, set()
        expected = self._sigmas[self._index] if self._index < self._total else None
        if expected is None or not isclose(level, expected, rel_tol=1e-4):
            self._end("the sampler calls the model at other noise levels than its own")
        elif not self._seen.isdisjoint(keys) or len({*keys}) < len(keys):
            self._end("a condition came twice in a step")
        self._seen.update(keys)

    def _forecast(self, step: Step, keys: Sequence[Hashable], x: Tensor) -> Tensor | None:
        """The forecast for all conditions of a call; None where one cannot be forecast."""
        made, parts = [], x.chunk(len(keys))
        for key, part in zip(keys, parts):
            history = self._histories.get(key)
            if history is None or history.features[0].shape != part.shape:
                return None
            if len(history) < self._predictor.minimum:
                return None
            made.append(self._predictor.prepare(history.steps, step)(history))
        whole = torch.cat(made)
        return whole if whole.isfinite().all() else None

    def _keep(self, step: Step, keys: Sequence[Hashable], features: Tensor) -> None:
        for key, feature in zip(keys, features.chunk(len(keys))):
            history = self._histories.get(key)
            if history is None or history.features[0].shape != feature.shape:
                history = self._histories[key] = History(self._predictor.depth)
            history.observe(step, feature)
        self._most = max(self._most, sum(it.nbytes for it in self._histories.values()))

    def _end(self, reason: str) -> None:
        """Forecast nothing more in this run."""
        self._ended = reason
        self._histories.clear()
