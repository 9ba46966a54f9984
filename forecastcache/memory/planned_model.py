"""Planned models: models that are planned for, built without data from their configuration."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from forecastcache._util.hub_errors import hub_complaint
from forecastcache.engine.caller import DENOISERS, timed_parts
from forecastcache.errors import PlanError
from forecastcache.memory.autoencoder import Compression, compression_of
from forecastcache.sampling.loading import source_of

PUBLISHED = files("forecastcache.memory") / "published"


class Origin(NamedTuple):
    """The pipeline that a planned model is of.

    Attributes:
        source: folder or hub id; None for a published name, which has the denoiser alone.
        parts: library and class of each part, by name.
        part: name of the denoiser that was built.
        compression: compression of its autoencoder.
    """

    source: str | None = None
    parts: Mapping[str, Any] = {}
    part: str = "transformer"
    compression: Compression = Compression()


_ORIGINS: WeakKeyDictionary[nn.Module, Origin] = WeakKeyDictionary()


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
        return built_from(getattr(diffusers, published["class"]), published["config"])
    source = source_of(name, published_names())
    try:
        with quietly_asked():
            found = _read_pipeline(source)
    except Exception as error:  # diffusers raises of every kind, from bad JSON to no network
        complaint = None if Path(source).is_dir() else hub_complaint(name, error)
        raise PlanError(complaint or f"{name} cannot be read as a pipeline: {error}") from error
    if found is None:
        raise PlanError(
            f"{name} has no transformer and no unet, nor another model that takes a time, so "
            "there is nothing to forecast"
        )
    kind, config, origin = found
    model = built_from(kind, config)
    _ORIGINS[model] = origin
    return model


def origin_of(model: nn.Module) -> Origin:
    """The pipeline that a model of `planned_model` is of."""
    return _ORIGINS.get(model, Origin())


def in_turn(model: nn.Module) -> list[nn.Module]:
    """The models that take turns with one of `planned_model`: Wan 2.2 has a second.

    One whose configuration cannot be read is left out.
    """
    import diffusers

    origin = origin_of(model)
    names = next((names for names in DENOISERS if origin.part in names), ())
    found = []
    for name in names:
        if name == origin.part or not any(origin.parts.get(name) or ()):
            continue
        with suppress(Exception), quietly_asked():
            kind = getattr(diffusers, origin.parts[name][1])
            other = built_from(kind, kind.load_config(origin.source, subfolder=name))
            _ORIGINS[other] = origin._replace(part=name)
            found.append(other)
    return found


def published_names() -> list[str]:
    """The models whose configurations ship with forecastcache."""
    found = (Path(str(entry)).name for entry in PUBLISHED.iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def built_from(kind: Any, config: Mapping[str, Any]) -> nn.Module:
    """A model of diffusers on the meta device."""
    with torch.device("meta"):
        model: nn.Module = kind.from_config(config)
    return model.eval()


@contextmanager
def quietly_asked() -> Iterator[None]:
    """Keep the hub's client from telling of every try: what comes of it is told at the end."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _read_pipeline(source: str) -> tuple[Any, Mapping[str, Any], Origin] | None:
    """Class and configuration of a pipeline's denoiser, and what the pipeline is.

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
        compression = _compression(vae, vae.load_config(source, subfolder="vae"))
    for part, *_ in DENOISERS:
        if any(index.get(part) or ()):
            kind = kind_of(part)
            if kind is None:
                raise PlanError(f"its {part} is a {index[part][1]}, which diffusers does not have")
            config = kind.load_config(source, subfolder=part)
            return kind, config, Origin(source, index, part, compression)
    kinds = {part: kind_of(part) for part in index}
    timed = timed_parts({part: kind for part, kind in kinds.items() if isinstance(kind, type)})
    if len(timed) > 1:
        raise PlanError(f"several of its models take a time, {', '.join(timed)}: attach one")
    for part in timed:
        config = kinds[part].load_config(source, subfolder=part)
        return kinds[part], config, Origin(source, index, part, compression)
    return None


def _compression(kind: Any, config: Mapping[str, Any]) -> Compression:
    try:
        return compression_of(config, built_from(kind, config))
    except Exception:  # what the configuration says is all that there is
        return compression_of(config)
