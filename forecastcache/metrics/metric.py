"""Metric: the contract of a figure of samples beside the plain ones, and the registry.

A metric is found by name through an entry point, as a predictor is, so an outsider's is a column
in the table of an evaluation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor

from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.options import Options
from forecastcache.registry import Registry


@dataclass(frozen=True)
class Compared:
    """Samples of a method beside the plain ones of the same prompts and seeds.

    Attributes:
        samples: pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)` in [0, 1].
        plain: samples of the plain run, of the same shape.
        latents: final latents of the method, `(n, ...)`.
        plain_latents: final latents of the plain run.
        prompts: prompt of each sample; empty where the model is asked in classes or not at all.
    """

    samples: Tensor
    plain: Tensor
    latents: Tensor
    plain_latents: Tensor
    prompts: tuple[str, ...] = ()


class Metric(Options, ABC):
    """A figure of the samples of a method, one number a row of an evaluation.

    The fields are its options. A field `weights`, a path, is what `--metrics NAME=FOLDER` sets.

    Attributes:
        title: title of its column.
        better: whether more or less of it is better.
        form: how its numbers are written.
    """

    title: ClassVar[str]
    better: ClassVar[Literal["more", "less"]] = "more"
    form: ClassVar[str] = "{:.4f}"

    def prepare(self, prompts: Sequence[str]) -> None:  # nothing, for most
        """Load what it needs, before anything is sampled.

        Args:
            prompts: prompt of each sample; empty where the model is asked in classes.

        Raises:
            ForecastCacheError: something is missing; it says what, and where to get it.
        """

    @abstractmethod
    def measure(self, compared: Compared) -> float | None:
        """The figure, a mean over the samples; None where these have none."""


MetricFunction = Callable[[Tensor, Tensor], "float | None"]
METRICS: Registry[Any] = Registry(
    "metric",
    "forecastcache.metrics",
    lambda thing: (
        isinstance(thing, FunctionType) or (isinstance(thing, type) and issubclass(thing, Metric))
    ),
)

Registered = TypeVar("Registered", bound="type[Metric] | MetricFunction")


def register_metric(name: str) -> Callable[[Registered], Registered]:
    """Decorator: make a metric known by `name`.

    It takes a class derived from `Metric`, or a function of two tensors in [0, 1], the samples and
    the plain ones, pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)`, that returns a number.

    Raises:
        NameTakenError: another metric has the name.
    """

    def register(thing: Registered) -> Registered:
        METRICS.add(name, thing)
        return thing

    return register


def metric_kind(name: str) -> type[Metric]:
    """The class of the metric called `name`.

    Raises:
        UnknownNameError: listing the names that are known.
    """
    found = METRICS.get(name)
    if isinstance(found, type):
        kind: type[Metric] = found
        return kind
    return _kind_of(name, found)


def metrics_of(asked: Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics by name.

    Args:
        asked: names, `NAME=FOLDER` for one that reads its weights from a folder, or objects.

    Raises:
        UnknownNameError: no metric has the name.
        OptionError: it takes no weights, or is asked for twice.
    """
    found: dict[str, Metric] = {}
    for each in asked:
        name, metric = _named(each) if isinstance(each, Metric) else _parsed(each)
        if name in found:
            raise OptionError(f"the metric {name} is asked for twice: leave one out")
        found[name] = metric
    return found


def figure_of(name: str, metric: Metric, compared: Compared) -> float | None:
    """The figure of a metric; an error says whose it is.

    Raises:
        OptionError: the metric failed, or gave something else than a finite number or None.
    """
    try:
        value = metric.measure(compared)
        number = None if value is None else float(value)
    except ForecastCacheError:
        raise
    except Exception as error:  # an outsider's may fail in any way
        said = " ".join(str(error).split())
        raise OptionError(
            f"the metric {name} failed ({type(error).__name__}: {said}): repair it, or leave it "
            "out of --metrics"
        ) from error
    if number is not None and not math.isfinite(number):
        raise OptionError(f"the metric {name} gave {number}: return a finite number, or None")
    return number


def _named(metric: Metric) -> tuple[str, Metric]:
    return METRICS.name_of(type(metric)) or type(metric).__name__, metric


def _parsed(text: str) -> tuple[str, Metric]:
    name, given, weights = text.strip().partition("=")
    kind = metric_kind(name.strip())
    if not given:
        return name.strip(), kind()
    if "weights" not in kind.model_fields:
        raise OptionError(f"the metric {name} takes no weights: write {name} alone")
    options: dict[str, Any] = {"weights": Path(weights).expanduser()}
    return name.strip(), kind(**options)


def _kind_of(name: str, function: MetricFunction) -> type[Metric]:
    """A class around a function; it holds the function itself, so that kept rows know its code."""

    def measure(self: Metric, compared: Compared) -> float | None:
        return function(compared.samples, compared.plain)

    members = {
        "measure": measure,
        "function": staticmethod(function),
        "title": name.replace("-", " ").replace("_", " "),
        "__doc__": function.__doc__,
        "__module__": function.__module__,
    }
    return type(getattr(function, "__name__", name), (Metric,), members)
