"""One look for every chart: colours by name, marks that can be seen, names that can be read."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from itertools import pairwise

import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from forecastcache.evaluation.labels import _spread
from forecastcache.evaluation.style import (
    DARK,
    FAMILIES,
    HUES,
    LIGHT,
    drawing,
    family_of,
    hue_of,
    looks,
    named_axes,
    power_of_ten,
)

THEMES = (LIGHT, DARK)


def luminance(colour: str) -> float:
    parts = [
        it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in to_rgb(colour)
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), parts))


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda it: it.name)
def test_letters_can_be_read_and_marks_seen(theme):
    """WCAG 2.2: 4.5 for letters, and at least something for marks, whose shapes differ too."""
    for hue in (*theme.hues, "ink", "muted"):
        assert contrast(theme.text(hue), theme.ground) >= 4.5, hue
        assert contrast(theme.colour(hue), theme.ground) >= 2, hue


def test_every_colour_of_a_theme_has_one_name():
    """Else a page could not tell which to change with its reader's theme."""
    for theme in THEMES:
        named = theme.variables()
        assert len({*named.values()}) == len(named)
    assert LIGHT.variables().keys() == DARK.variables().keys()
    assert {*FAMILIES.values(), *HUES} <= {*LIGHT.hues, "ink"}


def test_a_family_has_one_colour_in_every_process():
    assert family_of("taylor:order=2, module") == family_of("taylor, output") == "taylor"
    assert family_of("zoo:dit-digits, output") == family_of("learned, closed loop") == "learned"
    assert family_of("my.safetensors, output", "Learned(44 rows)") == "learned"
    program = "from forecastcache.evaluation.style import hue_of; print(hue_of('outsider'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == hue_of("outsider")
    others = {hue_of(f"outsider {number}") for number in range(50)}
    assert others == {*HUES}  # none has ours


def test_lines_of_one_colour_differ_by_their_markers():
    lines = [(f"taylor:order={order}, output", "taylor") for order in range(4)]
    found = looks([*lines, ("zoo:dit-digits, output", "learned"), lines[0]])
    assert len({look.marker for look in found.values() if look.hue == "blue"}) == 4
    assert [name for name, look in found.items() if look.ours] == ["zoo:dit-digits, output"]


def test_labels_keep_apart_and_in_order():
    heights = [0.0, 1, 2, 30, 31, 90, 99, 100]
    placed = _spread(heights, 10, 0, 100)
    assert all(high - low >= 10 - 1e-9 for low, high in pairwise(placed))
    assert min(placed) >= 0
    assert max(placed) <= 100
    assert _spread([5.0, 50], 10, 0, 100) == [5, 50]  # nothing moves that need not


def test_a_name_is_drawn_as_it_is_and_nobody_is_warned(tmp_path, recwarn):
    """Dollar signs would be formulas, and the font has no Chinese."""
    for target in (BytesIO(), tmp_path / "a.svg", tmp_path / "b.png"):
        with drawing(target, (4, 3), "$x_i$ 红色", "note", DARK) as figure:
            named_axes(figure.add_subplot(), "steps", "dB").plot([1, 2])
        if isinstance(target, BytesIO):
            assert "$x_i$ 红色" in target.getvalue().decode()
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with Image.open(tmp_path / "b.png") as image:
        assert image.getpixel((0, image.height - 1))[:3] == tuple(
            round(255 * it) for it in to_rgb(DARK.ground)
        )
    assert not recwarn.list
    assert [power_of_ten(it) for it in (1e-3, 1, 100, -1e9, 0, 20)] == [
        "10⁻³", "1", "10²", "−10⁹", "0", "20",
    ]  # fmt: skip
