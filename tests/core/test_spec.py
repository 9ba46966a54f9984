from __future__ import annotations

import json

import pytest

import forecastcache as fc
from forecastcache import registry, spec
from forecastcache.errors import OptionError, UnknownNameError


@pytest.mark.parametrize(
    ("text", "predictor"),
    [
        ("reuse", fc.Reuse()),
        ("taylor:order=2", fc.Taylor(2)),
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
    assert spec.parse(text) == predictor
    assert spec.from_data(json.loads(json.dumps(spec.as_data(predictor)))) == predictor
    assert type(predictor).model_validate_json(predictor.model_dump_json()) == predictor


@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        ("nope", UnknownNameError, "'nope': write one of bands, bdf"),
        ("blend:a=reuse,b=nope", UnknownNameError, "'nope'"),
        ("taylor:sigma=1", OptionError, "taylor has no option 'sigma'; it takes order"),
        ("taylor:order=9", OptionError, "order='9', but input should be less than or equal to 4"),
        ("taylor:2", OptionError, "'2' sets no option: write such as order=2"),
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
        spec.parse(text)
    assert "\n" not in str(error.value)


def test_data_of_another_kind_is_refused():
    with pytest.raises(OptionError, match="7 is no predictor: give one, or a spec"):
        spec.from_data(7)


def test_a_class_that_nothing_names_cannot_be_written():
    class Mine(fc.Taylor):
        """Not registered."""

    with pytest.raises(OptionError, match="Mine is not registered.*@register_predictor"):
        spec.as_data(Mine())


def test_a_registered_class_can(monkeypatch):
    monkeypatch.setattr(registry.PREDICTORS, "_added", {})

    @fc.register_predictor("mine")
    class Mine(fc.Taylor):
        """Registered."""

    assert spec.as_data(Mine(2)) == {"predictor": "mine", "options": {"order": 2}}
    assert fc.Blend("mine", "reuse").a == Mine()
