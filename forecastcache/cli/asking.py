"""Asking: the pipeline of a command, and what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from forecastcache.cli.console import plainly_warned, quiet_libraries
from forecastcache.cli.place import place_for
from forecastcache.cli.verbosity import is_verbose, note
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.calibration.distributed import ProcessGroup
    from forecastcache.sampling.request import Request


def load_and_ask(
    model: str,
    device: str | None,
    dtype: str | None,
    fields: Sequence[dict[str, Any]],
    group: ProcessGroup | None = None,
    **split: Any,
) -> tuple[Any, list[Request]]:
    """The pipeline and its requests; a warning about what is asked gets one line.

    Args:
        model: name of the model.
        device: name of its device; None to choose.
        dtype: name of its dtype; None to choose.
        fields: fields of each request.
        group: processes that share the work, each on a device of its own; None for one.
        split: the split that prompts are drawn from, as `Request.of` takes it.
    """
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    import torch

    from forecastcache.sampling.loading import load
    from forecastcache.sampling.request import Request

    quiet_libraries()
    place = place_for(model, device, dtype)
    with plainly_warned():
        requests = [Request.of(model, **split, **each) for each in fields]
    where = place.device if group is None else group.device(place.device)
    pipe = load(model, where, getattr(torch, place.dtype))
    if place.told and (group is None or group.is_main):
        note(place.told)  # not before: a model that is refused gets one line
    for request, each in zip(requests, fields):
        _require_effect(pipe, request, each)
    return pipe, requests


def show_sampling(pipe: Any, quiet: bool) -> None:
    """Have each call of a pipeline draw a bar that goes away, on terminals alone."""
    name = "sampling"
    pipe.set_progress_bar_config(disable=True if quiet else None, leave=is_verbose(), desc=name)


def _require_effect(pipe: Any, request: Request, fields: dict[str, Any]) -> None:
    """Refuse a negative prompt that the pipeline would take and ignore.

    Raises:
        OptionError: its true guidance is off.
    """
    if "negative_prompt" not in fields.get("call", {}):
        return
    import inspect

    from forecastcache.sampling.request import guidance_argument

    takes = inspect.signature(pipe.__call__).parameters
    if "true_cfg_scale" not in takes:
        return
    usual = takes["true_cfg_scale"].default
    scale = request.arguments(pipe).get("true_cfg_scale", usual)
    if guidance_argument(pipe, takes, request.call) == "guidance_scale" or (scale or 1.0) <= 1:
        raise OptionError(
            f"--negative-prompt has no effect on {type(pipe).__name__} at true_cfg_scale 1: leave "
            'it out, or give "true_cfg_scale" in the lines of a --prompts file, .jsonl'
        )
