"""A part of the elements tells what all of them tell."""

from __future__ import annotations

import pytest
import torch

from forecastcache.calibration.recording import record
from forecastcache.calibration.rolling import Rolls
from forecastcache.calibration.subset import Subset

from .toys import Toy, curved, starts


def test_the_same_elements_are_looked_at_every_time():
    batch = torch.arange(24.0).reshape(2, 3, 4)
    looked = Subset(5).of(batch)
    assert looked.shape == (2, 5)
    torch.testing.assert_close(looked[1] - looked[0], torch.full((5,), 12.0))
    torch.testing.assert_close(Subset(5).of(batch + 1), looked + 1)
    torch.testing.assert_close(Subset(12).of(batch), batch.flatten(1))


def test_what_is_kept_is_no_view_of_what_the_pipeline_goes_on_with():
    batch = torch.zeros(2, 3)
    looked = Subset().of(batch)
    batch += 1
    assert looked.eq(0).all()


@pytest.mark.parametrize("computed", [(0, 4, 8), (0, 3, 6, 9)])
def test_rows_of_a_tenth_of_the_elements_end_as_near(computed):
    pipe, start = Toy(curved), starts(4, size=4000)

    def psnr(elements: int) -> float:
        subset = Subset(elements)
        recording, plain = record(pipe, lambda: pipe(start), 4, subset)
        rows = Rolls(pipe, lambda: pipe(start), plain.samples, recording.motion, subset=subset)
        _, whole = record(pipe, lambda: pipe(start), 4)
        judge = Rolls(pipe, lambda: pipe(start), whole.samples, recording.motion)
        final = judge.replayed(computed, rows.fitted(computed).rows).final
        return -10 * judge.missed(final).log10().mean().item()

    assert psnr(400) == pytest.approx(psnr(4000), abs=0.1)
