"""The pipeline that a call of a model comes from."""

from __future__ import annotations

import sys
from inspect import CO_OPTIMIZED
from types import FrameType

from torch import nn

# Wan 2.2 has two, the second for the less noisy steps.
DENOISERS = (("transformer", "transformer_2"), ("unet",))
# Ideogram 4 has a network of its own for the unconditional branch, to which nothing is attached.
BESIDE = ("unconditional_transformer",)


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
    return any(getattr(caller, name, None) is model for names in DENOISERS for name in names)
