"""Plausible: what numbers a calibration can hold at all, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forecastcache.calibration.fits import Fit
from forecastcache.calibration.sampler import FIRST_ORDER, REGRESSORS

ARRAYS = ("times", "gram", "branches", "products")
NOT_IN_ALL = ("displacements",)
# Regressors of a step and where it leads to; files of older versions have those of first order.
SIZES = (len(REGRESSORS) + 1, FIRST_ORDER + 1)
# Rounding of sums in double precision leaves some 1e-15 of a matrix's largest number.
TOLERANCE = 1e-9


def array_complaint(name: str, array: np.ndarray, steps: int) -> str | None:
    """What is wrong with an array of a trajectory of so many steps; None if nothing is."""
    regressors = next((size for size in SIZES if array.shape[-1:] == (size,)), SIZES[0])
    shape = {
        "times": (steps,),
        "gram": (steps, steps),
        "branches": (*array.shape[:1], steps, steps),
    }.get(name, (steps, regressors, regressors))
    if not array.size or array.shape != shape:
        return f"has the shape {array.shape}, not {shape}"
    if array.dtype != np.float64:
        return f"is in {array.dtype}, not float64"
    if not np.isfinite(array).all():
        return "holds NaN or infinity"
    return _times_complaint(array) if name == "times" else _inner_products_complaint(array)


def _times_complaint(times: np.ndarray) -> str | None:
    moves = np.diff(times)
    if (moves < 0).any() and (moves > 0).any():
        return "neither rises nor falls from step to step"
    return None


def _inner_products_complaint(array: np.ndarray) -> str | None:
    """Inner products of vectors with each other are symmetric and positive semidefinite."""
    for matrix in array.reshape(-1, *array.shape[-2:]):
        largest = np.abs(matrix).max()
        if (np.abs(matrix - matrix.T) > TOLERANCE * largest).any():
            return "is not symmetric"
        if np.linalg.eigvalsh(matrix / max(largest, np.finfo(float).tiny))[0] < -TOLERANCE * len(
            matrix
        ):
            return "is not positive semidefinite"
    return None


def fits_complaint(fits: Sequence[Fit], steps: int) -> str | None:
    """What is wrong with fits of trajectories of so many steps; None if nothing is."""
    for number, fit in enumerate(fits):
        computed = fit.computed
        if computed[:1] != (0,) or list(computed) != sorted({*computed} & {*range(steps)}):
            return f"fit {number} computes {' '.join(map(str, computed))} of {steps} steps"
        forecast = [step for step in range(steps) if step not in computed]
        if [row.target for row in fit.rows] != forecast:
            return f"fit {number} has not one row for each forecast step"
        if not all({*row.computed} <= {*computed} for row in fit.rows):
            return f"fit {number} has a row that reads a step which is not computed"
        if len(fit.response) != len(computed):
            return f"fit {number} has not one response for each computed step"
    return None


def complaint(
    arrays: Mapping[str, np.ndarray], fits: Sequence[Sequence[Fit]], asked: int
) -> str | None:
    """What is wrong with the sizes of a file; None if nothing is.

    Args:
        arrays: arrays of all sizes, such as `0.gram` for the first.
        fits: fits of each size.
        asked: number of steps that were asked for.
    """
    for number, each in enumerate(fits):
        held = {name: arrays.get(f"{number}.{name}") for name in (*ARRAYS, *NOT_IN_ALL)}
        lacking = [f"{number}.{name}" for name in ARRAYS if held[name] is None]
        if lacking:
            return f"it lacks {', '.join(lacking)}"
        # Some schedulers, such as PNDM's, make more steps than they are asked for.
        steps = max(asked, arrays[f"{number}.times"].size)
        for name, array in held.items():
            if array is not None and (wrong := array_complaint(name, array, steps)):
                return f"{number}.{name} {wrong}"
        if wrong := fits_complaint(each, steps):
            return f"size {number}: {wrong}"
    return None
