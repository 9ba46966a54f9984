"""What measures the claims of `claims.py`, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from forecastcache.calibration.gram import open_loop_row, open_loop_rows, residual
from forecastcache.calibration.paths import cheapest_path, line_costs, path_cost
from forecastcache.evaluation.ground import Ground, velocity_misses
from forecastcache.evaluation.trace import trace_of
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.bdf import BDF
from forecastcache.predictors.hermite import Hermite
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.meanvelocity import MeanVelocity
from forecastcache.predictors.newton import Newton
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.row import Row
from forecastcache.predictors.taylor import Taylor
from forecastcache.schedule import Every, Listed, Warped
from forecastcache.step import Step

DIT, FLUX, EMOJI = "zoo:dit-digits", "zoo:flux-digits", "zoo:flux-emoji"
CALIBRATION_SEED = 1000
SAME = 0.5  # dB that two settings of one level may differ by


@dataclass(frozen=True)
class Outcome:
    """What measuring a claim has found.

    Attributes:
        agrees: whether the figures say what the paper says.
        reason: why, in a line with the figures that decide it.
        figures: rows of figures; dB are of the latent's PSNR to the plain run.
    """

    agrees: bool
    reason: str
    figures: list[dict[str, Any]]

    @property
    def in_words(self) -> str:
        """`agrees` or `does not`."""
        return "agrees" if self.agrees else "does not"


def taylor_orders() -> Outcome:
    """TaylorSeer's interval N and order O, with the guard of its code and without."""
    ground, rows = Ground(DIT, 8), []
    orders, db = (0, 1, 2, 3), {}
    for guard, interval, order in product((True, False), (3, 5, 7), orders):
        taylor = Taylor(order, guard=None if guard else 0)
        near = ground.near(Every(interval, first=3), taylor, "module").mean()
        db[guard, interval, order] = near
        rows.append({"guard": guard, "interval": interval, "order": order, "psnr_db": near})
    gains = {
        (guard, order): [db[guard, n, order] - db[guard, n, order - 1] for n in (3, 5, 7)]
        for guard, order in product((True, False), orders[1:])
    }
    falls = all(db[True, 3, o] > db[True, 5, o] > db[True, 7, o] for o in orders)
    rises = all(min(gains[True, o]) > -SAME for o in orders[1:])
    reason = (
        f"with the guard order 1 gains {_span(gains[True, 1])} dB over reuse, order 2 "
        f"{_span(gains[True, 2])} over 1, order 3 {_span(gains[True, 3])} over 2; without it "
        f"order 2 {_span(gains[False, 2])} over 1"
    )
    return Outcome(bool(falls and rises), reason, rows)


def saturation() -> Outcome:
    """Orders beyond 3."""
    ground, rows, gains = Ground(DIT, 8), [], []
    for interval in (3, 5, 7):
        three, four = (
            ground.near(Every(interval, first=2), Taylor(order), "module").mean()
            for order in (3, 4)
        )
        gains.append(four - three)
        rows += [
            {"interval": interval, "order": order, "psnr_db": near}
            for order, near in ((3, three), (4, four))
        ]
    reason = f"order 4 gains {_span(gains)} dB over 3, where up to {SAME} counts as none"
    return Outcome(bool(max(map(abs, gains)) <= SAME), reason, rows)


def linear_form() -> Outcome:
    """Formulas as rows, beside rows of least squares over the same computed steps."""
    fitted = Ground(FLUX, 8, "calibration", CALIBRATION_SEED)
    gram, held_out = fitted.gram(), Ground(FLUX, 8, pipe=fitted.pipe).gram()
    computed = Every(6, first=3).computed(50)
    known = {t: [c for c in computed if c < t] for t in range(50) if t not in computed}
    formulas: tuple[LinearPredictor, ...] = (
        Reuse(), Taylor(1), Taylor(2), Newton(2), Hermite(2), BDF(2),
    )  # fmt: skip

    def error(rows: Sequence[Row]) -> float:
        misses = [residual(held_out, row) / held_out[row.target, row.target] for row in rows]
        return float(np.sqrt(misses).mean())

    errors = {str(formula): error(_rows_of(formula, known)) for formula in formulas}
    best = min(errors.values())
    learned = error([open_loop_row(gram, seen, target) for target, seen in known.items()])
    reason = (
        f"every formula is a row, and rows of least squares miss held-out outputs by "
        f"{learned:.2%} on average, the best formula by {best:.2%}"
    )
    errors["least squares"] = learned
    figures = [{"row": name, "relative_error": error} for name, error in errors.items()]
    return Outcome(learned < best, reason, figures)


def _rows_of(formula: LinearPredictor, known: Mapping[int, Sequence[int]]) -> list[Row]:
    """A formula's row for each step, over the computed steps that are known there."""
    rows = []
    for target, seen in known.items():
        weights = formula.row([Step(c, 0.0, 50) for c in seen], Step(target, 0.0, 50)).tolist()
        rows.append(Row(target=target, computed=tuple(seen), weights=tuple(weights)))
    return rows


