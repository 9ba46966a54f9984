"""cache-dit's PSNR is not PSNR: by default it squares differences of uint8, which wrap at 256."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from forecastcache.metrics.psnr import psnr


@pytest.fixture(scope="module")
def theirs():
    """`calculate_psnr` of the cache-dit that is installed.

    It is compiled from its source: the module around it imports OpenCV, which nothing here needs.
    """
    found = importlib.util.find_spec("cache_dit")
    if found is None:
        pytest.skip("cache-dit is not installed")
    (folder,) = found.submodule_search_locations
    tree = ast.parse((Path(folder) / "metrics" / "metrics.py").read_text(encoding="utf-8"))
    (function,) = (
        it for it in tree.body if isinstance(it, ast.FunctionDef) and it.name == "calculate_psnr"
    )
    names = {"np": np}
    exec(compile(ast.Module([function], []), "cache_dit.metrics", "exec"), names)
    return names["calculate_psnr"]


def ours(a, b):
    return psnr(*(torch.from_numpy(it).permute(2, 0, 1)[None].float() / 255 for it in (a, b)))


def grey_with_noise(deviation):
    noise = np.random.default_rng(0).normal(0, deviation, (64, 64, 3))
    grey = np.full((64, 64, 3), 128, np.uint8)
    return grey, (grey + noise).clip(0, 255).round().astype(np.uint8)


def test_unrelated_pictures_have_28_db_there_and_8_here(theirs):
    unrelated = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    assert theirs(*unrelated) == pytest.approx(27.9, abs=0.05)
    # Two independent uniform values differ by 1/6 in mean square: 10 lg 6 = 7.8 dB.
    assert ours(*unrelated) == pytest.approx(7.8, abs=0.2)


@pytest.mark.parametrize(
    ("deviation", "there", "here"), [(8, 31.2, 30.1), (16, 29.1, 24.1), (32, 28.2, 18.0)]
)
def test_noise_of_more_than_a_few_levels_is_flattered(theirs, deviation, there, here):
    pictures = grey_with_noise(deviation)
    assert theirs(*pictures) == pytest.approx(there, abs=0.1)
    assert ours(*pictures) == pytest.approx(here, abs=0.1)


def test_pictures_within_15_levels_have_the_same_in_both(theirs):
    pictures = grey_with_noise(2)
    assert theirs(*pictures) == pytest.approx(ours(*pictures), abs=1e-3)


def test_a_picture_that_is_16_levels_off_everywhere_counts_as_identical_there(theirs):
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert theirs(grey, grey + 16) == float("inf")
    assert ours(grey, grey + 16) == pytest.approx(24.05, abs=0.01)
