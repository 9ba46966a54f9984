"""Specs: predictors and schedules in one line of text.

A predictor is `name:option=value,option=value`, a schedule `every:7` or `0,6,12`.

A predictor within another stands in brackets: `bands:low=reuse,high=(hermite:sigma=0.5)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from forecastcache.errors import OptionError, ScheduleError
from forecastcache.options import describe_options
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.registry import PREDICTORS
from forecastcache.schedule import Every, Listed, Schedule


def build(name: str, options: Mapping[str, Any]) -> Predictor:
    """The predictor called `name` with these options; values may be text.

    Raises:
        UnknownNameError: nothing is called so.
        OptionError: it has no such option, or the value is out of range.
    """
    kind = PREDICTORS.get(name)
    unknown = [option for option in options if option not in kind.model_fields]
    if unknown:
        takes = describe_options(kind) or "no options"
        raise OptionError(f"{name} has no option {unknown[0]!r}; it takes {takes}")
    given = {option: _value(value) for option, value in options.items()}
    missing = [o for o, f in kind.model_fields.items() if f.is_required() and o not in given]
    if missing:
        raise OptionError(
            f"{name} needs {' and '.join(missing)}; it takes {describe_options(kind)}"
        )
    predictor: Predictor = kind(**given)
    return predictor


def parse(spec: str) -> Predictor:
    """The predictor that `spec` describes.

    Raises:
        UnknownNameError: nothing is called so.
        OptionError: the text is no spec, or an option is unknown or out of range.
    """
    name, _, rest = spec.partition(":")
    return build(name.strip(), once(map(assignment, _split(rest))))


def parse_schedule(text: str, *others: str) -> Schedule:
    """From `every:7`, which computes the first three steps too, `every:7,first=1` or `0,6,12`.

    Args:
        text: to be read.
        others: what else the caller would have taken, for the error.

    Raises:
        ScheduleError: it is none of these.
    """
    if match := re.fullmatch(r"every:([1-9]\d*)(?:,first=([1-9]\d*))?", text):
        return Every(int(match[1]), int(match[2] or 3))
    if re.fullmatch(r"\d+(,\d+)*", text):
        return Listed(map(int, text.split(",")))
    known = ", ".join(["every:7", "a list such as 0,6,12,18", *others])
    raise ScheduleError(f"{text!r} is no schedule: write {known}")


def assignment(text: str) -> tuple[str, str]:
    """`order=2` as ("order", "2").

    Raises:
        OptionError: there is no name and no `=`.
    """
    option, sign, value = text.partition("=")
    if not sign or not option.strip():
        raise OptionError(f"{text!r} sets no option: write such as order=2")
    return option.strip(), value.strip().removeprefix("(").removesuffix(")")


def once(assignments: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The assignments as options.

    Raises:
        OptionError: an option is set twice.
    """
    options: dict[str, Any] = {}
    for option, value in assignments:
        if option in options:
            raise OptionError(
                f"{option} is set twice, to {options[option]} and to {value}: keep one"
            )
        options[option] = value
    return options


def as_data(predictor: Predictor) -> dict[str, Any]:
    """The predictor's name and options, ready for JSON; `from_data` makes it again.

    Raises:
        OptionError: its class is not registered.
    """
    name = PREDICTORS.name_of(type(predictor))
    if name is None:
        raise OptionError(
            f"{type(predictor).__name__} is not registered, so no text can name it: put "
            "@register_predictor('name') on it"
        )
    return {"predictor": name, "options": predictor.model_dump(mode="json")}


def from_data(data: Any) -> Predictor:
    """The predictor that `as_data` described, that a spec describes, or that this is already.

    Raises:
        UnknownNameError: nothing is called so.
        OptionError: an option is unknown or out of range, or `data` is nothing of the kind.
    """
    if isinstance(data, Predictor):
        return data
    if isinstance(data, str):
        return parse(data)
    if isinstance(data, Mapping) and set(data) == {"predictor", "options"}:
        return build(data["predictor"], data["options"])
    raise OptionError(f"{data!r} is no predictor: give one, or a spec such as 'taylor:order=1'")


_READ, _WRITE = BeforeValidator(from_data), PlainSerializer(as_data)
AnyPredictor = Annotated[Predictor, _READ, _WRITE, WithJsonSchema({"type": "predictor"})]
AnyLinearPredictor = Annotated[
    LinearPredictor, _READ, _WRITE, WithJsonSchema({"type": "linear predictor"})
]


def _value(value: Any) -> Any:
    """Text as the list or number that it spells; other text stays text for pydantic to read."""
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _split(text: str) -> list[str]:
    """The parts between the commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise OptionError(f"{text!r} has a bracket that is not closed, or not opened: pair them")
    return [part for part in parts if part.strip()]
