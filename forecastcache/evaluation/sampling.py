"""Loading a pipeline and asking it for the same pictures again and again."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from forecastcache.errors import ForecastCacheError
from forecastcache.source import source_of

COUNT = 10  # pictures where nothing says how many
STRIDE = 11  # through the classes: in the zoo's order of ten digits an ink, both change


class RequestError(ForecastCacheError, ValueError):
    """A pipeline cannot be loaded, or cannot be asked for this."""


def load(model: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """A pipeline by zoo name, folder or hub id.

    Raises:
        UnknownNameError: nothing is called so.
        RequestError: the folder or hub entry is no pipeline, or the device is not there.
    """
    _require_device(device)
    source = _source(model)
    try:
        pipe = DiffusionPipeline.from_pretrained(source, dtype=dtype)
    except Exception as error:  # diffusers raises of every kind, from bad JSON to missing packages
        raise RequestError(
            f"{model} cannot be loaded as a diffusers pipeline: {_reason(error)}"
        ) from error
    return pipe.to(device)


def _source(model: str) -> str:
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
        raise RequestError(f"device={device!r} cannot be used: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}"


@dataclass(frozen=True)
class Request:
    """What a pipeline is asked for.

    Attributes:
        steps: of every trajectory.
        seed: of the first picture; the next has seed + 1, and so on.
        count: pictures; None for one a class or prompt, or 10.
        classes: labels or numbers, for a class-conditional pipeline.
        prompts: for a text-conditional one.
        guidance_scale: None for the pipeline's own.
    """

    steps: int = 50
    seed: int = 0
    count: int | None = None
    classes: Sequence[str] = ()
    prompts: Sequence[str] = ()
    guidance_scale: float | None = None

    def arguments(self, pipe: Any) -> dict[str, Any]:
        """The keyword arguments of the pipeline's call, without the random generators.

        Raises:
            RequestError: the pipeline does not take what is asked, or needs what is not given.
        """
        takes = inspect.signature(pipe.__call__).parameters
        given = {
            "class_labels": self.classes,
            "prompt": self.prompts,
            "guidance_scale": self.guidance_scale,
        }
        for name, value in given.items():
            if value not in ((), None) and name not in takes:
                raise RequestError(f"{type(pipe).__name__} takes no {name}: leave it out")
        arguments: dict[str, Any] = {"num_inference_steps": self.steps, "output_type": "np"}
        if self.guidance_scale is not None:
            arguments["guidance_scale"] = self.guidance_scale
        if "class_labels" in takes:
            arguments["class_labels"] = self._repeat(_class_ids(pipe, self.classes))
        elif "prompt" in takes:
            if not self.prompts:
                raise RequestError(f"{type(pipe).__name__} needs prompts: give --prompts FILE")
            arguments["prompt"] = self._repeat(list(self.prompts))
        else:
            arguments["batch_size"] = self.count or COUNT
        return arguments

    def sample(self, pipe: Any, **changes: Any) -> Tensor:
        """The pictures, `(n, 3, h, w)` in [0, 1], the same ones at every call."""
        arguments = self.arguments(pipe) | changes
        count = len(arguments.get("class_labels", arguments.get("prompt", ()))) or int(
            arguments["batch_size"]
        )
        seeds = range(self.seed, self.seed + count)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        name = type(pipe).__name__
        try:
            output = pipe(**arguments, generator=generators)
        except ForecastCacheError:
            raise
        except (ValueError, TypeError) as error:
            raise RequestError(f"{name} cannot be called so: {_reason(error)}") from error
        if not hasattr(output, "images"):
            raise RequestError(f"{name} returns no images, which are all that is compared here")
        pictures = torch.from_numpy(output.images).permute(0, 3, 1, 2).float()
        if not pictures.isfinite().all():
            raise RequestError(f"{name} made pictures with NaN or infinity: change what is asked")
        return pictures

    def _repeat(self, conditions: list[Any]) -> list[Any]:
        count = self.count or len(conditions)
        return [conditions[i % len(conditions)] for i in range(count)]


def _class_ids(pipe: Any, classes: Sequence[str]) -> list[int]:
    labels: dict[str, int] = getattr(pipe, "labels", {})
    known = sorted(set(labels.values())) or list(range(_class_count(pipe)))
    if not classes:
        return [known[i * STRIDE % len(known)] for i in range(COUNT)]
    ids = []
    for name in classes:
        number = labels.get(name, int(name) if name.isdecimal() else -1)
        if number not in known:
            shown = ", ".join(list(labels)[:3])
            raise RequestError(
                f"{name!r} is no class of this model: write a number from {known[0]} to "
                f"{known[-1]}" + (f", or a label such as {shown}" if labels else "")
            )
        ids.append(number)
    return ids


def _class_count(pipe: Any) -> int:
    model = getattr(pipe, "transformer", None) or pipe.unet
    for name in ("num_embeds_ada_norm", "num_class_embeds"):
        if getattr(model.config, name, None):
            return int(getattr(model.config, name))
    raise RequestError(f"{type(pipe).__name__} does not say how many classes it has")
