"""Plan charts: what a calibration offers at which cost, and the rows that it forecasts by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.ticker import FixedLocator, FuncFormatter

from forecastcache.calibration.offers import Offer
from forecastcache.evaluation.labels import Label, label_points
from forecastcache.evaluation.style import (
    LIGHT,
    Target,
    Theme,
    drawing,
    named_axes,
    plain_ticks,
    power_of_ten,
)
from forecastcache.predictors.explanation import Explanation

COUNTS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
LINEAR = 2.5  # decades' worth of colour for what is within 1 of 0
KINDS = {  # marker, and whether it is filled, by what a figure is
    "rolled on held-out samples": ("o", True),
    "foretold between rolled counts": ("s", False),
    "foretold": ("o", False),
}


def frontier(
    offers: Sequence[Offer], steps: int, target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save latent PSNR against computed steps: rolled points solid, foretold ones hollow.

    The bar of a foretold point is the band in which the figure may come out.

    Args:
        offers: what a calibration offers.
        steps: number of steps of a trajectory.
        target: path of a PNG or an SVG.
        model: name of what is planned.
        theme: colours.
    """
    note = f"{model}, {steps} steps; bars: band of what is foretold".lstrip(", ")
    with drawing(target, (7.6, 4.4), "What a calibration offers", note, theme) as figure:
        axes = named_axes(
            figure.add_subplot(),
            f"computed steps of {steps} (below: times fewer)",
            "latent PSNR to the plain run (dB)",
        )
        labels, lines = list[Label](), list[list[tuple[float, float]]]()
        for kind, (marker, solid) in KINDS.items():
            points = _points(offers, kind)
            if not points:
                continue
            hue = "vermillion" if solid else "blue"
            colour = theme.colour(hue)
            for x, _, (low, high) in points:
                axes.plot([x, x], [low, high], color=colour, linewidth=3, alpha=0.3, zorder=1)
            spots = [(x, y) for x, y, _ in points]
            axes.plot(
                *zip(*spots), marker, color=colour, markersize=5.5, zorder=3,
                markerfacecolor=colour if solid else theme.ground,
            )  # fmt: skip
            labels.append(Label(*spots[len(spots) // 2], kind, hue, solid))
            lines += [[spot] for spot in spots]
            lines += [[(x, low), (x, high)] for x, _, (low, high) in points]
        axes.set_xscale("log")
        axes.margins(x=0.06, y=0.08)
        plain_ticks(axes, COUNTS, [f"{it}\n{steps / it:.3g}×" for it in COUNTS])
        label_points(axes, labels, lines, theme)


def _points(offers: Sequence[Offer], kind: str) -> list[tuple[int, float, tuple[float, float]]]:
    """Computed steps, latent PSNR and band of the offers of a kind; a rolled one has no band."""
    found = []
    for offer in offers:
        rolled, foretold = offer.latent_psnr_db, offer.foretold_latent_psnr_db
        between = "foretold between rolled counts" if offer.interpolated else "foretold"
        if rolled is not None and kind.startswith("rolled"):
            found.append((len(offer.computed), rolled, (rolled, rolled)))
        elif foretold is not None and kind == between:
            band = offer.band_db or (foretold, foretold)
            found.append((len(offer.computed), foretold, band))
    return found


def row_map(
    explained: Sequence[Explanation], target: Target, note: str = "", theme: Theme = LIGHT
) -> None:
    """Save rows as a picture: weights by feature, and coefficients by order of difference.

    Args:
        explained: explanation of each forecast step's row.
        target: path of a PNG or an SVG.
        note: line below the title, such as the model and its computed steps.
        theme: colours.
    """
    orders = _table([it.differences for it in explained])
    weights = _table([it.row[::-1][: orders.shape[1]] for it in explained])
    most = max(1.0, float(np.nanmax(np.abs(np.concatenate([weights, orders])))))
    norm = SymLogNorm(1, linscale=LINEAR, vmin=-most, vmax=most)
    size = (9.6, 0.15 * len(explained) + 1.9)
    title = "The rows of a calibration, one a forecast step"
    with drawing(target, size, title, note, theme) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, table, name, across in (
            (left, weights, "weights of features", "age of the computed feature (0: the newest)"),
            (right, orders, "the same as differences", "order of the difference"),
        ):
            image = axes.imshow(table, cmap="RdBu_r", norm=norm, aspect="auto")
            for (line, column), value in np.ndenumerate(table):
                if np.isfinite(value):
                    dark = abs(float(norm(value)) - 0.5) > 0.3
                    axes.text(
                        column, line, _brief(value), ha="center", va="center", fontsize=5.5,
                        color="white" if dark else "#1b1f24",
                    )  # fmt: skip
            axes.set_title(name)
            axes.set_xticks(range(table.shape[1]))
            axes.set_xlabel(across)
        left.set_yticks(
            range(len(explained)), [str(it.target.index) for it in explained], fontsize=6.5
        )
        left.set_ylabel("forecast step")
        bar = figure.colorbar(image, ax=[left, right], pad=0.01, fraction=0.04)
        bar.locator = FixedLocator(_decades(most))
        bar.formatter = FuncFormatter(lambda value, _: power_of_ten(value))
        bar.update_ticks()
        bar.minorticks_off()
        bar.set_label("weight or coefficient (linear within ±1, logarithmic beyond)")


def _decades(most: float) -> list[float]:
    powers = range(int(np.log10(most)) + 1)
    kept = [10.0**power for power in powers][:: max(1, len(powers) // 5)]
    return [-it for it in kept[::-1]] + [0.0] + kept


def _brief(value: float) -> str:
    """A number in at most six letters."""
    if abs(value) >= 1000:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:.3g}" if abs(value) >= 0.001 else "0"


def _table(rows: Sequence[Sequence[float]]) -> np.ndarray:
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table
