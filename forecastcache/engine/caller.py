"""Which parts of a pipeline denoise, and the pipeline that a call of a model comes from."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any

from torch import nn

from forecastcache.errors import AttachError
from forecastcache.registry import adapter_of

# Wan 2.2 has two, the second for the less noisy steps.
DENOISERS = (("transformer", "transformer_2"), ("unet",))
# Ideogram 4 has a network of its own for the unconditional branch, to which nothing is attached.
BESIDE = ("unconditional_transformer",)


def denoisers_in(pipeline: Any) -> tuple[nn.Module, ...]:
    """The models of a pipeline that take turns along a trajectory, one in nearly all.

    Raises:
        AttachError: there is none, or several that make a trajectory each.
    """
    for names in DENOISERS:
        found = (getattr(pipeline, name, None) for name in names)
        models = tuple(model for model in found if isinstance(model, nn.Module))
        if models:
            return models
    parts = _parts_of(pipeline)
    timed = timed_parts({name: type(part) for name, part in parts.items()})
    if len(timed) == 1:
        return (parts[timed[0]],)
    kind = type(pipeline).__name__
    known = " or ".join(names[0] for names in DENOISERS)
    if not timed:
        raise AttachError(
            f"{kind} has no {known} to attach to, nor another model whose forward takes a time by "
            "a name that is known: give a diffusers pipeline, or the model itself; a model that "
            "is told the time by another name needs an Adapter with that name in `time`"
        )
    inner = [name for name, value in vars(pipeline).items() if _calls_one_of(value, parts, timed)]
    places = [f"pipe.{name}" for name in inner or timed]
    remedy = f"attach {' or '.join(places)}"
    raise AttachError(
        f"{kind} has several models that take a time, {', '.join(timed)}, and none is called "
        f"{known}: {remedy}" + (", the pipeline that calls the one meant" if inner else "")
    )


def timed_parts(kinds: Mapping[str, type]) -> list[str]:
    """The names of those parts whose forward takes a time, without controlnets.

    Args:
        kinds: classes of a pipeline's parts by name.
    """
    return [name for name, kind in kinds.items() if _takes_time(kind)]


def _takes_time(kind: type) -> bool:
    if not issubclass(kind, nn.Module) or "ControlNet" in kind.__name__:
        return False
    takes = inspect.signature(kind.forward).parameters
    return any(name in takes for name in adapter_of(kind).time)


def _parts_of(pipeline: object) -> dict[str, nn.Module]:
    parts = getattr(pipeline, "__dict__", {})
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def _calls_one_of(value: object, parts: Mapping[str, nn.Module], timed: list[str]) -> bool:
    """Whether something is a pipeline around one of these parts."""
    own = [parts[name] for name in timed]
    return hasattr(value, "scheduler") and any(
        part is model for part in _parts_of(value).values() for model in own
    )


def calling_pipeline(model: nn.Module) -> object | None:
    """The innermost pipeline whose `__call__` is under way in this thread and has `model`.

    Pipelines that share a model share its patch as well, and tell the model nothing of
    themselves. The stack of calls tells which of them is at work, without a trace left on any.

    Returns:
        An object with a scheduler and the model; None where no such object makes the call, as in
        a loop of somebody's own.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__call__" and code.co_varnames[:1] == ("self",):
            caller = _self_of(frame)
            if hasattr(caller, "scheduler") and _has(caller, model):
                return caller
        frame = frame.f_back
    return None


def _self_of(frame: FrameType) -> object:
    names = frame.f_locals
    caller = names.get("self")
    # Before Python 3.13 this is a copy that stays on the frame and would keep tensors alive.
    if isinstance(names, dict) and frame.f_code.co_flags & CO_OPTIMIZED:
        names.clear()
    return caller


def _has(caller: object, model: nn.Module) -> bool:
    """Whether the scheduler of an object is the one that steps what this model returns."""
    if any(getattr(caller, name, None) is model for names in DENOISERS for name in names):
        return True
    if not any(part is model for part in _parts_of(caller).values()):
        return False
    try:
        return denoisers_in(caller) == (model,)
    except AttachError:  # several, and one scheduler
        return False
