"""Options: a frozen pydantic object that is its own configuration and errs in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import dataclass_transform

from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


@dataclass_transform(field_specifiers=(Field,))
class _InOrder(ModelMetaclass):
    """Tells type checkers that options may be given in order, which pydantic does not allow."""


class Options(BaseModel, metaclass=_InOrder):
    """Base of predictors, schedules and baselines: immutable, hashable, picklable, JSON both ways.

    The fields are the constructor's parameters, in their order: `Taylor(2)` is `Taylor(order=2)`.
    A field's default is written once, in the field.

    Raises:
        OptionError: an option is unknown, given twice or out of range (one line, at construction).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, *values: Any, **options: Any) -> None:
        try:
            super().__init__(**by_name(type(self), values, options))
        except ValidationError as error:
            raise OptionError(_in_one_line(type(self), error)) from None

    def __str__(self) -> str:
        return repr(self)


def by_name(
    kind: type[BaseModel], values: tuple[Any, ...], options: dict[str, Any]
) -> dict[str, Any]:
    """The options of a call with positional ones under their names.

    Raises:
        OptionError: there are more values than options, or an option is given twice.
    """
    names = list(kind.model_fields)
    if len(values) > len(names):
        raise OptionError(
            f"{kind.__name__} was given {len(values)} values in order; it takes "
            f"{describe_options(kind) or 'no options'}"
        )
    given = dict(zip(names, values))
    twice = next((name for name in given if name in options), None)
    if twice is not None:
        raise OptionError(
            f"{twice} is set twice, to {given[twice]} and to {options[twice]}: keep one"
        )
    return {**given, **options}


def describe_options(kind: type[BaseModel]) -> str:
    """The options of `kind` with their ranges and defaults, in one line; '' for none."""
    properties = kind.model_json_schema().get("properties", {})
    return "; ".join(f"{name}: {_describe(schema)}" for name, schema in properties.items())


def _describe(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:  # an option that may be left out
        schema = {**schema, **schema["anyOf"][0]}
    words = [_type(schema)]
    if "items" in schema:
        words.append(f"of {_type(schema['items'])}")
    if "minimum" in schema and "maximum" in schema:
        words.append(f"from {schema['minimum']} to {schema['maximum']}")
    elif "minimum" in schema:
        words.append(f"of at least {schema['minimum']}")
    elif "maximum" in schema:
        words.append(f"of at most {schema['maximum']}")
    if "exclusiveMinimum" in schema:
        words.append(f"above {schema['exclusiveMinimum']}")
    if "exclusiveMaximum" in schema:
        words.append(f"below {schema['exclusiveMaximum']}")
    if "enum" in schema:
        words.append("one of " + ", ".join(map(str, schema["enum"])))
    if "default" in schema:
        words.append(f"(default {schema['default']})")
    return " ".join(words)


def _type(schema: dict[str, Any]) -> str:
    name: str = schema.get("type", schema.get("$ref", "value"))
    return name.rpartition("/")[2]


def _in_one_line(kind: type[BaseModel], error: ValidationError) -> str:
    complaints = [_complaint(entry) for entry in error.errors()]
    takes = describe_options(kind) or "no options"
    return f"{kind.__name__}: {', '.join(complaints)}; it takes {takes}"


def _complaint(entry: Any) -> str:
    place = ".".join(map(str, entry["loc"])) or "the options together"
    if entry["type"] == "extra_forbidden":
        return f"unknown option {place}={entry['input']!r}"
    if entry["type"] == "missing":
        return f"option {place} is missing"
    if entry["type"] == "value_error":
        return str(entry["ctx"]["error"])
    message = entry["msg"][0].lower() + entry["msg"][1:]
    return f"{place}={entry['input']!r}, but {message}"
