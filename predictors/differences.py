"""What a row does: its differences, its noise gain, the polynomials it reproduces.

A row w over newest-first features f is omega = P^T w over their backward differences d = P f,
with P_{k,m} = (-1)^m C(k, m), since P is its own inverse. P's condition number is 4e13 at size 25,
so everything here is exact: floats are taken as the binary fractions that they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb, prod
from typing import TypeAlias

import numpy as np

from forecastcache.errors import HistoryError

Number: TypeAlias = int | float | Fraction
Fractions: TypeAlias = tuple[Fraction, ...]

ROUNDING = 1e-9  # of a moment's largest term: what rows of floats leave of an exact zero


def pascal(size: int) -> list[list[int]]:
    """P_{k,m} = (-1)^m C(k, m): newest-first features to backward differences, and back."""
    return [[(-1) ** m * comb(k, m) for m in range(size)] for k in range(size)]


def to_differences(row: Sequence[Number]) -> Fractions:
    """The row, newest first, as coefficients of the backward differences: omega = P^T w.

    For features on even steps; see `to_divided_differences` for others.
    """
    weights, matrix = _exact(row), pascal(len(row))
    return tuple(
        sum((matrix[k][m] * w for k, w in enumerate(weights)), Fraction(0))
        for m in range(len(weights))
    )


def from_differences(coefficients: Sequence[Number]) -> Fractions:
    """The row, newest first, of coefficients of the backward differences: w = P^T omega."""
    return to_differences(coefficients)


def to_divided_differences(row: Sequence[Number], nodes: Sequence[Number]) -> Fractions:
    """The row as coefficients of Newton's divided differences f[x_0], f[x_0, x_1], ...

    Args:
        row: one weight a node, in the order of the nodes.
        nodes: any distinct numbers.

    Raises:
        HistoryError: two nodes are equal.
    """
    weights, x = _exact(row), _distinct(nodes)
    return tuple(
        sum((w * prod(x_j - x_l for x_l in x[:i]) for w, x_j in zip(weights, x)), Fraction(0))
        for i in range(len(x))
    )


def from_divided_differences(coefficients: Sequence[Number], nodes: Sequence[Number]) -> Fractions:
    """The row of coefficients of Newton's divided differences.

    Raises:
        HistoryError: two nodes are equal.
    """
    omega, x = _exact(coefficients), _distinct(nodes)

    def weight(j: int) -> Fraction:
        gaps = [x[j] - x_l for x_l in x]
        return sum(
            (omega[i] / prod(gaps[:j] + gaps[j + 1 : i + 1]) for i in range(j, len(x))),
            Fraction(0),
        )

    return tuple(map(weight, range(len(x))))


def noise_gain(row: Sequence[float] | np.ndarray) -> float:
    """Sum |w|: how much larger than its features' errors a forecast's error can be."""
    return float(np.abs(row).sum())


def polynomial_degree(row: Sequence[Number], nodes: Sequence[Number]) -> int:
    """The degree up to which a row reproduces polynomials; -1 if it does not keep constants.

    Args:
        row: one weight a node.
        nodes: coordinates of the features, less that of the target, which lies at 0.
    """
    weights, x = _exact(row), _exact(nodes)
    rounding = Fraction(ROUNDING) if any(isinstance(w, float) for w in row) else Fraction(0)
    for degree in range(len(weights) + 1):
        terms = [w * node**degree for w, node in zip(weights, x, strict=True)]
        error = sum(terms, Fraction(0)) - (degree == 0)
        if abs(error) > rounding * max(map(abs, terms)):
            return degree - 1
    return len(weights)


def derivative_weights(nodes: Sequence[float] | np.ndarray, at: float) -> np.ndarray:
    """The row that gives the slope at `at` of the polynomial through the nodes' features."""
    x = np.asarray(nodes, dtype=np.float64) - at
    scale = np.abs(x).max() or 1.0
    powers = np.vander(x / scale, increasing=True).T
    slope = np.zeros(len(x))
    slope[1] = 1 / scale
    return np.linalg.solve(powers, slope)


@lru_cache(maxsize=256)  # asked for at every forecast step, new at computed ones
def backward_differences(steps: tuple[int, ...], order: int) -> np.ndarray:
    """Rows over the features, oldest first, of TaylorSeer's derivatives d_0 ... d_order.

    d_0 = F; d_{i+1} = (d_i - d_i of the computed step before) / gap, where gap is the distance
    of those two steps for every i, as in the reference code. Stops at the differences there are.

    Returns:
        Array of shape `(differences, steps)`, shared by all who ask: it must not be written to.
    """
    gaps = np.diff(steps).astype(np.float64)
    differences = np.eye(len(steps))
    rows = [differences[-1]]
    for i in range(1, min(order, len(gaps)) + 1):
        differences = np.diff(differences, axis=0) / gaps[i - 1 :, None]
        rows.append(differences[-1])
    return np.stack(rows)


def _exact(numbers: Sequence[Number]) -> list[Fraction]:
    return [Fraction(number) for number in numbers]


def _distinct(nodes: Sequence[Number]) -> list[Fraction]:
    exact = _exact(nodes)
    if len(set(exact)) < len(exact):
        raise HistoryError(
            f"the nodes are {', '.join(map(str, nodes))}, of which two are equal: no difference "
            "of them can be divided; give distinct ones"
        )
    return exact
