"""Components: what the weights of a pipeline take, from the configurations of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import nn

from forecastcache.engine.caller import BESIDE, DENOISERS
from forecastcache.memory.planned_model import Origin, built_from, origin_of, quietly_asked

NAMES = [name for names in DENOISERS for name in names] + list(BESIDE)


class Component(NamedTuple):
    """A part of a pipeline that has weights.

    Attributes:
        name: name of the part in the pipeline.
        kind: name of its class.
        bytes: bytes of its parameters and buffers; None where they are not counted.
        remark: what to know of the figure, or why there is none; '' for nothing.
    """

    name: str
    kind: str
    bytes: int | None
    remark: str = ""

    @property
    def denoises(self) -> bool:
        """Whether it is needed at every step."""
        return self.name in NAMES


def components_of(model: nn.Module, dtype: torch.dtype) -> tuple[Component, ...]:
    """The parts with weights of the pipeline that a model is of, the model first.

    Args:
        model: model as `planned_model` returns it.
        dtype: dtype that the pipeline is loaded in.
    """
    origin = origin_of(model)
    mine = Component(
        origin.part,
        type(model).__name__,
        weight_bytes(model, dtype),
        _remark(getattr(model, "config", None)),
    )
    return (mine, *_others(origin, dtype))


def weight_bytes(model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of parameters and buffers as loaded in `dtype`, where some may stay in float32."""
    kept, loaded = _in_float32(model, dtype), model.state_dict().keys()
    count = 0
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        size = tensor.element_size()
        if tensor.is_floating_point():
            # What no file holds, a model makes for itself, in float32.
            own = name not in loaded or kept & {*name.split(".")}
            size = 4 if own else dtype.itemsize
        count += tensor.numel() * size
    return count


def _in_float32(model: nn.Module, dtype: torch.dtype) -> set[str]:
    """Names of the modules that both libraries load in float32, whatever is asked for."""
    kept = {*(getattr(model, "_keep_in_fp32_modules_strict", None) or ())}
    ours = type(model).__module__.startswith("diffusers.")
    if ours or dtype is torch.float16:  # transformers keeps these for the range of float16 alone
        kept |= {*(getattr(model, "_keep_in_fp32_modules", None) or ())}
    return kept


def _others(origin: Origin, dtype: torch.dtype) -> Iterator[Component]:
    for name, entry in origin.parts.items():
        if name == origin.part or not (isinstance(entry, (list, tuple)) and all(entry)):
            continue
        library, kind = entry
        try:
            known = _class(library, kind)
            if not issubclass(known, nn.Module):
                continue
            with quietly_asked():
                built, config = _built(known, origin.source, name)
        except Exception as error:  # of an index of somebody's, or a library that is not there
            yield Component(name, kind, None, f"{type(error).__name__}: {_first_line(error)}")
            continue
        yield Component(name, kind, weight_bytes(built, dtype), _remark(config))


def _class(library: str, kind: str) -> type:
    """The class of a part, of a library or of the pipelines of diffusers."""
    with suppress(ImportError):
        found = getattr(import_module(library), kind, None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    return getattr(import_module(f"diffusers.pipelines.{library}"), kind)  # type: ignore[no-any-return]


def _built(kind: Any, source: str | None, name: str) -> tuple[nn.Module, Any]:
    load_config = getattr(kind, "load_config", None)
    if load_config is not None:  # of diffusers
        config = load_config(source, subfolder=name)
        return built_from(kind, config), config
    config = kind.config_class.from_pretrained(source, subfolder=name)
    with torch.device("meta"):
        return kind(config), config


def _remark(config: Any) -> str:
    settings = config if isinstance(config, dict) else getattr(config, "__dict__", {})
    if settings.get("quantization_config"):
        return "counted as if it were not quantised"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
