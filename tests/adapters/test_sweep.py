"""Every model of diffusers that takes a time is forecast, at each site that its record names.

What a forecast must be is computed here from the computed outputs, by a straight line.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import forecastcache as fc
from forecastcache.adapter import Adapter
from forecastcache.registry import adapter_for

from ..conftest import fingerprint
from .tiny import MODELS, Tiny, make

TIMES = (1.0, 0.8, 0.65, 0.4, 0.3, 0.1)  # of the first step's
COMPUTED = fc.Listed([0, 1, 3])
DOES_NOT_DENOISE = "makes residuals for a denoiser, which is the one to attach"
LEFT_OUT: dict[str, str] = {}  # class name to the reason

MISSING = """
{name}.forward takes {times}, and nothing here says if it is served. Add to tests/adapters/tiny
    @tiny
    def {function}() -> Tiny:
        return Tiny(diffusers.{name}(...), {{...}})  # a small one, and the arguments of a call
or its name and the reason to LEFT_OUT in tests/adapters/test_sweep.py."""


def takes_time(kind: type) -> list[str]:
    """The arguments of a model's forward that tell it a time."""
    takes = inspect.signature(kind.forward).parameters
    return [name for name in takes if "time" in name or name == "t"]


@cache
def exported() -> dict[str, type]:
    """The model classes of the installed diffusers whose forward takes a time."""
    found = (getattr(diffusers, name, None) for name in dir(diffusers))
    models = [
        kind
        for kind in found
        if isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin) and takes_time(kind)
    ]
    return {kind.__name__: kind for kind in models}


def left_out(name: str) -> str | None:
    return DOES_NOT_DENOISE if "ControlNet" in name else LEFT_OUT.get(name)


@cache
def served() -> set[str]:
    """The classes of the tiny models."""
    found = set()
    for name in MODELS:
        with suppress(pytest.skip.Exception):
            found.add(type(make(name).model).__name__)
    return found


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.sub(r"(Transformer|UNet)\w*$", "", name)).lower()


def test_every_class_with_a_time_is_served_or_left_out_with_a_reason():
    lacking = [
        MISSING.format(
            name=name, times=", ".join(takes_time(kind)), function=snake_case(name) or name.lower()
        )
        for name, kind in exported().items()
        if name not in served() and left_out(name) is None
    ]
    assert not lacking, f"{len(lacking)} classes: {''.join(lacking)}"


def test_what_is_left_out_exists():
    """A reason for a class that is gone, or that has a tiny model by now, is to be deleted."""
    assert not [name for name in LEFT_OUT if name not in exported() or name in served()]


def caller(tiny: Tiny, adapter: Adapter) -> Callable[[float], list[Tensor]]:
    """A function that calls the model at a part of the first step's time."""
    names = adapter.time_arguments(tiny.model)
    moving = [n for n, v in tiny.arguments.items() if n not in names and leaves_of(v)]
    bare = [name for name in moving if isinstance(tiny.arguments[name], Tensor)]
    sample = next(name for name in (*adapter.sample, *bare, *moving) if name in moving)
    size = len(tiny.arguments[sample])
    arguments = {names[0]: torch.full((size,), 1000.0), **tiny.arguments}

    def call(part: float) -> list[Tensor]:
        given = dict(arguments)
        for name in names:
            if name in given:
                time = torch.as_tensor(given[name])
                given[name] = (time.double() * part).to(time.dtype)
        given[sample] = pytree.tree_map(
            lambda leaf: leaf * (1 + part) if real(leaf) else leaf, given[sample]
        )
        return leaves_of(tiny.model(**given))

    return call


def real(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def leaves_of(nest: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(nest) if real(leaf)]


def line(computed: dict[int, Tensor], step: int) -> Tensor:
    """The straight line through the two newest computed outputs, in the number of the step."""
    (before, x), (newest, y) = list(computed.items())[-2:]
    slope = (y.double() - x.double()) / (newest - before)
    return y.double() + slope * (step - newest)


# Another model here is of the same class as each of these.
SLOW = {"hunyuan_video_token_replace", "framepack_alone", "hidream_wide", "stable_cascade_prior"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MODELS],
)
@torch.no_grad()
def test_computed_it_is_the_model_and_forecast_a_line(name):
    tiny = make(name)
    adapter = adapter_for(tiny.model)
    call = caller(tiny, adapter)
    plain = [call(time) for time in TIMES]
    before = fingerprint(tiny.model)  # some models keep what they have made of shapes
    for site in adapter.granularities:
        with fc.attach(tiny.model, fc.Every(1), fc.Taylor(order=1), site=site):
            for time, expected in zip(TIMES, plain, strict=True):
                assert all(map(torch.equal, call(time), expected)), site
        with fc.attach(tiny.model, COMPUTED, fc.Taylor(order=1), site=site) as session:
            got = [call(time) for time in TIMES]
        assert fingerprint(tiny.model) == before
        computed = tuple(call.step.index for call in session.calls if call.was_computed)
        assert computed == COMPUTED.computed(len(TIMES))
        forecasts_are_right(got, plain, at_output=site == "output")
    assert all(map(torch.equal, call(TIMES[-1]), plain[-1]))


def forecasts_are_right(
    got: list[list[Tensor]], plain: list[list[Tensor]], at_output: bool
) -> None:
    """The steps that were forecast lie on the line at `output`, and elsewhere off the model."""
    for number in range(len(plain[0])):
        computed: dict[int, Tensor] = {}
        differs = False
        for step, (outputs, expected) in enumerate(zip(got, plain, strict=True)):
            if step in COMPUTED.computed(len(TIMES)):
                computed[step] = expected[number]
                assert torch.equal(outputs[number], expected[number])
                continue
            assert outputs[number].shape == expected[number].shape
            assert outputs[number].isfinite().all()
            differs = differs or not torch.equal(outputs[number], expected[number])
            if at_output:
                # One rounding to float32 of a sum of two: the line is in float64.
                wanted = line(computed, step).to(outputs[number].dtype)
                torch.testing.assert_close(outputs[number], wanted, rtol=1e-5, atol=1e-6)
        assert differs, f"output {number} was computed, or does not move with time"
