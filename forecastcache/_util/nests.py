"""Nests of tensors: lists, dictionaries and outputs of diffusers, however deep."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree


def tensors_in(value: Any) -> list[Tensor]:
    """The tensor that a value is, or those nested in it."""
    if isinstance(value, Tensor):
        return [value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return []
    if isinstance(value, (tuple, list)):  # as most models return; pytree takes long
        return [tensor for each in value for tensor in tensors_in(each)]
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
