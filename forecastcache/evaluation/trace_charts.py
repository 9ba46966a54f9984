"""Trace charts: how the features of a plain run move, drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from forecastcache.evaluation.style import (
    LIGHT,
    Target,
    Theme,
    about,
    drawing,
    named_axes,
    powers_of_ten,
)
from forecastcache.evaluation.trace import Trace

TINY = 1e-16
COLUMNS = 3
STEPS = "viridis"  # colours of the steps


def save_trace(
    seen: Trace,
    paths: Path,
    spans: Path,
    model: str,
    steps: int,
    samples: int,
    module: str | None = None,
) -> None:
    """Save both charts of a trace.

    Args:
        seen: the trace.
        paths: path of the picture of the features' paths.
        spans: path of the picture of projections and spectrum.
        model: name of the model.
        steps: number of steps of the trajectory.
        samples: number of samples.
        module: module whose outputs the features are; None for the model's.
    """
    note = about(model, steps, samples) + (f", outputs of {module}" if module else "")
    trajectories(seen, paths, note)
    projections(seen, spans, note)


def trajectories(seen: Trace, target: Target, note: str = "", theme: Theme = LIGHT) -> None:
    """Save the paths of features and their differences, in two principal components each."""
    lines = -(-len(seen.paths) // COLUMNS)
    title = "How features move, in two principal components"
    note = f"{note}; in brackets: the share of the variance that both explain".lstrip("; ")
    with drawing(target, (8.6, 2.75 * lines + 0.5), title, note, theme) as figure:
        grid = figure.subplots(lines, COLUMNS, squeeze=False)
        for order, (axes, points) in enumerate(zip(grid.flat, seen.paths)):
            named_axes(axes, "1st component (features' unit)", "2nd component")
            axes.plot(*points.T, color=theme.muted, linewidth=0.5, zorder=1)
            steps = np.arange(order, order + len(points))
            drawn = axes.scatter(
                *points.T, c=steps, cmap=STEPS, vmin=0, vmax=len(seen.paths[0]) - 1, s=14,
                edgecolors=theme.muted, linewidths=0.3, zorder=2,
            )  # fmt: skip
            for place, word in ((0, "first"), (-1, "last")) if order == 0 else ():
                axes.annotate(
                    word, points[place], xytext=(5, 5), textcoords="offset points", fontsize=7.5,
                    color=theme.ink,
                )  # fmt: skip
            axes.margins(0.12)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(4))
            name = "features" if order == 0 else f"order-{order} differences"
            axes.set_title(f"{name} ({seen.explained[order]:.0%})", fontsize=8.5)
        for axes in list(grid.flat)[len(seen.paths) :]:
            axes.set_axis_off()
        bar = figure.colorbar(drawn, ax=grid.ravel().tolist(), shrink=0.7, pad=0.01)
        bar.set_label("step")


def projections(seen: Trace, target: Target, note: str = "", theme: Theme = LIGHT) -> None:
    """Save how far each feature lies outside the span of those before it, and the spectrum."""
    title = "How well earlier features span a feature, and how many directions there are"
    with drawing(target, (9.4, 3.9), title, note, theme) as figure:
        left, right = figure.subplots(1, 2)
        named_axes(left, "step", "1 - cosine to its projection (no unit)")
        steps = range(1, len(seen.fidelity) + 1)
        for name, hue, values, above in (
            ("projected on all before it", "blue", seen.fidelity, False),
            ("on the newest three alone", "vermillion", seen.fidelity_newest, True),
        ):
            colour = theme.colour(hue)
            missed = 1 - values + TINY
            left.plot(steps, missed, color=colour, linewidth=1.4)
            middle, around = len(missed) // 2, missed[len(missed) // 3 : -len(missed) // 3]
            left.annotate(
                name, (steps[middle], around.max() if above else around.min()),
                xytext=(0, 10 if above else -10), textcoords="offset points", ha="center",
                va="bottom" if above else "top", color=theme.text(hue), fontsize=8.5,
            )  # fmt: skip
        named_axes(right, "direction, strongest first", "share of the Gram matrix's trace")
        right.plot(
            range(1, len(seen.spectrum) + 1), seen.spectrum + TINY, marker=".", linewidth=1.2,
            color=theme.colour("green"),
        )  # fmt: skip
        for axes in (left, right):
            powers_of_ten(axes)
