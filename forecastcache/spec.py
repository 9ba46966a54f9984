"""Specs: predictors, schedules and baselines in one line of text.

A spec is written as the Python call is: `name:value,option=value`, with values in the order of the
options. `every:5`, `every:interval=5` and `every:5,last=2` are schedules, `taylor:2` and
`taylor:order=2` predictors. A list of steps such as `0,6,12` is the schedule of these steps.

A value with commas stands in brackets, as a predictor within another does
(`bands:low=reuse,high=(hermite:sigma=0.5)`) and a list of numbers may (`listed:(0,6,12)`), or is
JSON (`learned:rows=[...]`). `null` is None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticSerializationError

from forecastcache._moved import name_new_places
from forecastcache._util.strict_json import require_shallow, strict_json
from forecastcache.bounds import shortened, whole_number
from forecastcache.errors import OptionError, UnknownScheduleError
from forecastcache.options import Options, by_name, describe_options
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.registry import PREDICTORS, SCHEDULES, Registry
from forecastcache.schedule import Listed, Schedule

name_new_places(__name__)

Configured = TypeVar("Configured", bound=Options)
STEPS = re.compile(r"\s*\d+\s*(,\s*\d+\s*)*")
NUMBERS = re.compile(r"[\d\s,.eE+-]+")


def parse_predictor(spec: str) -> Predictor:
    """The predictor that `spec` describes.

    Raises:
        UnknownNameError: no predictor has the name.
        OptionError: the text is no spec, or an option is unknown or out of range.
    """
    return parse_spec(PREDICTORS, spec)


def parse_schedule(spec: str, *others: str) -> Schedule:
    """The schedule that `spec` describes, such as `every:7`, `every:7,first=1` or `0,6,12`.

    Args:
        spec: text to read.
        others: other texts that the caller would have taken, for the error.

    Raises:
        UnknownScheduleError: the text is neither a list of steps nor the name of a schedule.
        OptionError: an option is unknown or out of range.
    """
    if STEPS.fullmatch(spec):
        steps = spec.split(",")
        return Listed(whole_number("steps", step, "the schedule's step") for step in steps)
    name = spec.partition(":")[0].strip()
    if name not in SCHEDULES.names():
        known = ", ".join(["every:7", "a list such as 0,6,12,18", *others])
        raise UnknownScheduleError(
            f"{shortened(spec)!r} is no schedule: write {known}, or one of "
            f"{', '.join(SCHEDULES.names())} with its options"
        )
    return parse_spec(SCHEDULES, spec)


def parse_spec(registry: Registry[type[Configured]], spec: str) -> Configured:
    """The thing of one registry that `spec` describes.

    Raises:
        UnknownNameError: nothing in the registry has the name.
        OptionError: the text is no spec, or an option is unknown or out of range.
    """
    name, _, rest = spec.partition(":")
    kind = registry.get(name.strip())
    values, options = arguments(rest)
    return _made(kind, name.strip(), _read(by_name(kind, values, options)))


def build(name: str, options: Mapping[str, Any]) -> Predictor:
    """The predictor called `name` with these options; values may be text.

    Raises:
        UnknownNameError: no predictor has the name.
        OptionError: it has no such option, or the value is out of range.
    """
    return _made(PREDICTORS.get(name), name, _read(options))


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    return {option: _value(value) for option, value in options.items()}


def _made(kind: type[Configured], name: str, options: Mapping[str, Any]) -> Configured:
    takes = describe_options(kind) or "no options"
    unknown = [option for option in options if option not in kind.model_fields]
    if unknown:
        raise OptionError(f"{name} has no option {unknown[0]!r}; it takes {takes}")
    missing = [o for o, f in kind.model_fields.items() if f.is_required() and o not in options]
    if missing:
        raise OptionError(f"{name} needs {' and '.join(missing)}; it takes {takes}")
    return kind(**options)


def arguments(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Values in order, and options by name, of `2,order=3`.

    Raises:
        OptionError: an option is set twice or a bracket is not paired.
    """
    parts = _split(text)
    in_order = [part for part in parts if not _sets_an_option(part)]
    if in_order != parts[: len(in_order)]:
        raise OptionError(
            f"{text!r} has a value after an option: give values first, or all by name"
        )
    return tuple(map(_bare, in_order)), once(map(assignment, parts[len(in_order) :]))


def assignment(text: str) -> tuple[str, str]:
    """`order=2` as ("order", "2").

    Raises:
        OptionError: there is no name and no `=`.
    """
    if not _sets_an_option(text):
        raise OptionError(f"{text!r} sets no option: write such as order=2")
    option, _, value = text.partition("=")
    return option.strip(), _bare(value)


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


