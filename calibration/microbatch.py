"""Micro-batches: a batch of any size through a network that sees a few samples at a time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter
from forecastcache.engine.interpose import interposed
from forecastcache.engine.patch import Forward


@contextmanager
def in_microbatches(
    models: Sequence[nn.Module], adapter: Adapter, sizes: Sequence[int]
) -> Iterator[None]:
    """Show `models` the samples of their batch part by part; nothing is left after.

    A batch that holds every sample several times, for the halves of guidance, is split so that
    each part has all that belongs to its samples: the network sees the same batches whoever else
    is calibrating.

    Args:
        models: models of one class, whose calls are split.
        adapter: record that serves them; it names the arguments that all samples share.
        sizes: number of samples in each part.
    """
    signature = inspect.signature(models[0].forward)

    def split(_: int, forward: Forward, args: Any, kwargs: Any) -> Any:
        given = dict(signature.bind(*args, **kwargs).arguments)
        count = next(len(x) for x in given.values() if isinstance(x, Tensor) and x.dim() > 1)
        where = _places(sizes, count)
        answers = [
            forward(
                **{
                    name: value if name in adapter.shared else _part(value, place, count)
                    for name, value in given.items()
                }
            )
            for place in where
        ]
        return _joined(answers, torch.cat(where).argsort())

    with interposed(models, split):
        yield


def _places(sizes: Sequence[int], count: int) -> list[Tensor]:
    """Rows of a batch of `count`, some multiple of all samples, that belong to each part."""
    rows = torch.arange(count).view(-1, sum(sizes))
    return [part.flatten() for part in rows.split(list(sizes), dim=1)]


def _part(value: Any, where: Tensor, count: int) -> Any:
    if isinstance(value, Tensor) and value.dim() > 0 and len(value) == count:
        return value[where.to(value.device)]
    if isinstance(value, list) and len(value) == count:
        return [value[row] for row in where.tolist()]
    return value


def _joined(answers: list[Any], order: Tensor) -> Any:
    leaves = [pytree.tree_flatten(answer)[0] for answer in answers]
    nest = pytree.tree_flatten(answers[0])[1]
    whole = [
        torch.cat(pieces)[order.to(pieces[0].device)]
        if isinstance(pieces[0], Tensor)
        else pieces[0]
        for pieces in zip(*leaves)
    ]
    return pytree.tree_unflatten(whole, nest)
