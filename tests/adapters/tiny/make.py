"""Tiny: a stock model class with random weights, and the arguments of one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn


class Tiny(NamedTuple):
    """A model and what it is called with, beside the time."""

    model: nn.Module
    arguments: dict[str, Any]


MODELS: dict[str, Callable[[], Tiny]] = {}


def tiny(function: Callable[..., Tiny]) -> Callable[..., Tiny]:
    """Have `make` know a function by its name."""
    MODELS[function.__name__] = function
    return function


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def make(name: str) -> Tiny:
    """The tiny model called `name`, in evaluation mode."""
    torch.manual_seed(0)
    model, arguments = MODELS[name]()
    # Zero-initialised gates and projections would hide what the blocks do.
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return Tiny(model.eval(), arguments)


def other_conditions(given: Tiny) -> dict[str, Any]:
    """What another prompt would give."""
    if "class_labels" in given.arguments:
        return {"class_labels": torch.tensor([7, 3])}
    if "cap_feats" in given.arguments:
        return {"cap_feats": [-text for text in given.arguments["cap_feats"]]}
    return {
        name: -value
        for name, value in given.arguments.items()
        if name.startswith("encoder_hidden_states") and value.is_floating_point()
    }
