"""Scores of samples: are they what was asked for, and how far are they from real ones?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import data
from forecastcache.zoo.pictures import set_in_motion, subjects_of

CLIPS = 512  # real ones that samples are held against


class Scores(NamedTuple):
    """Two scores of a set of samples.

    Attributes:
        accuracy: share of which the judge reads all that was asked for.
        frechet: distance of their features from those of real pictures. It falls with the number
            of samples, so compare sets of one size.
    """

    accuracy: float
    frechet: float


class Reader(Protocol):
    """A judge of samples.

    Attributes:
        size: width of the pictures that it reads, in pixels.
        asks: what it reads off them, in words.
    """

    size: int
    asks: str

    def features(self, pictures: Tensor) -> Tensor:
        """What a Fréchet distance is taken of, `(n, d)`, of pictures or clips in [-1, 1]."""

    def verdict(self, features: Tensor) -> Any:
        """What is on them; its `agrees` says where that is what was asked for."""

    def accuracy(self) -> str:
        """How well it reads, in words for a model card."""


class Scorer:
    """Scores sets of samples that were asked for the same.

    Args:
        judge: judge that reads them.
        asked: what it must read, of its kind of verdict.
        real: pictures or clips in [-1, 1] that nothing was trained on; None for a judge that
            carries their features as `real`.
    """

    def __init__(self, judge: Any, asked: Any, real: Tensor | None) -> None:
        self._judge: Reader = judge
        self._asked = asked
        self._real: Tensor = judge.real if real is None else judge.features(real)

    def legible(self, samples: Tensor) -> bool:
        """Whether samples are of the judge's size, and enough to have a distribution."""
        return len(samples) >= 2 and samples.shape[-2:] == (self._judge.size, self._judge.size)

    def score(self, samples: Tensor) -> Scores:
        """The scores of `samples`.

        Args:
            samples: at least two pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)`, in
                [0, 1].
        """
        features = self._judge.features(samples * 2 - 1)
        right = self._judge.verdict(features).agrees(self._asked)
        return Scores(right.float().mean().item(), frechet_distance(features, self._real))


def scorer_of(name: str, arguments: Mapping[str, Any]) -> Scorer:
    """The scorer of what the pipeline of a zoo model is asked for by these arguments."""
    recipe = zoo.recipe(name)
    asked = recipe.asked(arguments.get("class_labels", arguments.get("prompt")))
    return Scorer(recipe.reader(), asked, recipe.real())


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Squared Fréchet distance of two sets `(n, d)`, each taken as a Gaussian.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as in Heusel et al., 1706.08500.
    """
    (mean, covariance), (its_mean, its_covariance) = _moments(features), _moments(reference)
    root = _root(covariance)
    # The eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2).
    shared = torch.linalg.eigvalsh(root @ its_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (mean - its_mean).square().sum()
    return float(apart + covariance.trace() + its_covariance.trace() - 2 * shared)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    exact = features.double()
    return exact.mean(0), torch.cov(exact.T)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def real_pictures() -> Tensor:
    """Held-out scans in the palettes of held-out captions, `(n, 3, 32, 32)` in [-1, 1]."""
    return subjects_of(data.scans("held-out"), "held-out").draw()


def real_clips() -> Tensor:
    """The same in motion, `(n, frames, 3, 32, 32)`."""
    subjects = subjects_of(data.scans("held-out"), "held-out")
    return set_in_motion(subjects, CLIPS, seed=0).draw().transpose(1, 2)
