"""Trace: how the features of a plain run move, seen from inside.

What a linear forecast can do is decided by the inner products of a trajectory's features: how near
each lies to the span of those before it, and how many directions they take in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forecastcache._moved import name_new_places
from forecastcache._util.nests import tensors_in
from forecastcache.engine.attach import denoisers
from forecastcache.errors import OptionError
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

name_new_places(__name__)

ORDERS = 5  # features and their first four differences
NEWEST = 3  # features, of a short history
RIDGE = 1e-10  # of the mean square


@dataclass(frozen=True)
class Trace:
    """What one plain run showed of its features e_0 to e_{T-1}.

    Attributes:
        paths: two principal components of the features and of their 1st to 4th differences, each
            `(T - order, 2)`; as in TaylorSeer (2503.06923), Figures 1 and 8 to 12.
        explained: shares of the variance that the two components hold, for each path.
        fidelity: cosine between each feature and its projection on all before it, `(T - 1,)`; L2P
            (2604.26365), Observation 2.
        fidelity_newest: cosine between each feature and its projection on the newest three before
            it, `(T - 1,)`.
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


def trace_features(pipe: Any, request: Request, module: str | None = None) -> Trace:
    """Sample plainly and look at the features of all samples together.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: the samples to ask the pipeline for.
        module: whose outputs are the features, by its path in the model, such as
            `transformer_blocks.2.attn`; None for the guided outputs of the whole model. Where it
            returns several tensors the largest is taken, where guidance calls it several times a
            step the first call.

    Raises:
        OptionError: the run is too short to have fourth differences, or has no such module.
    """
    (model, *_), _ = denoisers(pipe)
    with trajectory_of(pipe) as trajectory, _outputs(model, module) as outputs:
        request.run(pipe)
    steps = len(trajectory.guided)
    if steps <= ORDERS:
        raise OptionError(f"{steps} steps are too few to trace: ask for {ORDERS + 1}")
    if module is None:
        features = trajectory.guided
    elif outputs and len(outputs) % steps == 0:
        features = outputs[:: len(outputs) // steps]
    else:
        raise OptionError(
            f"{module} is called {len(outputs)} times in {steps} steps: give a module that runs "
            "in every step"
        )
    return trace_of(torch.stack([it.flatten() for it in features]).double().numpy())


@contextmanager
def _outputs(model: nn.Module, module: str | None) -> Iterator[list[Tensor]]:
    """The outputs of one of a model's modules, call by call."""
    seen: list[Tensor] = []
    if module is None:
        yield seen
        return
    try:
        watched = model.get_submodule(module)
    except AttributeError as error:
        raise OptionError(
            f"{type(model).__name__} has no module {module!r} ({error}): it begins with one of "
            f"{', '.join(name for name, _ in model.named_children())}"
        ) from None

    def see(_: nn.Module, given: Any, output: Any) -> None:
        seen.append(max(tensors_in(output), key=Tensor.numel).detach().float().cpu())

    hook = watched.register_forward_hook(see)
    try:
        yield seen
    finally:
        hook.remove()


def trace_of(features: np.ndarray) -> Trace:
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
    """|P e_s| / |e_s| with P the projection on the `newest` features before s."""
    found = []
    for step in range(1, len(gram)):
        seen = slice(max(0, step - newest), step)
        normal, aim = gram[seen, seen], gram[seen, step]
        regular = normal + RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
        projected = aim @ np.linalg.solve(regular, aim)
        found.append(np.sqrt(np.clip(projected / gram[step, step], 0, 1)))
    return np.array(found)
