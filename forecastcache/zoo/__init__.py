"""Small trained pipelines that ship with the package, and the recipes that made them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from forecastcache.errors import UnknownNameError

PREFIX = "zoo:"
MODELS = {"dit-digits": "DiTPipeline, 60 classes: handwritten digits in six inks, 32x32"}


def folder(name: str) -> Path:
    """The folder of a zoo model, loadable with `DiffusionPipeline.from_pretrained`.

    Args:
        name: with or without `zoo:` before it.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return Path(__file__).parent / _known(name)


def recipe(name: str) -> ModuleType:
    """The module that made a zoo model: `make`, `asked`, `figures`, `GUIDANCE_SCALE`.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return import_module(f"forecastcache.zoo.{_known(name).replace('-', '_')}")


def _known(name: str) -> str:
    bare = name.removeprefix(PREFIX)
    if bare not in MODELS:
        known = ", ".join(PREFIX + model for model in MODELS)
        raise UnknownNameError(f"the zoo has no model {bare!r}: write one of {known}")
    return bare
