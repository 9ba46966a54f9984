"""Prony's method: exponentials that a sequence of vectors follows, from its inner products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TINY = 1e-14  # stands for a logarithm of 0 in a quotient


def continuation(
    products: np.ndarray, rank: int, u: float, growth: float, precision: float
) -> np.ndarray:
    """The row over the features, oldest first, `u` gaps past the newest of them.

    Args:
        products: inner products of the features' differences, newest first, `(n, n)`.
        rank: exponentials, at most n - 1.
        u: gaps from the newest feature to the target.
        growth: the largest |lambda| allowed.
        precision: eigenvalues of the normal matrix below this part of the largest are noise.
    """
    count = len(products)  # of differences, one fewer than features
    lags = _prony(products, rank, precision)
    carried: NDArray[np.complex128] = np.zeros(count, dtype=complex)
    if lags is None:
        carried[0] = u * (products[0, 0] > 0)
    else:
        values, modes = np.linalg.eig(_companion(lags))
        too_fast = np.abs(values) > growth
        values[too_fast] *= growth / np.abs(values[too_fast])
        sums = _geometric_sum(values, u)
        amplitudes = np.linalg.pinv(modes)
        carried[: len(lags)] = (modes[0] * sums) @ amplitudes
    to_features = np.eye(count + 1)[:-1] - np.eye(count + 1)[1:]
    newest_first: np.ndarray = np.eye(count + 1)[0] + carried.real @ to_features
    return newest_first[::-1]


def _prony(products: np.ndarray, rank: int, precision: float) -> np.ndarray | None:
    """Least squares for d_j = sum_i c_i d_{j+i} over every j; None if the differences vanish."""
    equations = range(len(products) - rank)
    normal = sum(products[j + 1 : j + 1 + rank, j + 1 : j + 1 + rank] for j in equations)
    wanted = sum(products[j + 1 : j + 1 + rank, j] for j in equations)
    if not np.trace(np.atleast_2d(normal)) > 0:
        return None
    lags: np.ndarray = np.linalg.pinv(normal, rcond=precision, hermitian=True) @ wanted
    return lags


def _companion(lags: np.ndarray) -> np.ndarray:
    """Takes (d_0, ..., d_{r-1}) one gap on."""
    matrix = np.eye(len(lags), k=-1)
    matrix[0] = lags
    return matrix


def _geometric_sum(values: np.ndarray, u: float) -> np.ndarray:
    """The sum lambda + ... + lambda^u, continued to real u: u at 1, 0 at 0."""
    logs = np.log(np.where(values == 0, 1, values).astype(complex))
    logs = np.where(np.abs(logs) < TINY, TINY, logs)
    sums: np.ndarray = np.exp(logs) * np.expm1(u * logs) / np.expm1(logs)
    sums[values == 0] = 0
    return sums
