"""Memory plans: what a cache will cost, from a configuration alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from forecastcache.adapter import Adapter, Trunk
from forecastcache.errors import ForecastCacheError, PlanError
from forecastcache.granularity import Blocks, Granularity, Tokens, span_in
from forecastcache.memory.dry_run import kept_features, stored_bytes
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.planned_call import PlannedCall, planned_call
from forecastcache.memory.planned_model import planned_model
from forecastcache.registry import adapter_for


@dataclass(frozen=True)
class SiteMemory:
    """What one site will hold in one branch.

    Attributes:
        path: path of the module, '' for the model itself.
        shapes: shapes of the tensors of one feature.
        bytes: bytes of all features kept there.
    """

    path: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """What a cache will hold.

    Attributes:
        model: class of the model.
        site: granularity of the sites.
        depth: number of features kept a site.
        branches: number of branches of guidance that are kept apart.
        dtype: dtype that features are stored in.
        sites: the bytes of each site, in the order in which the model comes to them.
    """

    model: str
    site: Granularity
    depth: int
    branches: int
    dtype: str
    sites: tuple[SiteMemory, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all sites and branches."""
        return self.branches * sum(site.bytes for site in self.sites)

    def groups(self) -> list[tuple[str, int, SiteMemory]]:
        """Sites that differ by the block's number only: pattern, how many, one of them."""
        found: dict[tuple[str, SiteMemory], int] = {}
        for site in self.sites:
            pattern = re.sub(r"\.\d+(?=\.|$)", ".*", site.path)
            key = pattern, replace(site, path=pattern)
            found[key] = found.get(key, 0) + 1
        return [(pattern, count, site) for (pattern, site), count in found.items()]

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "model": self.model,
            "site": self.site,
            "depth": self.depth,
            "branches": self.branches,
            "dtype": self.dtype,
            "total_bytes": self.total_bytes,
            "sites": [
                {"path": site.path, "shapes": site.shapes, "bytes": site.bytes}
                for site in self.sites
            ],
        }


def plan_memory(
    model: nn.Module | str,
    size: InputSize = InputSize(),  # noqa: B008  # frozen
    *,
    depth: int,
    site: Granularity | Blocks | Tokens = "output",
    guidance: bool | None = None,
    dtype: torch.dtype = torch.bfloat16,
    storage: torch.dtype | None = None,
) -> MemoryPlan:
    """What histories of `depth` features will hold, from shapes alone.

    Args:
        model: published name, zoo name, pipeline folder or hub id; or a model on the meta device,
            as `planned_model` returns it.
        size: the size of the samples that the pipeline will be asked for.
        depth: number of features kept a site, `predictor.depth`.
        site: granularity of the sites.
        guidance: whether each step has an unconditional half; None for the model's habit.
        dtype: dtype that the model runs in.
        storage: dtype that histories are stored in; None keeps the features' own.

    Raises:
        UnknownNameError: no model has the name.
        PlanError: the model's adapter does not know how it is called.
        SizeError: the model cannot be asked for this size.
        AttachError: its adapter does not know the site.
    """
    site = str(site)
    model = planned_model(model) if isinstance(model, str) else model
    call = planned_call(model, adapter_for(model), size, guidance, dtype)
    return plan_of_call(model, call, depth=depth, site=site, storage=storage)


def plan_of_call(
    model: nn.Module,
    call: PlannedCall,
    *,
    depth: int,
    site: Granularity,
    storage: torch.dtype | None,
) -> MemoryPlan:
    """What histories of `depth` features will hold, from a call that is planned already.

    Args:
        model: model on the meta device.
        call: call of the model.
        depth: number of features kept a site.
        site: granularity of the sites.
        storage: dtype that histories are stored in; None keeps the features' own.

    Raises:
        PlanError: the model cannot be called at this size.
        AttachError: its adapter does not know the site.
    """
    adapter = adapter_for(model)
    # A span of blocks has one feature of them all, and is told by their numbers.
    shortened = () if span_in(site) else adapter.trunks(model)
    with _one_block_a_kind(model, shortened) as stand_for:
        kept = _kept(model, adapter, site, call.arguments)
    sites = (
        SiteMemory(path, tuple(tuple(f.shape) for f in it), depth * stored_bytes(it, storage))
        for path, it in _spread(kept, stand_for).items()
    )
    stored = str(storage or call.dtype).removeprefix("torch.")
    return MemoryPlan(type(model).__name__, site, depth, call.branches, stored, tuple(sites))


def _kept(
    model: nn.Module, adapter: Adapter, site: Granularity, inputs: dict[str, Any]
) -> dict[str, tuple[Tensor, ...]]:
    try:
        return kept_features(model, adapter, site, inputs)
    except ForecastCacheError:
        raise
    except Exception as error:
        raise PlanError(
            f"{type(model).__name__} cannot be called at this size ({error}): give another"
        ) from error


@contextmanager
def _one_block_a_kind(model: nn.Module, trunks: Sequence[Trunk]) -> Iterator[dict[str, list[str]]]:
    """Keep, for a while, one of the blocks that are built alike: their features are alike.

    Yields the path of each block kept, with the paths of the blocks that it stands for.
    """
    stand_for: dict[str, list[str]] = {}
    whole = {trunk.path: model.get_submodule(trunk.path) for trunk in trunks}
    for trunk, blocks in whole.items():
        kinds: dict[object, tuple[nn.Module, list[str]]] = {}
        for name, block in blocks.named_children():
            shapes = tuple(p.shape for p in block.parameters())
            kinds.setdefault((type(block), shapes), (block, []))[1].append(f"{trunk}.{name}.")
        _put(model, trunk, nn.ModuleList(block for block, _ in kinds.values()))
        for i, (_, paths) in enumerate(kinds.values()):
            stand_for[f"{trunk}.{i}."] = paths
    try:
        yield stand_for
    finally:
        for trunk, blocks in whole.items():
            _put(model, trunk, blocks)


def _spread(
    kept: Mapping[str, tuple[Tensor, ...]], stand_for: Mapping[str, list[str]]
) -> dict[str, tuple[Tensor, ...]]:
    """The features of every block, from those of the blocks kept."""
    spread = {}
    for path, features in kept.items():
        one = next((one for one in stand_for if f"{path}.".startswith(one)), "")
        for each in stand_for.get(one, [""]):
            spread[(each + f"{path}.".removeprefix(one)).removesuffix(".")] = features
    return spread


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
