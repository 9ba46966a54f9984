"""Baselines: the contract of what else makes a pipeline faster, and their registry.

A baseline is found by name through an entry point, as a predictor is, so an outsider's joins the
table of an evaluation.
"""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from forecastcache.errors import OptionError
from forecastcache.evaluation.method import Applied, Kind
from forecastcache.options import Options
from forecastcache.registry import Registry, decorator, is_class_of
from forecastcache.sampling.request import Request
from forecastcache.spec import parse_spec


class Baseline(Options, ABC):
    """A way of making a pipeline faster that is no predictor of ours.

    Its fields are its options, with the defaults of whoever wrote the method.

    Attributes:
        speed: names of the options by which it is made faster or slower; rows that differ in these
            alone are one line in a chart.
    """

    speed: ClassVar[tuple[str, ...]] = ()

    def check(self, total: int) -> None:
        """Refuse trajectories of `total` steps that the options do not fit.

        Raises:
            OptionError: naming the option and what to write instead.
        """

    @abstractmethod
    def apply(self, pipe: Any, request: Request) -> AbstractContextManager[Applied]:
        """Put it on a pipeline that is to serve `request`; nothing is left after.

        Raises:
            OptionError: it would do nothing, or wrong, on this pipeline.
        """


BASELINES: Registry[type[Baseline]] = Registry(
    "baseline", "forecastcache.baselines", is_class_of(Baseline)
)

BaselineClass = TypeVar("BaselineClass", bound=type[Baseline])


def register_baseline(name: str) -> Callable[[BaselineClass], BaselineClass]:
    """Class decorator: make a baseline known by `name`.

    Raises:
        NameTakenError: another baseline has the name.
    """
    return decorator(BASELINES, name)


@dataclass(frozen=True)
class BaselineMethod:
    """A baseline as a row of an evaluation.

    Attributes:
        name: spec as it was asked for.
        baseline: the baseline with its options.
    """

    name: str
    baseline: Baseline
    kind: Kind = "baseline"

    @property
    def line(self) -> str:
        """Its name with the options that were set, but for those that change its speed.

        Read off the baseline, since a spec may give options in order.
        """
        baseline = self.baseline
        kept = baseline.model_dump(mode="json", exclude_unset=True, exclude={*baseline.speed})
        options = [
            f"{option}={value if isinstance(value, str) else json.dumps(value)}"
            for option, value in kept.items()
        ]
        return ", ".join([self.name.partition(":")[0].strip(), *options])

    @contextmanager
    def apply(self, pipe: Any, request: Request) -> Iterator[Applied]:
        with ExitStack() as stack:
            try:
                applied = stack.enter_context(self.baseline.apply(pipe, request))
            except OptionError as error:
                raise OptionError(f"{self.name}: {error}") from None
            yield applied


def baseline_method(spec: str, total: int) -> BaselineMethod:
    """The baseline of a spec such as `steps:count=12,solver=unipc` or `taylorseer:interval=5`.

    Args:
        spec: a name, and options if any.
        total: number of steps of the plain run.

    Raises:
        UnknownNameError: no baseline has the name.
        OptionError: it has no such option, the option does not take this value, or what it needs
            is not installed.
    """
    baseline = parse_spec(BASELINES, spec)
    try:
        baseline.check(total)
    except OptionError as error:
        raise OptionError(f"{spec}: {error}") from None
    return BaselineMethod(spec, baseline)


def calls_twice(pipe: Any, request: Request) -> bool | None:
    """Whether guidance calls the model twice a step; None where the pipeline does not say."""
    takes = inspect.signature(pipe.__call__).parameters
    if "true_cfg_scale" not in takes:
        return None
    asked = request.arguments(pipe)
    scale = asked.get("true_cfg_scale", takes["true_cfg_scale"].default)
    negative = asked.get("negative_prompt") is not None or "negative_prompt_embeds" in asked
    return negative and scale > 1
