"""A training step on a GPU as one CUDA graph: launched at once, and not kernel by kernel.

A small transformer's kernels are shorter than their launches. Reference: Ng et al., Accelerating
PyTorch with CUDA Graphs (pytorch.org, 2021).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

LOG = logging.getLogger("forecastcache")
FIRST = 3  # steps before it is captured, in which libraries set themselves up


def moved(batch: Any, device: torch.device) -> Any:
    """Nested tuples, lists and dicts, their tensors on another device."""

    def move(leaf: Any) -> Any:
        return leaf.to(device, non_blocking=True) if isinstance(leaf, Tensor) else leaf

    return pytree.tree_map(move, batch)


class Captured:
    """Gradients of a loss, in one launch from the fourth call on.

    Args:
        gradients: function of a batch, that leaves new gradients behind and returns the loss; it
            must neither wait for the GPU nor decide by what is on it.
    """

    def __init__(self, gradients: Callable[[Any], Tensor]) -> None:
        self._gradients = gradients
        self._left, self._stream = FIRST, torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Any) -> Tensor:
        """The loss of a batch whose shapes are those of every other."""
        if self._graph is not None:
            for place, leaf in zip(self._places, _tensors(batch)):
                place.copy_(leaf)
            self._graph.replay()
            return self._loss
        if self._left == 0:
            self._capture(batch)
            return self(batch)
        self._left -= 1
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            loss = self._gradients(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return loss

    def _capture(self, batch: Any) -> None:
        kept = pytree.tree_map(lambda it: it.clone() if isinstance(it, Tensor) else it, batch)
        self._places = _tensors(kept)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            self._loss = self._gradients(kept)
        self._graph = graph
        LOG.info("steps are launched as one CUDA graph from here on")


def _tensors(batch: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor)]