def projection() -> Outcome:
    """How near outputs lie to the span of those before them."""
    shares = {}
    for model, count in ((FLUX, 4), (DIT, 4), (EMOJI, 2)):
        ground = Ground(model, count)
        features = np.stack([each.flatten().double().numpy() for each in ground.guided])
        shares[model] = float((trace_of(features).fidelity > 0.95).mean())
    least = min(shares.values())
    reason = f"at {least:.0%} of the steps or more, where more than half is most"
    figures = [{"model": model, "share_of_steps": share} for model, share in shares.items()]
    return Outcome(least > 0.5, reason, figures)


def few_prompts() -> Outcome:
    """Rows of least squares from 5 and from 50 samples."""
    schedule, rows, losses = Every(6, first=3), [], []
    for model in (FLUX, DIT):
        many = Ground(model, 50, "calibration", CALIBRATION_SEED)
        held_out = Ground(model, 10, pipe=many.pipe)
        near = {}
        for count in (5, 50):
            fitted = open_loop_rows(many.gram(count), schedule.computed(50))
            near[count] = held_out.near(schedule, Learned(fitted)).mean()
            rows.append({"model": model, "samples": count, "psnr_db": near[count]})
        losses.append(near[50] - near[5])
    reason = f"50 samples gain {_span(losses)} dB over 5, where less than 1 counts as enough"
    return Outcome(bool(max(losses) < 1), reason, rows)


def golden_path() -> Outcome:
    """One schedule for all prompts, beside the best of the same family for each."""
    search = Ground(FLUX, 8, "calibration", CALIBRATION_SEED)
    held_out = Ground(FLUX, 60, pipe=search.pipe)
    family = [
        Warped(9, a, b, last)
        for a, b, last in product((0.75, 1.1, 1.35), (0.8, 1.0, 1.3, 1.7), (0, 1))
    ]
    searched = np.array([search.near(each, Reuse()).mean() for each in family])
    near = np.array([held_out.near(each, Reuse()) for each in family])
    shared = int(searched.argmax())
    gaps = near.max(0) - near[shared]
    share = float((gaps <= 1).mean())
    figures = [
        {"schedule": str(family[shared]), "share_within_1_db": share,
         "mean_psnr_db": near[shared].mean(), "mean_of_each_best_db": near.max(0).mean()},
    ]  # fmt: skip
    chance = 2 * (0.79 * 0.21 / len(gaps)) ** 0.5
    reason = (
        f"{share:.0%} of {len(gaps)} held-out prompts lie within 1 dB of their own best of "
        f"{len(family)} schedules, under the one that is best on 8 others; 79 % less what chance "
        f"explains of so few is {0.79 - chance:.0%}"
    )
    return Outcome(share >= 0.79 - chance, reason, figures)


def third_coordinate() -> Outcome:
    """Costs of a gap that know the step before it, and their mean over it."""
    search = Ground(FLUX, 8, "calibration", CALIBRATION_SEED)
    held_out, rows, gains = Ground(FLUX, 20, pipe=search.pipe), [], []
    costs = line_costs(search.gram())
    finite = np.isfinite(costs)
    mean = np.where(finite, costs, 0).sum(0) / np.maximum(finite.sum(0), 1)
    flat = np.where(finite, mean[None], np.inf)
    spared = []
    for count in (6, 9, 13):
        paths = [cheapest_path(each, count, first=3) for each in (flat, costs)]
        near = [held_out.near(Listed(path), Taylor(1)).mean() for path in paths]
        cost = [path_cost(costs, path) for path in paths]
        gains.append(near[1] - near[0])
        spared.append(1 - cost[1] / cost[0])
        rows += [
            {"computed": " ".join(map(str, path)), "coordinates": size, "psnr_db": db,
             "cost": total}
            for path, size, db, total in zip(paths, (2, 3), near, cost)
        ]  # fmt: skip
    reason = (
        f"the third coordinate gains {_span(gains)} dB, {np.mean(gains):+.1f} on average, though "
        f"by the cost itself its schedules are {min(spared):.0%} to {max(spared):.0%} cheaper: "
        "a sum of errors on the plain trajectory does not say where a forecast run ends"
    )
    if np.mean(gains) > 0:
        reason = reason.partition(", though")[0]
    return Outcome(bool(np.mean(gains) > 0), reason, rows)


def peak_suppression() -> Outcome:
    """Shortest paths whose edges are raised to a power, and whose edges are not."""
    search = Ground(FLUX, 8, "calibration", CALIBRATION_SEED)
    held_out, rows, gains = Ground(FLUX, 20, pipe=search.pipe), [], []
    misses = velocity_misses(search.samples, search.guided, search.sigmas)
    for count in (9, 13, 21):
        near = {}
        for power in (1, 4):
            costs = np.broadcast_to(misses**power, (50, *misses.shape))
            path = Listed(cheapest_path(costs, count, first=5))
            for predictor in (Reuse(), MeanVelocity()):
                near[power, predictor] = held_out.near(path, predictor).mean()
                rows.append(
                    {"computed": " ".join(map(str, path.steps)), "power": power,
                     "predictor": str(predictor), "psnr_db": near[power, predictor]}
                )  # fmt: skip
        gains += [near[4, it] - near[1, it] for it in (Reuse(), MeanVelocity())]
    reason = f"the fourth power gains {_span(gains)} dB, {np.mean(gains):+.1f} on average"
    return Outcome(bool(np.mean(gains) > 0), reason, rows)


def _span(values: list[float]) -> str:
    return f"{min(values):+.1f} to {max(values):+.1f}"
