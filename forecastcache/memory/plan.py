"""Memory plans: what a cache will cost, from a configuration alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from forecastcache._util.hub_errors import hub_complaint
from forecastcache.adapter import Adapter, Granularity
from forecastcache.engine.caller import DENOISERS, timed_parts
from forecastcache.errors import ForecastCacheError, PlanError
from forecastcache.memory.autoencoder import Compression, compression_of
from forecastcache.memory.dry_run import kept_features, stored_bytes
from forecastcache.memory.input_size import InputSize, ReadSize
from forecastcache.memory.shapes import in_dtype
from forecastcache.registry import adapter_for
from forecastcache.sampling.loading import source_of

_COMPRESSIONS: WeakKeyDictionary[nn.Module, Compression] = WeakKeyDictionary()
PUBLISHED = files("forecastcache.memory") / "published"


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
    site: Granularity = "output",
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
    model = planned_model(model) if isinstance(model, str) else model
    adapter = adapter_for(model)
    _require_plannable(model, adapter)
    size = _COMPRESSIONS.get(model, Compression()).of(size)
    guided = adapter.guidance != "embedded" if guidance is None else guidance
    branches = 2 if guided and adapter.guidance != "batched" else 1
    if guided and adapter.guidance == "batched":
        size = replace(size, batch=2 * size.batch)
    inputs = _inputs(model, adapter, size, dtype)
    nn.Module.to(model, dtype)  # diffusers' own warns of modules that matter for values only
    with _one_block_a_kind(model, adapter) as stand_for:
        kept = _kept(model, adapter, site, inputs)
    sites = (
        SiteMemory(path, tuple(tuple(f.shape) for f in it), depth * stored_bytes(it, storage))
        for path, it in _spread(kept, stand_for).items()
    )
    stored = str(storage or dtype).removeprefix("torch.")
    return MemoryPlan(type(model).__name__, site, depth, branches, stored, tuple(sites))


def _require_plannable(model: nn.Module, adapter: Adapter) -> None:
    if adapter.inputs is None:
        raise PlanError(
            f"{type(model).__name__} is served by the adapter {adapter.name!r}, which does not "
            "say how it is called: attach it, run it once and read the session's report"
        )
    if not all(parameter.is_meta for parameter in model.parameters()):
        raise PlanError("plan_memory() takes a model without data: give planned_model(...)")


def planned_model(name: str) -> nn.Module:
    """A model on the meta device, by published name, zoo name, pipeline folder or hub id.

    Weights are neither read nor fetched.

    Raises:
        UnknownNameError: no model has the name.
        PlanError: the pipeline has no model that takes a time, or several.
    """
    import diffusers

    if name in published_names():
        published = json.loads((PUBLISHED / f"{name}.json").read_text())
        return _build(getattr(diffusers, published["class"]), published["config"])
    source = source_of(name, published_names())
    try:
        found = _read_pipeline(source)
    except Exception as error:  # diffusers raises of every kind, from bad JSON to no network
        complaint = None if Path(source).is_dir() else hub_complaint(name, error)
        raise PlanError(complaint or f"{name} cannot be read as a pipeline: {error}") from error
    if found is None:
        raise PlanError(
            f"{name} has no transformer and no unet, nor another model that takes a time, so "
            "there is nothing to forecast"
        )
    kind, config, compression = found
    model = _build(kind, config)
    _COMPRESSIONS[model] = compression
    return model


def published_names() -> list[str]:
    """The models whose configurations ship with forecastcache."""
    found = (Path(str(entry)).name for entry in PUBLISHED.iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def _read_pipeline(source: str) -> tuple[Any, Mapping[str, Any], Compression] | None:
    """Class and configuration of a pipeline's denoiser, and what its autoencoder squeezes.

    None if it has no denoiser.
    """
    import diffusers

    index = diffusers.DiffusionPipeline.load_config(source)

    def kind_of(part: str) -> Any:
        listed = index.get(part)
        name = listed[1] if isinstance(listed, (list, tuple)) else None
        return getattr(diffusers, name or "", None)

    vae = kind_of("vae")
    compression = Compression()
    if vae is not None:
        compression = compression_of(vae.load_config(source, subfolder="vae"))
    for part, *_ in DENOISERS:
        if any(index.get(part) or ()):
            kind = kind_of(part)
            if kind is None:
                raise PlanError(f"its {part} is a {index[part][1]}, which diffusers does not have")
            return kind, kind.load_config(source, subfolder=part), compression
    kinds = {part: kind_of(part) for part in index}
    timed = timed_parts({part: kind for part, kind in kinds.items() if isinstance(kind, type)})
    if len(timed) > 1:
        raise PlanError(f"several of its models take a time, {', '.join(timed)}: attach one")
    for part in timed:
        return kinds[part], kinds[part].load_config(source, subfolder=part), compression
    return None


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
def _one_block_a_kind(model: nn.Module, adapter: Adapter) -> Iterator[dict[str, list[str]]]:
    """Keep, for a while, one of the blocks that are built alike: their features are alike.

    Yields the path of each block kept, with the paths of the blocks that it stands for.
    """
    stand_for: dict[str, list[str]] = {}
    whole = {trunk.path: model.get_submodule(trunk.path) for trunk in adapter.trunk}
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


def _build(kind: Any, config: Mapping[str, Any]) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = kind.from_config(config)
    return model.eval()


def _inputs(
    model: nn.Module, adapter: Adapter, size: InputSize, dtype: torch.dtype
) -> dict[str, Any]:
    assert adapter.inputs is not None
    asked = ReadSize.of(size)
    with torch.device("meta"):
        given = adapter.inputs(model.config, asked)
        asked.require_all_read(type(model).__name__)
        given[adapter.time_argument(model)] = torch.empty(size.batch)
    arguments: dict[str, Any] = in_dtype(given, dtype)
    return arguments
