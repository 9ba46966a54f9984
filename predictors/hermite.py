"""Hermite: Taylor's differences in a scaled Hermite basis, as HiCache does it."""

from __future__ import annotations

from typing import Annotated

from numpy.polynomial import hermite
from pydantic import Field

from forecastcache.predictors.series import Guard, Series


class Hermite(Series):
    """The Taylor series of backward differences with each power k^i damped to a Hermite one.

    F^_s = d_0 + sum_{1<=i<=m} d_i sigma^i H_i(sigma k) / i!, with H_i the physicists' Hermite
    polynomials, k the steps since the newest computed one and d_i the differences of Taylor. On
    even gaps N the row is w_j = (-1)^j sum_{i>=j} C(i, j) c_i with c_0 = 1 and
    c_i = sigma^i H_i(sigma k) / (i! N^i).

    Until m + 1 features are computed the series stops at the differences there are.

    The linear term is 2 sigma^2 k d_1: sigma = 0.5 halves the slope, which shrinks towards reuse;
    exact on straight lines only at sigma = 1 / sqrt(2) with m = 1, where it is Taylor. Convergence
    order 1 at any other. Noise gain at u = 5/6 with N = 6, sigma = 0.5: 1.83, 2.15, 2.23 for
    m = 1..3. Use it where Taylor overshoots: long intervals, noisy features.

    Args:
        order: m, from 0 (reuse) to 4; holds m + 1 features a site.
        sigma: contraction, above 0.
        guard: warm-up steps, of which only the newest two feed differences, as for Taylor.

    Reference: HiCache (2508.16984), its scaled Hermite basis, over TaylorSeer's differences.
    """

    order: Annotated[int, Field(ge=0, le=4)] = 2
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    guard: Guard = None

    def basis(self, i: int, k: float) -> float:
        polynomial = hermite.hermval(self.sigma * k, [0] * i + [1])
        return float(self.sigma**i * polynomial)
