"""Tiny: a stock model class with random weights, and the arguments of one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn


class Tiny(NamedTuple):
    """A model and what it is called with.

    Attributes:
        model: model.
        arguments: arguments of a call; with the first step's time, where the model is told it in
            another shape or scale than 1000 a sample.
        other: arguments that another prompt gives, where they are not found by their names.
    """

    model: nn.Module
    arguments: dict[str, Any]
    other: dict[str, Any] | None = None


MODELS: dict[str, Callable[[], Tiny]] = {}


def tiny(function: Callable[..., Tiny]) -> Callable[..., Tiny]:
    """Have `make` know a function by its name."""
    MODELS[function.__name__] = function
    return function


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def make(name: str) -> Tiny:
    """The tiny model called `name`, in evaluation mode; skips where diffusers is too old."""
    torch.manual_seed(0)
    try:
        tiny = MODELS[name]()
    except AttributeError as error:
        if "module diffusers has no attribute" not in str(error):
            raise
        pytest.skip(str(error))
    # Zero-initialised gates and projections would hide what the blocks do.
    for parameter in tiny.model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return tiny._replace(model=tiny.model.eval())


def other_conditions(given: Tiny) -> dict[str, Any] | None:
    """What another prompt would give; None where nothing but noise goes in."""
    if given.other is not None:
        return given.other
    if "class_labels" in given.arguments:
        return {"class_labels": torch.tensor([7, 3])}
    negated = {
        name: [-each for each in value] if isinstance(value, list) else -value
        for name, value in given.arguments.items()
        if name.startswith(("encoder_hidden_states", "cap_feats")) and not name.endswith("mask")
    }
    return negated or None
