"""Config: a whole set-up, as an object and as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from forecastcache.bounds import MOST, shortened
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.granularity import SITE_SCHEMA, as_site
from forecastcache.memory.budget import parse_budget
from forecastcache.options import Options
from forecastcache.predictor import Predictor
from forecastcache.schedule import Listed, Schedule
from forecastcache.spec import as_text, from_data, parse_schedule

Read = TypeVar("Read")
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")
}
GUARD = 8.0  # times what was expected, where nothing is asked
# Plain text that YAML reads as the text that it is; other text stands in quotes.
PLAIN = re.compile(
    r"(?!(?i:true|false|yes|no|on|off|null|y|n)$)[A-Za-z](?:[\w.:=,()+-]*[\w)])?", re.A
)


def _in_words(name: str, read: Callable[[Any], Read]) -> BeforeValidator:
    """A validator whose complaint begins with the option's name, whatever error it is."""

    def validate(value: Any) -> Read:
        try:
            return read(value)
        except ForecastCacheError as error:
            raise ValueError(f"{name}: {error}") from None

    return BeforeValidator(validate)


def _schedule(value: Any) -> Schedule | None:
    if value is None or isinstance(value, Schedule):
        return value
    if isinstance(value, str):
        return parse_schedule(value)
    if isinstance(value, (list, tuple)) and all(type(step) is int for step in value):
        return Listed(value)
    raise OptionError(
        f"{shortened(repr(value))} is no schedule: give one, a spec such as 'every:5', or a list "
        "of steps"
    )


def _predictor(value: Any) -> Predictor | None:
    return None if value is None else from_data(value)


def _text(thing: Schedule | Predictor | None) -> str | None:
    return None if thing is None else as_text(thing)


def _dtype(value: Any) -> torch.dtype | None:
    if value is None:
        return None
    name = str(value).removeprefix("torch.")
    if name not in DTYPES:
        raise OptionError(
            f"{shortened(repr(value))} is not known: write one of {', '.join(DTYPES)}"
        )
    return DTYPES[name]


def _budget(value: Any) -> int | str | None:
    parse_budget(value)  # refuses
    return value if value is None or type(value) is int else str(value)


def _name(dtype: torch.dtype | None) -> str | None:
    return None if dtype is None else str(dtype).removeprefix("torch.")


class Config(Options):
    """What `attach` takes, as one object that can be written to a file and read again.

        config = fc.Config("every:5", "taylor:order=1", site="module")
        with fc.attach(pipe, config) as session:
            image = pipe(...).images[0]

    In a file, the same is

        schedule: every:5
        predictor: taylor:order=1
        site: module

    Options that are left out have the defaults of `attach` and `accelerate`, where each is
    explained. `accelerate` needs neither schedule nor predictor; `attach` needs both.

    Args:
        schedule: choice of the steps to compute: an object, its spec, or a list of steps.
        predictor: forecaster of the others: an object or its spec.
        site: granularity of what is forecast.
        dtype: storage dtype of the histories, or its name; None keeps the features' own.
        offload: `cpu` keeps the histories in host memory.
        not_finite: remedy for a forecast with NaN or infinity, `raise` or `recompute`.
        budget: bytes that the histories of a thread may hold, a number or text such as `2 GiB`.
        guard: bound of what `accelerate` warns of, in times what was expected; None for no
            warning.

    Raises:
        OptionError: an option is unknown or out of range.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    schedule: Annotated[
        Schedule | None,
        _in_words("schedule", _schedule),
        PlainSerializer(_text),
        WithJsonSchema({"type": "schedule"}),
    ] = None
    predictor: Annotated[
        Predictor | None,
        _in_words("predictor", _predictor),
        PlainSerializer(_text),
        WithJsonSchema({"type": "predictor"}),
    ] = None
    site: Annotated[str, _in_words("site", as_site), SITE_SCHEMA] = "output"
    dtype: Annotated[
        torch.dtype | None,
        _in_words("dtype", _dtype),
        PlainSerializer(_name),
        WithJsonSchema({"enum": list(DTYPES)}),
    ] = None
    offload: Literal["cpu"] | None = None
    not_finite: Literal["raise", "recompute"] = "raise"
    budget: Annotated[int | str | None, _in_words("budget", _budget)] = None
    guard: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = GUARD

    @property
    def parts(self) -> tuple[Schedule, Predictor]:
        """The schedule and the predictor.

        Raises:
            OptionError: one of them is left out.
        """
        if self.schedule is None:
            raise OptionError(
                "the Config has no schedule: write such as schedule: every:5, or give it to "
                "accelerate, which finds one"
            )
        if self.predictor is None:
            raise OptionError(
                "the Config has no predictor: write such as predictor: taylor:order=1, or give it "
                "to accelerate, which learns one"
            )
        return self.schedule, self.predictor

    @property
    def further(self) -> dict[str, Any]:
        """The options of `attach` beside schedule, predictor and site."""
        names = ("dtype", "offload", "not_finite", "budget")
        return {name: getattr(self, name) for name in names}

    def to_yaml(self) -> str:
        """The text of a file; options at their defaults are left out.

        Raises:
            OptionError: the class of the schedule or predictor is not registered.
        """
        data = {
            "schedule": _text(self.schedule),
            "predictor": _text(self.predictor),
            "site": self.site,
            **self.further,
            "dtype": _name(self.dtype),
            "guard": self.guard,
        }
        fields = type(self).model_fields
        return "".join(
            f"{name}: {_scalar(value)}\n"
            for name, value in data.items()
            if value != fields[name].default
        )

    @classmethod
    def from_yaml(cls, source: str | Path) -> Config:
        """The set-up of a file, or of its text.

        Args:
            source: path, or the text itself: what has a line break, or a `:` with a space after
                it, is text.

        Raises:
            OptionError: it cannot be read, is no YAML, or has an option that is unknown or out of
                range; the error names the file and the line.
        """
        try:
            from forecastcache._util.strict_yaml import line_of, parse_yaml, read_text
        except ModuleNotFoundError:
            raise OptionError(
                "a set-up is read by PyYAML: pip install 'forecastcache[cli]'"
            ) from None
        is_text = isinstance(source, str) and re.search(r"\n|:\s|^\s*\{", source) is not None
        where = "the text" if is_text else str(source)
        try:
            text = (
                str(source) if is_text else read_text(Path(source), MOST["bytes of a sweep file"])
            )
            data = parse_yaml(text)
        except OSError as error:
            raise OptionError(f"{where} cannot be read ({error.strerror}): give a file") from None
        except ValueError as error:
            raise OptionError(f"{where} is no YAML: {error}") from None
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise OptionError(f"{where} is no set-up: write options such as schedule: every:5")
        try:
            return cls(**data)
        except OptionError as error:
            line = line_of(text, _option_at_fault(error))
            place = where if line is None else f"{where}, line {line}"
            raise OptionError(f"{place}: {error}") from None


def _option_at_fault(error: OptionError) -> str | None:
    """The name of the first option that pydantic complained of."""
    found = error.__context__
    loc = found.errors()[0]["loc"] if isinstance(found, ValidationError) else ()
    return str(loc[0]) if loc else None


def _scalar(value: str | float | None) -> str:
    """A value as YAML reads it."""
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return re.sub(
        r"[^ -~]",
        lambda found: f"\\U{ord(found[0]):08x}",
        json.dumps(value, ensure_ascii=False),
    )
