"""What rules must know of a model, and the threshold for a number of computed steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError, CalibrationError, ForecastCacheWarning, OptionError
from forecastcache.spec import parse_schedule

from ..conftest import make_pipeline, make_unconditional

STEPS = 12
REQUEST = fc.Request(steps=STEPS, count=2, guidance_scale=1.0)


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline()


def computed_by(pipe, schedule, predictor="reuse", site="output") -> float:
    """Mean number of computed steps, every sample by itself."""
    counts = []
    for part in REQUEST.split(pipe, 1):
        with fc.attach(pipe, schedule, predictor, site=site) as session:
            part.run(pipe)
            counts.append(sum(call.was_computed for call in session.calls))
    return sum(counts) / len(counts)


@pytest.mark.parametrize(
    ("spec", "predictor", "site"),
    [
        ("seacache:of=sample", "reuse", "output"),
        ("easycache:first=1", "taylor", "output"),
        ("drift:order=1", "reuse", "module"),
        ("firstblock", "taylor", "hidden"),
    ],
)
def test_the_schedule_found_computes_as_many_as_were_asked(pipe, spec, predictor, site):
    found = fc.solve_threshold(pipe, REQUEST, spec, predictor, computed=6, site=site)
    assert abs(computed_by(pipe, found, predictor, site) - 6) <= 0.5
    asked = parse_schedule(spec)
    assert found.model_copy(update={"threshold": asked.threshold}) == asked
    assert len(f"{found.threshold:.17g}".rstrip("0")) <= 22  # a number that can be written down


def test_what_no_threshold_gives_is_warned_of(pipe):
    with pytest.warns(ForecastCacheWarning, match="nearest to 2 computed steps is .*, with 7 in"):
        found = fc.solve_threshold(pipe, REQUEST, "seacache:of=sample,first=6", "reuse", 2)
    assert computed_by(pipe, found) == 7  # six and the last


@pytest.mark.parametrize(
    ("schedule", "computed", "complaint"),
    [
        ("every:5", 6, "has no threshold to solve for: give a schedule that decides"),
        ("drift", 13, "computed=13 of 12 steps cannot be: write a number from 1 to 12"),
        ("drift", 0.5, "computed=0.5 of 12"),
    ],
)
def test_what_cannot_be_solved_is_refused(pipe, schedule, computed, complaint):
    with pytest.raises(OptionError, match=complaint):
        fc.solve_threshold(pipe, REQUEST, schedule, "reuse", computed)


def test_the_polynomial_is_that_of_the_changes_seen(pipe):
    changes: list[tuple[float, float]] = []
    for part in REQUEST.split(pipe, 1):
        modulated, outputs = [], []
        hooks = [
            pipe.transformer.transformer_blocks[0].norm1.register_forward_hook(
                lambda _, args, made, seen=modulated: seen.append(made[0])
            ),
            pipe.transformer.register_forward_hook(
                lambda _, args, made, seen=outputs: seen.append(made[0])
            ),
        ]
        part.run(pipe)
        for hook in hooks:
            hook.remove()
        modulated, outputs = (_changes(each)[: STEPS - 2] for each in (modulated, outputs))
        changes += zip(modulated, outputs, strict=True)
    found = fc.fit_schedule(pipe, REQUEST, "teacache:0.3,first=2")
    assert (found.threshold, found.first) == (0.3, 2)
    x, y = np.array(changes).T
    expected = np.poly1d(np.polyfit(x, y, 4))
    assert [found.rescaled(each) for each in x] == pytest.approx(expected(x), rel=1e-2)


def _changes(seen: list[torch.Tensor]) -> list[float]:
    return [
        float((b - a).abs().mean() / a.abs().mean()) for a, b in zip(seen, seen[1:], strict=False)
    ]


def test_ratios_are_of_all_that_the_blocks_add(pipe):
    part = REQUEST.split(pipe, 1)[0]
    residuals: list[torch.Tensor] = []
    given: list[torch.Tensor] = []
    blocks = pipe.transformer.transformer_blocks
    hooks = [
        blocks[0].register_forward_pre_hook(lambda _, args: given.append(args[0])),
        blocks[-1].register_forward_hook(lambda _, args, made: residuals.append(made - given[-1])),
    ]
    part.run(pipe)
    for hook in hooks:
        hook.remove()
    sizes = [each.norm(dim=-1) for each in residuals]
    expected = [1.0, *(float((b / a).mean()) for a, b in zip(sizes, sizes[1:], strict=False))]
    found = fc.fit_schedule(pipe, part, fc.MagnitudeAware(0.2, in_a_row=5))
    assert found.ratios == pytest.approx(expected, abs=1e-4)
    assert (found.threshold, found.in_a_row) == (0.2, 5)
    with fc.attach(pipe, found, "reuse") as session:  # which without them is refused
        part.run(pipe)
    assert len(session.calls) == STEPS


def test_what_cannot_be_measured_is_refused(pipe):
    drift = fc.Drift()
    assert fc.fit_schedule(pipe, REQUEST, drift) is drift  # nothing is to be measured
    with pytest.raises(CalibrationError, match="names no blocks, whose residual magcache"):
        fc.fit_schedule(make_unconditional(), fc.Request(steps=4, count=1), "magcache")
    with pytest.raises(AttachError, match="'generic' names no modulated"):
        fc.fit_schedule(make_unconditional(), fc.Request(steps=4, count=1), "teacache")
    with pytest.raises(CalibrationError, match="4 steps show 4 changes, too few"):
        fc.fit_schedule(pipe, fc.Request(steps=4, count=2, guidance_scale=1.0), "teacache")
