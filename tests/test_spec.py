from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache import registry, spec
from forecastcache.errors import (
    ForecastCacheError,
    OptionError,
    ScheduleError,
    UnknownNameError,
)
from forecastcache.options import Options
from forecastcache.registry import PREDICTORS, SCHEDULES
from forecastcache.spec import AnyPredictor

from .built_ins import shipped


@pytest.mark.parametrize(
    ("text", "predictor"),
    [
        ("reuse", fc.Reuse()),
        ("taylor:order=2", fc.Taylor(2)),
        ("taylor:2", fc.Taylor(2)),
        ("newton:1,time", fc.Newton(1, "time")),
        ("blend:reuse,(taylor:2),weight=0.8", fc.Blend(fc.Reuse(), fc.Taylor(2), 0.8)),
        (" hermite: order=1 , sigma=0.7", fc.Hermite(1, 0.7)),
        ("newton:coordinate=time", fc.Newton(2, "time")),
        ("bdf:corrected=false", fc.BDF(corrected=False)),
        ("blend:a=reuse,b=taylor,weight=0.8", fc.Blend(fc.Reuse(), fc.Taylor(), 0.8)),
        (
            "bands:low=reuse,high=(hermite:order=1,sigma=0.7),cutoff=0.4",
            fc.Bands(fc.Reuse(), fc.Hermite(1, 0.7), 0.4),
        ),
        (
            "bands:low=(blend:a=reuse,b=(taylor:order=2)),high=reuse",
            fc.Bands(fc.Blend(fc.Reuse(), fc.Taylor(2)), fc.Reuse()),
        ),
        (
            'learned:rows=[{"target": 2, "computed": [0, 1], "weights": [-1, 2]}]',
            fc.Learned([{"target": 2, "computed": [0, 1], "weights": [-1, 2]}]),
        ),
    ],
)
def test_a_line_of_text_is_a_predictor_and_back(text, predictor):
    assert spec.parse_predictor(text) == predictor
    assert spec.from_data(json.loads(json.dumps(spec.as_data(predictor)))) == predictor
    assert type(predictor).model_validate_json(predictor.model_dump_json()) == predictor


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("every:5", fc.Every(5)),
        ("every:interval=5", fc.Every(5)),
        ("every:5,last=2", fc.Every(5, last=2)),
        ("every:5,1,2", fc.Every(5, first=1, last=2)),
        ("0,6,12", fc.Listed([0, 6, 12])),
        ("0", fc.Listed([0])),
        ("listed:steps=[0,6,12]", fc.Listed([0, 6, 12])),
        ("0, 6, 12", fc.Listed([0, 6, 12])),
        (" 0 ,6 ", fc.Listed([0, 6])),
        ("listed:(0,6,12)", fc.Listed([0, 6, 12])),
        ("listed:steps=(0, 6, 12)", fc.Listed([0, 6, 12])),
    ],
)
def test_a_line_of_text_is_a_schedule_and_back(text, schedule):
    assert spec.parse_schedule(text) == schedule
    assert spec.parse_schedule(spec.as_text(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        ("often", ScheduleError, "'often' is no schedule: write every:7, a list such as 0,6,12"),
        ("search:9", ScheduleError, "'search:9' is no schedule"),
        ("", ScheduleError, "'' is no schedule"),
        ("often", UnknownNameError, "'often' is no schedule"),
        ("0, 6, x", UnknownNameError, "'0, 6, x' is no schedule: write every:7"),
        ("listed:0,6,12", OptionError, "Listed was given 3 values in order; it takes steps"),
        ("3,6", OptionError, "steps are 3 6, .* begin the list with 0"),
        ("every", OptionError, "every needs interval; it takes interval: integer of at least 1"),
        ("every:5,often=2", OptionError, "every has no option 'often'; it takes interval"),
        ("every:0", OptionError, "interval='0', but input should be greater than or equal to 1"),
        ("every:5,interval=4", OptionError, "interval is set twice, to 5 and to 4: keep one"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_line(text, kind, complaint):
    with pytest.raises(kind, match=complaint) as error:
        spec.parse_schedule(text)
    assert "\n" not in str(error.value)


def test_a_default_means_the_same_in_text_and_in_python():
    """A field's default is the only one that there is."""
    assert spec.parse_schedule("every:5") == fc.Every(5) == fc.Every(5, first=3, last=0)
    for registry_ in (PREDICTORS, SCHEDULES):
        for name, kind in registry_.items():
            if not any(field.is_required() for field in kind.model_fields.values()):
                assert spec.parse_spec(registry_, name) == kind()


@st.composite
def configured(draw, kind: type[Options]) -> Options:
    """An object of a built-in class, its options drawn from what their schema allows."""
    if kind in DRAWN:
        return draw(DRAWN[kind])
    schema = kind.model_json_schema().get("properties", {})
    options = {
        name: draw(values(one))
        for name, one in schema.items()
        if name in kind.model_json_schema().get("required", ()) or draw(st.booleans())
    }
    try:
        return kind(**options)
    except OptionError:  # of options that do not go together
        reject()


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] in ("predictor", "linear predictor"):
        return st.sampled_from(SIMPLE).flatmap(configured)
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), min_size=1, max_size=3)
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1000))
    return {
        "integer": st.integers(low, high),
        "number": st.floats(
            low, high, exclude_min="exclusiveMinimum" in schema,
            exclude_max="exclusiveMaximum" in schema,
        ),
        "boolean": st.booleans(),
        "null": st.none(),
    }[schema["type"]]  # fmt: skip