def as_text(thing: Predictor | Schedule) -> str:
    """The spec of a predictor or schedule; options at their defaults are left out.

    Raises:
        OptionError: its class is not registered, or that of a predictor within it.
    """
    if type(thing) is Listed:
        return ",".join(map(str, thing.steps))
    registry: Registry[Any] = PREDICTORS if isinstance(thing, Predictor) else SCHEDULES
    name = _name_of(registry, thing)
    data = _dumped(thing)
    options = [
        f"{option}={_text(getattr(thing, option), data[option])}"
        for option, field in type(thing).model_fields.items()
        if getattr(thing, option) != field.default
    ]
    return f"{name}:{','.join(options)}" if options else name


def as_data(predictor: Predictor) -> dict[str, Any]:
    """The predictor's name and options, ready for JSON; `from_data` makes it again.

    Raises:
        OptionError: its class is not registered, or that of a predictor within it.
    """
    name = _name_of(PREDICTORS, predictor)
    return {"predictor": name, "options": _dumped(predictor)}


def from_data(data: Any) -> Predictor:
    """The predictor that `as_data` described, that a spec describes, or that this is already.

    Raises:
        UnknownNameError: no predictor has the name.
        OptionError: an option is unknown or out of range, or `data` is nothing of the kind.
    """
    if isinstance(data, Predictor):
        return data
    if isinstance(data, str):
        return parse_predictor(data)
    if _names_a_predictor(data):
        # Not `build`: here a string is a string, whatever it spells.
        return _made(PREDICTORS.get(data["predictor"]), data["predictor"], data["options"])
    raise OptionError(f"{data!r} is no predictor: give one, or a spec such as 'taylor:order=1'")


_READ, _WRITE = BeforeValidator(from_data), PlainSerializer(as_data)
AnyPredictor = Annotated[Predictor, _READ, _WRITE, WithJsonSchema({"type": "predictor"})]
AnyLinearPredictor = Annotated[
    LinearPredictor, _READ, _WRITE, WithJsonSchema({"type": "linear predictor"})
]


def _name_of(registry: Registry[Any], thing: Options) -> str:
    name = registry.name_of(type(thing))
    if name is None:
        raise OptionError(
            f"{type(thing).__name__} is not registered, so no text can name it: put "
            f"@register_{registry.kind}('name') on it"
        )
    return name


def _names_a_predictor(data: Any) -> bool:
    """Whether `as_data` may have made it."""
    return isinstance(data, Mapping) and set(data) == {"predictor", "options"}


def _dumped(thing: Options) -> dict[str, Any]:
    """The options, ready for JSON."""
    try:
        return thing.model_dump(mode="json")
    except PydanticSerializationError as error:
        # pydantic wraps what `as_data` raises of a predictor within another.
        raise error.__cause__ or error from None


def _text(value: Any, data: Any) -> str:
    """An option as `_value` reads it: its value, which is `data` in JSON."""
    if isinstance(value, Predictor) and _names_a_predictor(data):
        return f"({as_text(value)})"
    if isinstance(data, str) and re.fullmatch(r"[\w.+-]+", data) and data != "null":
        return data
    return json.dumps(data)


def _value(value: Any) -> Any:
    """Text as the JSON or the numbers that it spells; other text stays for pydantic to read."""
    if not isinstance(value, str):
        return value
    numbers = "," in value and NUMBERS.fullmatch(value)
    if not numbers and value != "null" and not value.startswith(("[", "{", '"')):
        return value
    try:
        return strict_json(f"[{value}]" if numbers else value)
    except json.JSONDecodeError:
        return value
    except ValueError as error:
        raise OptionError(f"{shortened(value)}: {error}") from None


def _sets_an_option(part: str) -> bool:
    return re.match(r"\s*[A-Za-z_]\w*\s*=", part) is not None


def _bare(value: str) -> str:
    value = value.strip()
    return value[1:-1] if value[:1] == "(" and value[-1:] == ")" else value


def _split(text: str) -> list[str]:
    """The parts between the commas that stand in no bracket and no quotes."""
    _require_shallow(text)
    parts, depth, quoted, escaped = [""], 0, False, False
    for character in text:
        if quoted:
            quoted, escaped = character != '"' or escaped, character == "\\" and not escaped
        else:
            quoted = character == '"'
            depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise OptionError(
            f"{shortened(text)!r} has a bracket that is not closed, or not opened: pair them"
        )
    return [part for part in parts if part.strip()]


def _require_shallow(text: str) -> None:
    try:
        require_shallow(text)
    except ValueError as error:
        raise OptionError(f"{shortened(text)!r}: {error}") from None
