"""Refined rows: nearer than those fitted one by one, and trusted by samples left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.distributed import Shard
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import Fit
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.refine import (
    STEP,
    Freedom,
    Linearised,
    dampings,
    freedoms,
    least_squares,
    most_evaluations,
    shifted,
)

from .toys import STEPS, Toy, curved, rolls_of, starts

COMPUTED = (0, 4, 7, 10)
NUMBERS = torch.arange(16)


@pytest.fixture(scope="module")
def rolled():
    recording, rolls = rolls_of(Toy(curved), starts(16))
    return recording, rolls, rolls.fitted(COMPUTED)


def test_a_freedom_shifts_one_landing_by_its_direction(rolled):
    """The samples land elsewhere at the next computed step, and nowhere before it."""
    _, rolls, base = rolled
    for way in freedoms(rolls, base)[:3]:
        moved = rolls.replayed(COMPUTED, shifted(base.rows, [way], [STEP]))
        begin, end = (*COMPUTED, STEPS)[way.gap : way.gap + 2]
        for step in range(begin + 1):
            torch.testing.assert_close(moved.samples[step], base.samples[step])
        landed = (moved.samples[end] - base.samples[end]).double()
        assert landed.square().mean().sqrt() == pytest.approx(STEP, rel=1e-3)


def test_the_freedoms_of_a_gap_are_uncorrelated(rolled):
    _, rolls, base = rolled
    last = [way for way in freedoms(rolls, base) if way.gap == 3]
    known = torch.stack([each.flatten() for each in base.guided]).double().numpy()
    directions = np.stack([way.weights for way in last]) @ known
    gram = directions @ directions.T
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(last)), atol=1e-4)


def test_a_step_is_foreseen_by_the_linear_model(rolled):
    _, rolls, base = rolled
    line = Linearised(rolls, base)
    normals = line.normals(base.final, NUMBERS)
    by = least_squares(normals.sum(0), 1.0, line.ways)
    after = rolls.replayed(COMPUTED, shifted(base.rows, line.ways, by.tolist()))
    whole = normals.sum(0)
    step = np.append(by, 1.0)
    told = step @ whole @ step / whole[-1, -1]
    ratio = rolls.missed(after.final) / rolls.missed(base.final)
    assert ratio.mean().item() == pytest.approx(told, rel=0.05)
    assert told < 1


def test_nothing_is_changed_where_nothing_is_foreseen():
    noise = np.random.default_rng(0).normal(size=(8, 30, 5))
    noise[:, :, -1] += noise[:, :, :1].sum(2) * np.array([[1], [-1]] * 4)  # each group its own way
    normals = np.einsum("nei,nej->nij", noise, noise)
    ways = [Freedom(0, (1,), np.ones(5)) for _ in range(4)]
    assert dampings(normals, ways) == []
    assert dampings(normals[:1], ways) == []  # nobody can be left out


def test_the_network_runs_after_the_changed_landing_alone(rolled):
    _, rolls, base = rolled
    before = rolls.evaluations
    Linearised(rolls, base)
    looked = (rolls.evaluations - before) // 16
    assert looked == 1 * 3 + 2 * 2 + 3 * 1
    assert looked == most_evaluations(len(COMPUTED), STEPS)


def test_parts_come_to_the_same(rolled):
    _, rolls, base = rolled
    _, parted = rolls_of(Toy(curved), starts(16), shard=Shard((5, 8, 3), 3))
    whole, parts = (
        Linearised(each, each.fitted(COMPUTED)).normals(base.final, NUMBERS)
        for each in (rolls, parted)
    )
    np.testing.assert_allclose(parts, whole, rtol=2e-2, atol=1e-3 * np.abs(whole).max())


@pytest.mark.parametrize("computed", [COMPUTED, (0, 3, 6, 9), (0, 5, 9)])
def test_a_refined_fit_is_nearer_also_on_prompts_that_were_not_seen(computed):
    recording, rolls = rolls_of(Toy(curved), starts(16, seed=2, size=60))
    fitter = SizeFitter(rolls, recording, NUMBERS, OutputCache())
    plainly, refined = (fitter.fit(computed, it, lambda *_: None) for it in (False, True))
    assert refined.fitted_latent_psnr_db > plainly.fitted_latent_psnr_db + 0.1
    assert refined.latent_psnr_db > plainly.latent_psnr_db
    others = starts(40, seed=1, size=60)
    aim = Toy(curved)(others).images

    def decibels(fit: Fit) -> float:
        pipe = Toy(curved)
        with fc.attach(pipe, fc.Listed(computed), fc.Learned(fit.rows)):
            errors = (pipe(others).images - aim).square().mean(1)
        return -10 * errors.log10().mean().item()

    assert decibels(refined) > decibels(plainly) + 0.1
    assert plainly.evaluations == 16 * 5 * len(computed)


def test_what_the_sampler_forgets_is_not_shifted(rolled):
    """Steps whose outputs leave nothing at the end would be shifted beyond all sense."""
    _, rolls, base = rolled
    forgotten = replace(rolls.motion, move=1e-9 * rolls.motion.move)
    assert freedoms(rolls, base)
    assert freedoms(replace(rolls, motion=forgotten), base) == []