SIMPLE = [
    kind
    for name, kind in PREDICTORS.items()
    if issubclass(kind, fc.LinearPredictor) and name not in ("bands", "blend", "learned")
]
finite = st.floats(-9, 9)
steps = st.lists(st.integers(1, 99), unique=True, max_size=9).map(lambda it: [0, *sorted(it)])
DRAWN: dict[type[Options], st.SearchStrategy[Any]] = {
    fc.Listed: steps.map(fc.Listed),
    fc.Learned: st.lists(finite, min_size=1, max_size=3).map(
        lambda row: fc.Learned([{"target": 9, "computed": range(len(row)), "weights": row}])
    ),
    fc.AdaCache: st.dictionaries(
        st.floats(0, 9, exclude_min=True), st.integers(1, 9), min_size=1, max_size=3
    ).map(lambda gaps: fc.AdaCache(codebook=sorted(gaps.items()))),
}


@pytest.mark.parametrize("name", shipped(PREDICTORS))
@settings(max_examples=30)
@given(data=st.data())
def test_every_predictor_comes_back_from_its_text(name, data):
    predictor = data.draw(configured(PREDICTORS.get(name)))
    assert spec.parse_predictor(spec.as_text(predictor)) == predictor
    assert spec.from_data(json.loads(json.dumps(spec.as_data(predictor)))) == predictor


@pytest.mark.parametrize("name", shipped(SCHEDULES))
@given(data=st.data())
def test_every_schedule_comes_back_from_its_text(name, data):
    schedule = data.draw(configured(SCHEDULES.get(name)))
    assert spec.parse_schedule(spec.as_text(schedule)) == schedule


class Nested(fc.Predictor):
    """Whatever an outsider may have for options."""

    parts: tuple[AnyPredictor, ...] = ()
    other: AnyPredictor | None = fc.Reuse()
    named: dict[str, AnyPredictor] = {}  # noqa: RUF012  # pydantic copies it
    inner: fc.Taylor = fc.Taylor()
    note: str | None = "none"
    factors: tuple[float, ...] = (1.0,)
    flags: dict[str, bool | None] = {}  # noqa: RUF012

    @property
    def depth(self):
        return 1

    def forecast(self, history, target):
        return history.combine([1.0])


@contextmanager
def registered(**kinds: type[fc.Predictor]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.PREDICTORS, "_added", kinds)
        yield


texts = st.text(max_size=5) | st.sampled_from(["null", "true", "1", "1,2", "[1]", '"', "(a,b)"])
inner = st.sampled_from([fc.Reuse(), fc.Newton(1, "time"), fc.Blend("reuse", "taylor:2", 0.8)])
nested = st.recursive(
    inner,
    lambda inner: st.builds(
        Nested,
        parts=st.lists(inner, max_size=2),
        other=st.none() | inner,
        named=st.dictionaries(texts, inner, max_size=2),
        inner=st.builds(fc.Taylor, st.integers(0, 4)),
        note=st.none() | texts,
        factors=st.lists(finite, max_size=3),
        flags=st.dictionaries(texts, st.none() | st.booleans(), max_size=2),
    ),
    max_leaves=3,
)


@settings(max_examples=30)
@given(nested)
def test_options_of_any_kind_come_back_from_their_text(predictor):
    with registered(nested=Nested):
        assert spec.parse_predictor(spec.as_text(predictor)) == predictor
        assert spec.from_data(json.loads(json.dumps(spec.as_data(predictor)))) == predictor


