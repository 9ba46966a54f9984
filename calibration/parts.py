"""Parts: a batch of any size through a network that sees a few samples at a time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter
from forecastcache.calibration.standing_in import standing_in


@contextmanager
def in_parts(model: nn.Module, adapter: Adapter, size: int) -> Iterator[None]:
    """Let `model` see at most `size` samples at once, whatever its batch; nothing is left after.

    Args:
        model: whose calls are split.
        adapter: that serves it; names the arguments that all samples share.
        size: samples at a time.
    """
    forward = model.forward
    signature = inspect.signature(forward)

    def split(*args: Any, **kwargs: Any) -> Any:
        given = dict(signature.bind(*args, **kwargs).arguments)
        count = next(len(x) for x in given.values() if isinstance(x, Tensor) and x.dim() > 1)
        if count <= size:
            return forward(*args, **kwargs)
        answers = [
            forward(
                **{
                    name: value
                    if name in adapter.shared
                    else _part(value, slice(start, start + size), count)
                    for name, value in given.items()
                }
            )
            for start in range(0, count, size)
        ]
        return _joined(answers)

    with standing_in(model, split):
        yield


def _part(value: Any, where: slice, count: int) -> Any:
    batched = (isinstance(value, Tensor) and value.dim() > 0) or isinstance(value, list)
    return value[where] if batched and len(value) == count else value


def _joined(answers: list[Any]) -> Any:
    leaves = [pytree.tree_flatten(answer)[0] for answer in answers]
    nest = pytree.tree_flatten(answers[0])[1]
    whole = [
        torch.cat(pieces) if isinstance(pieces[0], Tensor) else pieces[0]
        for pieces in zip(*leaves)
    ]
    return pytree.tree_unflatten(whole, nest)
