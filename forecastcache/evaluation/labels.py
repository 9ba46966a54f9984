"""Labels: names beside what they name, so that a chart needs no legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from forecastcache.evaluation.style import DPI, Theme, clipped

POINT = DPI / 72  # pixels
REACHES = (8.5, 16, 27, 36)  # points from a point to its label
ANGLES = (0, 180, 45, 315, 135, 225, 90, 270)  # degrees, the best place first
LONGEST = 34  # letters of a label


@dataclass(frozen=True)
class Label:
    """A name at a point.

    Attributes:
        x: place in the units of the x axis.
        y: place in those of the y axis.
        text: name.
        hue: hue of the letters.
        bold: whether it stands out.
    """

    x: float
    y: float
    text: str
    hue: str
    bold: bool = False


def label_ends(axes: Axes, labels: Sequence[Label], theme: Theme) -> None:
    """Write names right of the axes, each at the height of its line's end, none over another.

    The room is that which `drawing` keeps free at the right.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # settles the layout
    apart, box = 11.5 * POINT, axes.get_window_extent()
    wanted = [float(axes.transData.transform((it.x, it.y))[1]) for it in labels]
    order = sorted(range(len(labels)), key=lambda i: wanted[i])
    heights = _spread([wanted[i] for i in order], apart, box.y0, box.y1)
    invert = figure.transFigure.inverted()
    for place, i in enumerate(order):
        label = labels[i]
        at = invert.transform((box.x1 + 12 * POINT, heights[place]))
        axes.annotate(
            clipped(label.text, LONGEST), (label.x, label.y), xytext=tuple(at),
            textcoords="figure fraction", fontsize=8, va="center", annotation_clip=False,
            color=theme.text(label.hue), fontweight="bold" if label.bold else "normal",
            arrowprops={
                "arrowstyle": "-", "color": theme.muted, "linewidth": 0.6, "shrinkB": 3,
                "linestyle": ":", "relpos": (0, 0.5),
            },
        ).set_in_layout(False)  # fmt: skip


def _spread(heights: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Heights, in rising order, moved so that neighbours are `apart`; about where they were."""
    placed: list[
        list[float]
    ] = []  # groups that touch: first height, number, sum of what is wanted
    for height in heights:
        placed.append([height, 1, height])
        while len(placed) > 1 and placed[-2][0] + placed[-2][1] * apart > placed[-1][0]:
            _, number, total = placed.pop()
            placed[-1][1] += number
            placed[-1][2] += total
            count = placed[-1][1]
            placed[-1][0] = placed[-1][2] / count - apart * (count - 1) / 2
    found = [start + apart * i for start, number, _ in placed for i in range(int(number))]
    last = len(found) - 1
    below = [min(it, high - apart * (last - i)) for i, it in enumerate(found)]
    return [max(it, low + apart * i) for i, it in enumerate(below)]


def label_points(
    axes: Axes,
    labels: Sequence[Label],
    lines: Sequence[Sequence[tuple[float, float]]],
    theme: Theme,
) -> list[Label]:
    """Write names near their points, over no point, no line and no other name.

    Args:
        axes: axes with everything else drawn.
        labels: names, those first that matter most.
        lines: points of each line, in its order.
        theme: colours.

    Returns:
        The names that found no place.
    """
    assert isinstance(axes.figure, Figure)
    axes.figure.draw_without_rendering()
    taken = [box for line in lines for box in _around(axes, line)]
    written, left = list[Bbox](), []
    for label in labels:
        boxes = _placed(axes, label, taken, written, theme)
        if boxes:
            taken += boxes
            written.append(boxes[0])
        else:
            left.append(label)
    return left


def _around(axes: Axes, line: Sequence[tuple[float, float]]) -> list[Bbox]:
    """Boxes that cover a line's points, and smaller ones between them."""
    places = axes.transData.transform(np.array(line))
    found = [_square(place, 3.5) for place in places]
    return found + [box for ends in zip(places, places[1:]) for box in _between(*ends)]


def _between(start: np.ndarray, end: np.ndarray) -> list[Bbox]:
    """Small boxes along a straight line, its ends left out."""
    count = int(np.hypot(*(end - start)) / (4 * POINT))
    return [_square(start + (end - start) * i / count, 1) for i in range(1, count)]


def _square(place: np.ndarray, half: float) -> Bbox:
    return Bbox([place - half * POINT, place + half * POINT])


def _placed(
    axes: Axes, label: Label, taken: Sequence[Bbox], written: Sequence[Bbox], theme: Theme
) -> list[Bbox]:
    """Write one name at the first free place; gives what it and its leader cover, if any is."""
    inside, start = axes.get_window_extent(), axes.transData.transform((label.x, label.y))
    assert isinstance(axes.figure.canvas, FigureCanvasAgg)  # as `drawing` makes it
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[no-untyped-call]
    for reach in REACHES:
        for angle in ANGLES:
            text = _written(axes, label, reach, angle, theme)
            text.update_positions(renderer)
            box = Text.get_window_extent(text).padded(1.5 * POINT)  # without the leader
            leader = _between(start, text.get_transform().transform(text.get_position()))
            free = not any(box.overlaps(other) for other in taken)
            clear = not any(part.overlaps(other) for other in written for part in leader)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1
            if free and clear and within and inside.y0 <= box.y0 and box.y1 <= inside.y1:
                text.set_in_layout(False)
                return [box, *(leader if reach > REACHES[0] else [])]
            text.remove()
    return []


def _written(axes: Axes, label: Label, reach: float, angle: float, theme: Theme) -> Annotation:
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    side = "left" if across > 0.1 else "right" if across < -0.1 else "center"
    level = "bottom" if up > 0.1 else "top" if up < -0.1 else "center"
    leader = {"arrowstyle": "-", "color": theme.muted, "linewidth": 0.6, "shrinkB": 3}
    return axes.annotate(
        clipped(label.text, LONGEST), (label.x, label.y), xytext=(reach * across, reach * up),
        textcoords="offset points", fontsize=8, ha=side, va=level, color=theme.text(label.hue),
        fontweight="bold" if label.bold else "normal",
        arrowprops=leader if reach > REACHES[0] else None,
    )  # fmt: skip
