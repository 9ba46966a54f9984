"""How features move: on curves where the answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from forecastcache.errors import OptionError
from forecastcache.evaluation.trace import trace_features, trace_of
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

from ..conftest import make_pipeline


def test_a_straight_line_is_known_from_two_points():
    generator = np.random.default_rng(0)
    start, slope = generator.standard_normal((2, 30))
    seen = trace_of(start + np.arange(12)[:, None] * slope)
    np.testing.assert_allclose(seen.fidelity[1:], 1, atol=1e-6)
    np.testing.assert_allclose(seen.fidelity_newest[1:], 1, atol=1e-6)
    assert seen.fidelity[0] < 0.999
    assert seen.explained[0] == pytest.approx(1)
    np.testing.assert_allclose(seen.spectrum[2:], 0, atol=1e-12)
    assert [len(path) for path in seen.paths] == [12, 11, 10, 9, 8]
    assert np.abs(seen.paths[2]).max() < 1e-6  # a line's second differences


def test_what_comes_new_is_seen():
    seen = trace_of(np.eye(8))
    np.testing.assert_allclose(seen.fidelity, 0, atol=1e-6)
    np.testing.assert_allclose(seen.spectrum, 1 / 8)


def test_the_newest_three_tell_less_than_all():
    generator = np.random.default_rng(1)
    basis = generator.standard_normal((5, 40))
    seen = trace_of(generator.standard_normal((20, 5)) @ basis)
    np.testing.assert_allclose(seen.fidelity[5:], 1, atol=1e-6)
    assert seen.fidelity_newest[5:].mean() < 0.95


def test_a_module_is_traced_where_it_runs():
    request = Request(steps=8, count=1)
    whole, block = (
        trace_features(make_pipeline(), request),
        trace_features(make_pipeline(), request, "proj_out_2"),
    )
    assert [len(path) for path in block.paths] == [len(path) for path in whole.paths]
    assert np.abs(block.fidelity - whole.fidelity).max() > 1e-3
    # What the first of both calls of a step returns, and nothing is left of the watching.
    pipe = load("zoo:qwen-digits")
    pipe.set_progress_bar_config(disable=True)
    asked = Request.of("zoo:qwen-digits", steps=8, count=1)
    trace_features(pipe, asked, "transformer_blocks.1")
    assert not any(module._forward_hooks for module in pipe.transformer.modules())


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        ("block.9", "no module 'block.9' .*: it begins with one of pos_embed, transformer_blocks"),
        ("transformer_blocks", "is called 0 times in 8 steps"),
    ],
)
def test_a_module_that_is_not_there_or_does_not_run_is_refused(module, complaint):
    with pytest.raises(OptionError, match=complaint):
        trace_features(make_pipeline(), Request(steps=8, count=1), module)


def test_the_command_draws_and_writes(forecastcache, tmp_path):
    model = ("zoo:dit-digits", "--steps", 8, "--count", 1)
    code, printed, _ = forecastcache("trace", *model, "--out", tmp_path)
    files = printed.split()
    assert (code, len(files)) == (0, 3)
    for file in files[:2]:
        with Image.open(file) as image:
            assert image.width > 500
    with open(files[2]) as file:
        data = json.load(file)
    assert len(data["projection_fidelity"]) == 7
    code, printed, _ = forecastcache(
        "trace", *model, "--out", tmp_path, "--module", "transformer_blocks.1.attn1"
    )
    assert (code, "dit-digits-transformer_blocks.1.attn1-trace.json" in printed) == (0, True)
    code, _, err = forecastcache("trace", *model[:2], 5, "--out", tmp_path)
    assert (code, "5 steps are too few to trace: ask for 6" in err) == (2, True)
