"""Taylor: finite differences in a Taylor series, as TaylorSeer does it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from forecastcache.predictors.series import Guard, Series


class Taylor(Series):
    """A Taylor series whose derivatives are backward differences of computed features.

    F^_s = sum_{i<=m} d_i k^i / i!, with k the steps since the newest computed one and
    d_0 = F, d_{i+1} = (d_i - d_i of the computed step before) / gap, where gap is the distance
    of those two computed steps. On even gaps N and u = k/N the rows are

        m = 1:  1 + u,            -u
        m = 2:  1 + u + u^2 / 2,  -u (1 + u),  u^2 / 2        (newest first)

    Until m + 1 features are computed the series stops at the differences there are. Of the
    schedule's warm-up steps 0 to first - 1 only the newest two feed differences, as in the
    reference's code: this is the guard, which tells at m >= 2 and first >= 3 only.

    Exact on straight lines for every m >= 1, not on parabolas: the differences are backward,
    the series expands about the newest step, so its convergence order is 2 for every m >= 1.
    Noise gain at u = 5/6: 2.67, 4.06, 4.83, 5.15 for m = 1..4. On uneven steps the reference's
    d_2 divides by the newest gap alone; this class does the same. With the
    guard order 2 has the most to gain where guidance is low or embedded and intervals are short;
    order 1 is the safer one at high guidance and long intervals. Without it, after a warm-up of
    three steps or more, order 2 and higher lose to order 1.

    Args:
        order: m, from 0 (reuse) to 4; holds m + 1 features a site.
        guard: number of warm-up steps, of which only the newest two feed differences; None takes
            the schedule's `warm_up` (0 where no schedule is known), and 0 lets all of them feed
            differences, as diffusers' TaylorSeer does.

    Reference: TaylorSeer (2503.06923), equations 5 and 6, and its code for uneven steps and the
    guard (`first_enhance`).
    """

    order: Annotated[int, Field(ge=0, le=4)] = 1
    guard: Guard = None

    def basis(self, i: int, k: float) -> float:
        return k**i
