"""Open loop: least squares from inner products alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastcache.calibration.gram import (
    GramSum,
    by_gradient_descent,
    open_loop_rows,
    residual,
    solve,
)
from forecastcache.errors import CalibrationError
from forecastcache.predictors.row import Row

T = 9
COMPUTED = (0, 1, 4, 7)


def trajectories(count: int, seed: int = 0, size: int = 12) -> torch.Tensor:
    """Smooth random features, `(T, count, size)`."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(4, count, size, generator=generator)
    s = torch.arange(T)[:, None, None] / T
    noise = 0.02 * torch.randn(T, count, size, generator=generator)
    return parts[0] + parts[1] * s + parts[2] * s**2 + parts[3] * torch.cos(4 * s) + noise


def gathered(features: torch.Tensor, chunks: list[slice]) -> np.ndarray:
    total = GramSum(T)
    for chunk in chunks:
        for feature in features:
            total.observe(feature[chunk])
        total.close()
    return total.matrix


@given(st.integers(1, 6), st.randoms())
@settings(max_examples=30)
def test_it_adds_up_over_any_chunks_in_any_order(size, random):
    features = trajectories(7)
    chunks = [slice(i, i + size) for i in range(0, 7, size)]
    random.shuffle(chunks)
    flat = features.flatten(1).double().numpy()
    np.testing.assert_allclose(gathered(features, chunks), flat @ flat.T, rtol=1e-10)


def test_ranks_add_up():
    features = trajectories(8)
    whole = gathered(features, [slice(0, 8)])
    parts = sum(gathered(features, [slice(rank, 8, 3)]) for rank in range(3))
    np.testing.assert_allclose(parts, whole, rtol=1e-10)


def test_rows_are_those_of_stacked_least_squares():
    features = trajectories(6)
    flat = features.flatten(1).double().numpy()
    gram = gathered(features, [slice(0, 6)])
    for row in open_loop_rows(gram, COMPUTED, ridge=0):
        stacked, *_ = np.linalg.lstsq(flat[list(row.computed)].T, flat[row.target], rcond=None)
        np.testing.assert_allclose(row.weights, stacked, rtol=1e-6, atol=1e-8)
        missed = flat[row.target] - np.array(row.weights) @ flat[list(row.computed)]
        assert residual(gram, row) == pytest.approx(missed @ missed, rel=1e-6)


def test_exact_linear_dynamics_are_recovered():
    """Features on a line through a plane: any two span the others."""
    generator = torch.Generator().manual_seed(0)
    start, slope = torch.randn(2, 5, 40, generator=generator, dtype=torch.float64)
    features = torch.stack([start + s * slope for s in range(T)])
    flat = features.flatten(1).numpy()
    rows = open_loop_rows(flat @ flat.T, (0, 2), ridge=1e-13)
    late = next(row for row in rows if row.target == 6)
    np.testing.assert_allclose(late.weights, (-2.0, 3.0), rtol=1e-5)  # 3 e_2 - 2 e_0


def test_rows_read_no_more_than_their_depth():
    gram = gathered(trajectories(4), [slice(0, 4)])
    rows = open_loop_rows(gram, COMPUTED, depth=2)
    assert {row.target: row.computed for row in rows} == {
        2: (0, 1), 3: (0, 1), 5: (1, 4), 6: (1, 4), 8: (4, 7)
    }  # fmt: skip


def test_the_closed_form_is_no_worse_than_the_papers_descent():
    gram = gathered(trajectories(20), [slice(0, 20)])
    exact, descended = open_loop_rows(gram, COMPUTED), by_gradient_descent(gram, COMPUTED)
    for ours, theirs in zip(exact, descended):
        assert ours.computed == theirs.computed
        assert residual(gram, ours) <= residual(gram, theirs) * (1 + 1e-4)
    reuse = [Row(target=r.target, computed=r.computed[-1:], weights=(1.0,)) for r in exact]
    assert all(residual(gram, a) < residual(gram, b) for a, b in zip(descended, reuse))


def test_the_condition_is_reported():
    weights, condition = solve(np.diag([1.0, 4.0]), np.array([1.0, 4.0]), ridge=0)
    np.testing.assert_allclose(weights, (1, 1))
    assert condition == pytest.approx(4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad):
    with pytest.raises(CalibrationError, match=r"NaN or infinity at step 0"):
        GramSum(T).observe(torch.tensor([1.0, bad]))


def test_a_trajectory_of_another_length_is_refused():
    short = GramSum(3)
    short.observe(torch.ones(2))
    with pytest.raises(CalibrationError, match="ended after 1 of 3 steps"):
        short.close()
    long = GramSum(1)
    long.observe(torch.ones(2))
    with pytest.raises(CalibrationError, match="of 1 steps has gone on to step 1"):
        long.observe(torch.ones(2))


def test_what_holds_nothing_is_refused():
    with pytest.raises(CalibrationError, match="zero or not finite"):
        solve(np.zeros((2, 2)), np.zeros(2))
    with pytest.raises(CalibrationError, match="raise the ridge"):
        solve(np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2), ridge=0)
