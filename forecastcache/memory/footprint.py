"""Footprint: a cache at every site beside the model that it is of, and what fits on a GPU."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from forecastcache.granularity import Granularity
from forecastcache.memory.activations import activation_bytes
from forecastcache.memory.components import Component, components_of
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.plan import MemoryPlan, plan_of_call
from forecastcache.memory.planned_call import PlannedCall, TakenSize, planned_call
from forecastcache.memory.planned_model import in_turn, origin_of
from forecastcache.memory.remedies import SMALL, Remedy, Room, remedies
from forecastcache.registry import adapter_for

NOT_COUNTED = (
    "kernels' workspaces, the allocator's rounding, and what encoding of prompts and decoding of "
    "samples take for a while"
)
DENOISER_ALONE = "every other part of the pipeline: this configuration is the denoiser's alone"


class TakenAs(NamedTuple):
    """One of the things that figures depend on.

    Attributes:
        name: height, width, frames, batch, text_tokens, guidance or dtype.
        value: value that was planned with.
        asked: value that was asked for, where the pipeline makes another of it.
        given: whether somebody asked; else it is the model's habit, or ours.
    """

    name: str
    value: int | str
    asked: int | None
    given: bool


@dataclass(frozen=True)
class Footprint:
    """What a pipeline with a cache holds on a GPU while it denoises.

    Attributes:
        model: class of the model.
        sizes: the sizes that it runs at, as far as its adapter tells.
        guidance: how guidance is done at this size, in words.
        dtype: dtype that the model runs in.
        components: parts of the pipeline that have weights, the model first.
        uncounted: what no figure here has in it.
        activations: most bytes of the tensors of one computed step, by the larger of two models
            that take turns.
        caches: the plan of each site, in the adapter's order.
        shown: sites that were asked for.
        gpu: bytes of the GPU; None where none is given.
        given: names of the sizes, `guidance` and `dtype` that somebody asked for; the others are
            assumed.
    """

    model: str
    sizes: tuple[TakenSize, ...]
    guidance: str
    dtype: torch.dtype
    components: tuple[Component, ...]
    uncounted: tuple[str, ...]
    activations: int
    caches: tuple[MemoryPlan, ...]
    shown: tuple[Granularity, ...]
    gpu: int | None
    given: frozenset[str]

    @property
    def weights(self) -> int:
        """Bytes of all weights that are counted."""
        return sum(each.bytes or 0 for each in self.components)

    def cache(self, site: str) -> MemoryPlan:
        """The plan of a site."""
        return next(each for each in self.caches if each.site == site)

    def needed(self, cache: MemoryPlan) -> int:
        """Bytes of weights, activations and a cache."""
        return self.weights + self.activations + cache.total_bytes

    def remains(self, cache: MemoryPlan) -> int | None:
        """Bytes of the GPU that are left with a cache, below 0 where it does not fit."""
        return None if self.gpu is None else self.gpu - self.needed(cache)

    def remedies(self, cache: MemoryPlan) -> list[Remedy]:
        """What makes it fit where a cache does not, cheapest first; empty where it fits."""
        remains = self.remains(cache)
        if self.gpu is None or remains is None or remains >= 0:
            return []
        return remedies(cache, self.caches, self._room(self.gpu))

    def _room(self, gpu: int) -> Room:
        whole = self.weights + self.activations
        denoiser = self.activations + sum(it.bytes or 0 for it in self.components if it.denoises)
        smaller = self.dtype.itemsize > SMALL.itemsize
        small = gpu - whole * SMALL.itemsize // self.dtype.itemsize if smaller else None
        return Room(gpu - whole, gpu - denoiser, small)

    def taken(self) -> Iterator[TakenAs]:
        """All that figures depend on, and whether somebody asked for it."""
        for size in self.sizes:
            yield TakenAs(*size, given=size.name in self.given)
        dtype = str(self.dtype).removeprefix("torch.")
        for name, value in (("guidance", self.guidance), ("dtype", dtype)):
            yield TakenAs(name, value, None, name in self.given)

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "model": self.model,
            "sizes": {it.name: it._asdict() for it in self.taken()},
            "components": [each._asdict() for each in self.components],
            "weights_bytes": self.weights,
            "activations_bytes": self.activations,
            "not_counted": list(self.uncounted),
            "gpu_bytes": self.gpu,
            "caches": [self._figures(it) for it in self.caches if it.site in self.shown],
        }

    def _figures(self, cache: MemoryPlan) -> dict[str, Any]:
        remains = self.remains(cache)
        return {
            **cache.figures(),
            "needed_bytes": self.needed(cache),
            "remaining_bytes": remains,
            "fits": None if remains is None else remains >= 0,
            "remedies": [each._asdict() for each in self.remedies(cache)],
        }


def footprint(
    model: nn.Module,
    size: InputSize,
    *,
    depth: int,
    sites: Sequence[Granularity] | None = None,
    guidance: bool | None = None,
    dtype: torch.dtype = torch.bfloat16,
    storage: torch.dtype | None = None,
    gpu: int | None = None,
    given: Collection[str] = (),
) -> Footprint:
    """What a model holds with histories of `depth` features, from configurations alone.

    Args:
        model: model as `planned_model` returns it.
        size: size of the samples that the pipeline will be asked for.
        depth: number of features kept a site.
        sites: sites that are asked for; None for all that the adapter names. A span of blocks
            is planned where it is asked for.
        guidance: whether each step has an unconditional half; None for the model's habit.
        dtype: dtype that the pipeline runs in.
        storage: dtype that histories are stored in; None keeps the features' own.
        gpu: bytes of the GPU; None where none is given.
        given: names of the sizes, `guidance` and `dtype` that somebody asked for.

    Raises:
        PlanError: the model's adapter does not know how it is called.
        SizeError: the model cannot be asked for this size.
        AttachError: its adapter does not know a site.
    """
    adapter = adapter_for(model)
    for site in sites or ():
        adapter.sites(model, site)
    call = planned_call(model, adapter, size, guidance, dtype)
    caches = tuple(
        plan_of_call(model, call, depth=depth, site=site, storage=storage)
        for site in dict.fromkeys((*adapter.granularities, *(sites or ())))
    )
    components = components_of(model, dtype)
    unknown = [f"{it.name} ({it.kind}: {it.remark})" for it in components if it.bytes is None]
    alone = [DENOISER_ALONE] if origin_of(model).source is None else []
    return Footprint(
        model=type(model).__name__,
        sizes=call.sizes,
        guidance=call.guidance,
        dtype=dtype,
        components=components,
        uncounted=(*alone, *unknown, NOT_COUNTED),
        activations=_activations(model, call, size, guidance),
        caches=caches,
        shown=tuple(sites or adapter.granularities),
        gpu=gpu,
        given=frozenset(given),
    )


def _activations(
    model: nn.Module, call: PlannedCall, size: InputSize, guidance: bool | None
) -> int:
    """Most bytes of one computed step, by the largest of the models that take turns."""
    found = [activation_bytes(model, adapter_for(model), call.arguments)]
    for other in in_turn(model):
        adapter = adapter_for(other)
        its_own = planned_call(other, adapter, size, guidance, call.dtype)
        found.append(activation_bytes(other, adapter, its_own.arguments))
    return max(found)
