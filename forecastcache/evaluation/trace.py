"""Trace: how the outputs of a plain run move, seen from inside.

What a linear forecast can do is decided by the inner products of a trajectory's features: how near
each lies to the span of those before it, and how many directions they take in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from forecastcache.errors import OptionError
from forecastcache.sampling import Request
from forecastcache.track import tracked

ORDERS = 5  # features and their first four differences
NEWEST = 3  # features, of a short history
RIDGE = 1e-10  # of the mean square


@dataclass(frozen=True)
class Trace:
    """What one plain run showed of its guided outputs g_0 to g_{T-1}.

    Attributes:
        paths: two principal components of the outputs and of their 1st to 4th differences, each
            `(T - order, 2)`; as in TaylorSeer (2503.06923), Figures 1 and 8 to 12.
        explained: share of the variance that the two hold, of each.
        fidelity: cosine between each output and its projection on all before it, `(T - 1,)`; L2P
            (2604.26365), Observation 2.
        fidelity_newest: likewise, on the newest three before it.
        spectrum: eigenvalues of the Gram matrix, largest first, as parts of their sum, `(T,)`.
    """

    paths: tuple[np.ndarray, ...]
    explained: tuple[float, ...]
    fidelity: np.ndarray
    fidelity_newest: np.ndarray
    spectrum: np.ndarray

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "paths": [path.tolist() for path in self.paths],
            "explained": list(self.explained),
            "projection_fidelity": self.fidelity.tolist(),
            "projection_fidelity_newest_three": self.fidelity_newest.tolist(),
            "gram_spectrum": self.spectrum.tolist(),
        }


def trace(pipe: Any, request: Request) -> Trace:
    """Sample plainly and look at the guided outputs of all samples together.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for.

    Raises:
        OptionError: the run is too short to have fourth differences.
    """
    with tracked(pipe, None) as track:
        request.run(pipe)
    if len(track.guided) <= ORDERS:
        raise OptionError(f"{len(track.guided)} steps are too few to trace: ask for {ORDERS + 1}")
    return of_features(torch.stack([it.flatten() for it in track.guided]).double().numpy())


def of_features(features: np.ndarray) -> Trace:
    """The trace of features `(T, n)`."""
    paths, explained = zip(
        *(_two_components(np.diff(features, order, axis=0)) for order in range(ORDERS))
    )
    gram = features @ features.T
    spectrum = np.linalg.eigvalsh(gram)[::-1].clip(min=0)
    return Trace(
        tuple(paths),
        tuple(explained),
        _fidelity(gram, len(gram)),
        _fidelity(gram, NEWEST),
        spectrum / spectrum.sum(),
    )


def _two_components(features: np.ndarray) -> tuple[np.ndarray, float]:
    centred = features - features.mean(0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = values[::-1][:2].clip(min=0)
    path: np.ndarray = vectors[:, ::-1][:, :2] * np.sqrt(kept)
    return path, float(kept.sum() / max(values.sum(), 1e-300))


def _fidelity(gram: np.ndarray, newest: int) -> np.ndarray:
    """|P g_s| / |g_s| with P the projection on the `newest` features before s."""
    found = []
    for step in range(1, len(gram)):
        seen = slice(max(0, step - newest), step)
        normal, aim = gram[seen, seen], gram[seen, step]
        regular = normal + RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
        projected = aim @ np.linalg.solve(regular, aim)
        found.append(np.sqrt(np.clip(projected / gram[step, step], 0, 1)))
    return np.array(found)
