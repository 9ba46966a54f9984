"""Pictures of samples and of what a calibration offers."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import forecastcache as fc
from forecastcache.calibration.offers import Offer
from forecastcache.evaluation import plan_charts
from forecastcache.evaluation.captions import Caption
from forecastcache.evaluation.contact import wrapped
from forecastcache.evaluation.pictures import common_gain, contact_sheet, pieces, save_strip
from forecastcache.evaluation.style import DARK, LIGHT
from forecastcache.evaluation.trace import trace_of
from forecastcache.evaluation.trace_charts import projections, trajectories
from forecastcache.metrics.psnr import psnr, psnr_of_each

OFFERS = (
    Offer((0, 5), "simulated", foretold_latent_psnr_db=20.0, band_db=(17.0, 23.0)),
    Offer((0, 3, 6), "closed", latent_psnr_db=35.0),
    Offer((0, 2, 4, 6), "simulated", foretold_latent_psnr_db=40.0, interpolated=True),
    Offer((0, 1, 3, 5, 7), "closed", latent_psnr_db=50.0),
    Offer.exact(9),
)


@pytest.mark.parametrize("clips", [False, True])
def test_white_samples_stand_in_a_frame_with_their_captions(tmp_path, clips):
    plain = torch.ones(2, *([3] if clips else []), 3, 8, 8)
    captions = [Caption("a white " * 20 + "cat", 1), Caption("$x$ 猫", 2)]
    with_words, without = tmp_path / "with.png", tmp_path / "without.png"
    contact_sheet(plain, plain, "title", "note", with_words, captions)
    contact_sheet(plain, plain, "title", "note", without)
    with Image.open(without) as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    first = pixels[: len(pixels) // 3, pixels.shape[1] // 2 :]  # right of the names, plain row
    assert ((first > 60) & (first < 200)).sum(axis=1).max() > 100  # a line of the frame
    with Image.open(with_words) as image:
        assert image.height > pixels.shape[0]


def test_each_sample_has_the_figure_that_all_have_together():
    generator = torch.Generator().manual_seed(0)
    plain = torch.rand(3, 3, 8, 8, generator=generator)
    made = plain.clone()
    made[:2] += torch.tensor([0.1, 0.01])[:, None, None, None]
    each = psnr_of_each(made, plain)
    assert each == pytest.approx([20, 40, None], abs=1e-4)  # float32
    assert psnr(made, plain) == pytest.approx(30, abs=1e-4)
    assert common_gain([made], plain) == 8  # 0.1 becomes 0.8
    assert common_gain([plain], plain) == 1


def test_a_strip_comes_apart_again(tmp_path):
    samples = torch.rand(3, 3, 8, 12)
    save_strip(samples, tmp_path / "strip.png")
    found = pieces(tmp_path / "strip.png", 3)
    assert torch.allclose(found, samples, atol=0.51 / 255)  # 8 bits


def test_rolled_points_are_apart_from_foretold_ones():
    found = {kind: plan_charts._points(OFFERS, kind) for kind in plan_charts.KINDS}
    assert found == {
        "rolled on held-out samples": [(3, 35.0, (35.0, 35.0)), (5, 50.0, (50.0, 50.0))],
        "foretold between rolled counts": [(4, 40.0, (40.0, 40.0))],
        "foretold": [(2, 20.0, (17.0, 23.0))],
    }
    drawn = BytesIO()
    plan_charts.frontier(OFFERS, 9, drawn, "zoo:dit-digits", DARK)
    svg = drawn.getvalue().decode()
    assert all(kind in svg for kind in found)
    assert "zoo:dit-digits, 9 steps" in svg
    plan_charts.frontier((), 9, BytesIO())


def test_rows_and_traces_are_drawn():
    steps = [fc.explain(fc.Taylor(2), [0, 3, 6][:count], 8) for count in (1, 2, 3)]
    for draw in (
        lambda target: plan_charts.row_map(steps, target, "note", LIGHT),
        lambda target: trajectories(trace_of(np.random.default_rng(0).random((9, 5))), target),
        lambda target: projections(trace_of(np.random.default_rng(0).random((9, 5))), target),
    ):
        drawn = BytesIO()
        draw(drawn)
        assert b"mathdefault" not in drawn.getvalue()
        assert drawn.getvalue().count(b"<text") > 10


def test_long_words_are_broken_and_long_texts_cut_off():
    assert wrapped("one two three", 7) == "one two\nthree"
    assert wrapped("x" * 50, 10, 2) == "x" * 10 + "\n" + "x" * 10 + "…"
    assert wrapped("", 10) == ""
