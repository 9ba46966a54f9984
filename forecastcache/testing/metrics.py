"""check_metric: what every metric must do, ours and anybody's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from forecastcache.errors import ConformanceError, ForecastCacheError
from forecastcache.metrics.metric import Compared, Metric, figure_of, metrics_of
from forecastcache.testing.requirement import require
from forecastcache.testing.round_trip import require_round_trips

SIDE = 64  # pixels
SAMPLES = 2


def check_metric(metric: Metric | str, name: str = "it") -> None:
    """Hold a metric to its contract, on random pictures and clips.

    Args:
        metric: a metric's object, or the name that it is registered by.
        name: what an error calls it.

    Raises:
        ConformanceError: naming what was done and what came of it, which is an AssertionError.
    """
    if isinstance(metric, str):
        name, metric = next(iter(metrics_of([metric]).items()))
    else:
        require_round_trips(metric)
    require(isinstance(metric, Metric), f"{metric!r} is no metric: give an object, or its name")
    require(bool(getattr(metric, "title", "")), f"{name} has no title: name its column")
    require(metric.better in ("more", "less"), f"{name}.better is {metric.better!r}: more or less")
    metric.prepare(_pictures().prompts)
    for kind, compared in (("pictures", _pictures()), ("clips", _clips())):
        _check(name, metric, kind, compared)


def _check(name: str, metric: Metric, kind: str, compared: Compared) -> None:
    before = [it.clone() for it in _tensors(compared)]
    first, second = (_figure(name, metric, kind, compared) for _ in range(2))
    require(first == second, f"{name} gave {first} for {kind}, and {second} for the same again")
    require(
        all(map(torch.equal, before, _tensors(compared))),
        f"{name} wrote to the {kind}: copy what is to be changed",
    )
    same = Compared(
        compared.plain, compared.plain, compared.plain_latents, compared.plain_latents,
        compared.prompts,
    )  # fmt: skip
    _figure(name, metric, f"{kind} that do not differ", same)
    written = metric.form.format(0.0 if first is None else first)
    require(bool(written), f"{name}.form writes nothing")


def _figure(name: str, metric: Metric, kind: str, compared: Compared) -> float | None:
    try:
        return figure_of(name, metric, compared)
    except ForecastCacheError as error:
        raise ConformanceError(f"{name}, given {kind}: {error}") from error


def _tensors(compared: Compared) -> tuple[Tensor, ...]:
    return compared.samples, compared.plain, compared.latents, compared.plain_latents


def _pictures() -> Compared:
    return _random(lambda generator: torch.rand(SAMPLES, 3, SIDE, SIDE, generator=generator))


def _clips() -> Compared:
    return _random(lambda generator: torch.rand(SAMPLES, 2, 3, SIDE, SIDE, generator=generator))


def _random(draw: Callable[[torch.Generator], Tensor]) -> Compared:
    generator = torch.Generator().manual_seed(0)
    plain, noise = draw(generator), draw(generator)
    latents, plain_latents = torch.randn(2, SAMPLES, 4, 8, 8, generator=generator)
    samples = 0.9 * plain + 0.1 * noise
    prompts = ("a red seven", "a blue two")
    return Compared(samples, plain, latents, plain_latents, prompts)
