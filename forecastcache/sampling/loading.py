"""Loading: a pipeline by zoo name, folder or hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from forecastcache import zoo
from forecastcache._util.hub_errors import hub_complaint
from forecastcache.errors import RequestError, UnknownNameError


def load(model: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """A diffusers pipeline by zoo name, folder or hub id.

    Raises:
        UnknownNameError: no model has the name.
        RequestError: the folder or hub entry is no pipeline, the hub cannot be reached or refuses,
            or the device is not there.
    """
    from diffusers import DiffusionPipeline

    model = str(model)
    _require_device(device)
    source = _pipeline_source(model)
    try:
        pipe = DiffusionPipeline.from_pretrained(source, dtype=dtype)
    except Exception as error:  # diffusers raises of every kind, from bad JSON to missing packages
        complaint = None if Path(source).is_dir() else hub_complaint(model, error)
        if complaint is not None:
            raise RequestError(complaint) from error
        remedy = (
            f"; its files are damaged: install forecastcache again, or remake them with "
            f"python -m forecastcache.zoo.train {model.removeprefix(zoo.PREFIX)}"
        ) * model.startswith(zoo.PREFIX)
        raise RequestError(
            f"{model} cannot be loaded as a diffusers pipeline: {in_a_line(error)}{remedy}"
        ) from error
    return pipe.to(device)


def source_of(model: str, known: Sequence[str] = ()) -> str:
    """The folder or hub id that diffusers loads `model` from.

    Args:
        model: zoo name, folder or hub id.
        known: other names that would have been understood, for the error to list.

    Raises:
        UnknownNameError: no model has the name.
    """
    if model.startswith(zoo.PREFIX):
        return str(zoo.folder(model))
    if Path(model).is_dir():
        return model
    if model.count("/") != 1 or model.startswith(("/", ".", "~")):
        names = [*known, *(zoo.PREFIX + name for name in zoo.MODELS)]
        listed = ("one of " if len(names) > 1 else "") + ", ".join(names)
        raise UnknownNameError(
            f"no model is called {model!r}: write {listed}, a folder or a hub id (owner/name)"
        )
    return model


def in_a_line(error: Exception) -> str:
    """An error of somebody else's as its type and first line."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}"


def _pipeline_source(model: str) -> str:
    source = source_of(model)
    if Path(source).is_dir() and not (Path(source) / "model_index.json").is_file():
        raise RequestError(
            f"the folder {model} is no diffusers pipeline, it has no model_index.json: "
            "give a folder that DiffusionPipeline.save_pretrained wrote"
        )
    return source


def _require_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RequestError(f"device={device!r} cannot be used: {in_a_line(error)}") from error