def test_predictors_in_a_list_keep_their_names_and_nothing_is_null():
    with registered(nested=Nested):
        many = Nested(parts=("taylor:2", "reuse"), other=None)
        text = spec.as_text(many)
        assert spec.parse_predictor(text) == many
        assert text.endswith(",other=null")
        for written in ('["taylor:2", "reuse"],null', 'parts=["taylor:2","reuse"],other=null'):
            assert spec.parse_predictor(f"nested:{written}") == many
        assert spec.as_text(Nested(other=fc.Taylor(2))) == "nested:other=(taylor:order=2)"
        assert spec.as_text(Nested(note="null")) == 'nested:note="null"'


def test_a_list_of_steps_with_options_of_its_own_is_written_with_them(monkeypatch):
    monkeypatch.setattr(registry.SCHEDULES, "_added", {})

    @fc.register_schedule("named-steps")
    class Named(fc.Listed):
        label: str = ""

    named = Named(steps=[0, 6], label="few")
    assert spec.parse_schedule(spec.as_text(named)) == named


@given(
    steps,
    st.sampled_from([",", ", ", " ,", " , "]),
    st.sampled_from(["{}", " {} ", "listed:({})"]),
)
def test_a_list_of_steps_is_read_with_spaces_or_without(listed, comma, around):
    if "(" in around and len(listed) == 1:
        reject()  # brackets are for values with commas
    text = around.format(comma.join(map(str, listed)))
    assert spec.parse_schedule(text) == fc.Listed(listed)


@given(st.text(alphabet="every:taylor0123456789,=()[]{}\"' .", max_size=30))
def test_any_text_is_a_spec_or_refused_as_none(text):
    for parse in (spec.parse_predictor, spec.parse_schedule):
        with suppress(ForecastCacheError):
            assert spec.as_text(parse(text))


@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        ("nope", UnknownNameError, "'nope': write one of bands, bdf"),
        ("blend:a=reuse,b=nope", UnknownNameError, "'nope'"),
        ("taylor:sigma=1", OptionError, "taylor has no option 'sigma'; it takes order"),
        ("taylor:order=9", OptionError, "order='9', but input should be less than or equal to 4"),
        (
            "taylor:2,3,4",
            OptionError,
            "Taylor was given 3 values in order; it takes order: integer",
        ),
        ("taylor:2,order=3", OptionError, "order is set twice, to 2 and to 3: keep one"),
        ("blend:weight=1,reuse", OptionError, "has a value after an option: give values first"),
        ("taylor:order=1,order=2", OptionError, "order is set twice, to 1 and to 2: keep one"),
        ("blend:a=reuse,b=(taylor:order=2", OptionError, "a bracket that is not closed"),
        ("blend:a=reuse", OptionError, "blend needs b; it takes a: linear predictor"),
        ("blend:a=reuse,b=exponential", OptionError, "b=Exponential.*LinearPredictor"),
        ("bands:low=taylor:order=x,high=reuse", OptionError, "order='x'"),
        ("learned:rows=[1", OptionError, "a bracket that is not closed"),
    ],
)
def test_what_is_no_predictor_is_refused_in_one_line(text, kind, complaint):
    with pytest.raises(kind, match=complaint) as error:
        spec.parse_predictor(text)
    assert "\n" not in str(error.value)


def test_data_of_another_kind_is_refused():
    with pytest.raises(OptionError, match="7 is no predictor: give one, or a spec"):
        spec.from_data(7)


def test_a_class_that_nothing_names_cannot_be_written():
    class Mine(fc.Taylor):
        """Not registered."""

    for thing in (Mine(), fc.Blend(Mine(), "reuse"), fc.Blend(fc.Blend("reuse", Mine()), "reuse")):
        for write in (spec.as_data, spec.as_text):
            with pytest.raises(OptionError, match=r"^Mine is not registered.*@register_predictor"):
                write(thing)


def test_a_registered_class_can(monkeypatch):
    monkeypatch.setattr(registry.PREDICTORS, "_added", {})

    @fc.register_predictor("mine")
    class Mine(fc.Taylor):
        """Registered."""

    options = {"order": 2, "guard": None}
    assert spec.as_data(Mine(2)) == {"predictor": "mine", "options": options}
    assert fc.Blend("mine", "reuse").a == Mine()
