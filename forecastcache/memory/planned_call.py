"""Planned call: one call of a model without data, and the size that it is of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import nn

from forecastcache.adapter import Adapter
from forecastcache.errors import PlanError
from forecastcache.memory.input_size import InputSize, ReadSize
from forecastcache.memory.planned_model import origin_of
from forecastcache.memory.shapes import in_dtype


class TakenSize(NamedTuple):
    """A size that a model runs at.

    Attributes:
        name: height, width, frames, batch or text_tokens.
        value: number that the model runs at.
        asked: number that was asked for, where the pipeline makes another of it.
    """

    name: str
    value: int
    asked: int | None = None


@dataclass(frozen=True)
class PlannedCall:
    """One call of a model on the meta device.

    Attributes:
        arguments: arguments by name.
        branches: number of branches of guidance that are kept apart.
        guidance: how classifier-free guidance is done, in words.
        sizes: the sizes that it runs at, as far as the adapter tells.
        dtype: dtype that the model runs in.
    """

    arguments: dict[str, Any]
    branches: int
    guidance: str
    sizes: tuple[TakenSize, ...]
    dtype: torch.dtype


def planned_call(
    model: nn.Module,
    adapter: Adapter,
    size: InputSize,
    guidance: bool | None,
    dtype: torch.dtype,
) -> PlannedCall:
    """The call that a pipeline makes of a model when it is asked for samples of a size.

    The model is cast to the dtype that it runs in.

    Args:
        model: model on the meta device.
        adapter: record that serves it.
        size: the size of the samples.
        guidance: whether each step has an unconditional half; None for the model's habit.
        dtype: dtype that the model runs in.

    Raises:
        PlanError: the adapter does not know how the model is called.
        SizeError: the model cannot be asked for this size.
    """
    _require_plannable(model, adapter)
    assert adapter.inputs is not None
    size = origin_of(model).compression.of(size)
    guided = adapter.guidance != "embedded" if guidance is None else guidance
    batched = guided and adapter.guidance == "batched"
    asked = ReadSize.of(replace(size, batch=2 * size.batch) if batched else size)
    with torch.device("meta"):
        given = adapter.inputs(model.config, asked)
        asked.require_all_read(type(model).__name__)
        given[adapter.time_argument(model)] = torch.empty(asked.batch)
    nn.Module.to(model, dtype)  # diffusers' own warns of modules that matter for values only
    sizes = _sizes(size, asked)
    if guided and not batched:
        return PlannedCall(in_dtype(given, dtype), 2, "guidance in two branches", sizes, dtype)
    without = "embedded guidance" if adapter.guidance == "embedded" else "no guidance"
    words = "guidance in one batch of both halves" if batched else without
    return PlannedCall(in_dtype(given, dtype), 1, words, sizes, dtype)


def _sizes(size: InputSize, asked: ReadSize) -> tuple[TakenSize, ...]:
    taken = {"text_tokens": size.text_tokens, **asked.taken, "batch": size.batch}
    names = ("height", "width", "frames", "batch", "text_tokens")
    found = []
    for name in names:
        value, wanted = taken.get(name), getattr(size, name)
        if value is not None:
            found.append(TakenSize(name, value, wanted if wanted != value else None))
    return tuple(found)


def _require_plannable(model: nn.Module, adapter: Adapter) -> None:
    if adapter.inputs is None:
        raise PlanError(
            f"{type(model).__name__} is served by the adapter {adapter.name!r}, which does not "
            "say how it is called: attach it, run it once and read the session's report"
        )
    if not all(parameter.is_meta for parameter in model.parameters()):
        raise PlanError("plan_memory() takes a model without data: give planned_model(...)")
