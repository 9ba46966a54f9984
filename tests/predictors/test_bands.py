from __future__ import annotations

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import AttachError, HistoryError, OptionError
from forecastcache.predictors.bands import low_pass

from ..conftest import make_unconditional, sample
from .trajectories import steps_at


def history_of_images(depth, count, shape, grid=None):
    generator = torch.Generator().manual_seed(0)
    history = fc.History(depth, grid=grid)
    for step in steps_at(range(0, 5 * count, 5)):
        history.observe(step, torch.randn(shape, generator=generator, dtype=torch.float64))
    return history


(TARGET,) = steps_at([13])


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    cutoff=st.floats(0.01, 0.99),
    seed=st.just(0),
)
def test_low_pass_keeps_the_lowest_cosines(height, width, cutoff, seed):
    image = torch.randn(
        2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    spectrum = scipy.fft.dctn(image.numpy(), axes=(-2, -1), norm="ortho")
    rows, columns = (torch.arange(n) >= cutoff * n for n in (height, width))
    spectrum[..., rows.numpy(), :] = 0
    spectrum[..., columns.numpy()] = 0
    expected = torch.from_numpy(scipy.fft.idctn(spectrum, axes=(-2, -1), norm="ortho"))
    low = low_pass(image, None, cutoff)
    torch.testing.assert_close(low, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(low_pass(low, None, cutoff), low, rtol=0, atol=1e-12)


def test_tokens_are_filtered_as_the_image_that_they_lay_out():
    images = torch.randn(2, 5, 4, 6)
    tokens = images.flatten(2).transpose(1, 2)
    expected = low_pass(images, None, 0.4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(low_pass(tokens, (4, 6), 0.4), expected)


def test_frames_are_filtered_one_by_one():
    video = torch.randn(2, 5, 3, 4, 6)  # batch, channels, frames, height, width
    tokens = video.flatten(2).transpose(1, 2)
    expected = torch.stack([low_pass(frame, None, 0.4) for frame in video.unbind(2)], 2)
    torch.testing.assert_close(low_pass(video, None, 0.4), expected)
    torch.testing.assert_close(
        low_pass(tokens, (3, 4, 6), 0.4), expected.flatten(2).transpose(1, 2)
    )


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 48, 3)])
def test_one_predictor_for_both_bands_is_that_predictor(shape):
    history = history_of_images(3, 3, shape, grid=(8, 6))
    expected = fc.Newton(2).forecast(history, TARGET)
    bands = fc.Bands(fc.Newton(2), fc.Newton(2), 0.3).forecast(history, TARGET)
    torch.testing.assert_close(bands, expected, rtol=0, atol=1e-12)


def test_each_band_is_forecast_by_its_own():
    history = history_of_images(3, 3, (2, 3, 8, 6))
    low, high = fc.Reuse(), fc.Newton(2)
    bands = fc.Bands(low, high, 0.3).forecast(history, TARGET)
    calm, lively = low.forecast(history, TARGET), high.forecast(history, TARGET)
    torch.testing.assert_close(low_pass(bands, None, 0.3), low_pass(calm, None, 0.3))
    torch.testing.assert_close(
        bands - low_pass(bands, None, 0.3), lively - low_pass(lively, None, 0.3)
    )


def test_it_keeps_what_the_deeper_needs_and_hosts_any_predictor():
    bands = fc.Bands("exponential", "taylor:order=3")
    assert (bands.depth, bands.minimum, bands.needs) == (4, 1, {"grid"})
    history = history_of_images(4, 4, (2, 3, 8, 6))
    (target,) = steps_at([18])
    assert bands.forecast(history, target).isfinite().all()


@pytest.mark.parametrize("site", ["output", "hidden", "block", "module"])
def test_it_works_wherever_the_adapter_tells_the_grid(pipe, site):
    plain = sample(pipe)
    with fc.attach(pipe, fc.Every(3, first=2), fc.Bands("reuse", "hermite"), site=site) as session:
        forecast = sample(pipe)
    report = session.report()
    assert len(report.computed) < report.steps
    assert report.cache_bytes == report.cache_bytes_planned
    assert not torch.equal(forecast, plain)


def test_at_output_images_need_no_grid():
    pipe = make_unconditional()
    with fc.attach(pipe, fc.Every(2), fc.Bands("reuse", "taylor")) as session:
        pipe(num_inference_steps=6, output_type="np")
    assert session.report().computed == (0, 2, 4) or len(session.report().computed) < 6


def test_where_no_adapter_tells_the_grid_it_is_refused_at_attach(pipe, monkeypatch):
    nameless = fc.Adapter(
        name="nameless", models=("diffusers.DiTTransformer2DModel",), tail="norm_out"
    )
    monkeypatch.setattr("forecastcache.engine.session.adapter_for", lambda model: nameless)
    with pytest.raises(AttachError, match="needs the layout of the tokens.*'nameless'"):
        fc.attach(pipe, fc.Every(2), fc.Bands("reuse", "taylor"), site="hidden")
    assert "forward" not in pipe.transformer.__dict__


def test_what_is_no_image_is_refused_by_its_shape():
    history = history_of_images(1, 1, (2, 7, 3), grid=(2, 3))
    with pytest.raises(HistoryError, match=r"\(2, 7, 3\) is no image.*grid \(2, 3\)"):
        fc.Bands("reuse", "reuse").forecast(history, TARGET)


@pytest.mark.parametrize("cutoff", [0, 1, -0.5, 1.5, float("nan")])
def test_a_cutoff_outside_0_to_1_is_refused(cutoff):
    with pytest.raises(OptionError, match="cutoff="):
        fc.Bands("reuse", "reuse", cutoff)
