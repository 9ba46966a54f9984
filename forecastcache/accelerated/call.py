"""Call: what a pipeline was asked for, so that it can be asked the same again."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from forecastcache.calibration.lock_step import random_states, set_random_states

# What says how many samples are made, or how they are returned, and not how they are sampled.
BESIDE = frozenset(
    {"num_images_per_prompt", "num_videos_per_prompt", "batch_size", "return_dict", "output_type"}
)
REPEATS = ("num_images_per_prompt", "num_videos_per_prompt")
BATCHES = ("prompt", "class_labels", "prompt_embeds", "latents", "image")
LISTS_OF_NUMBERS = ("sigmas", "timesteps")
USUAL = 50  # steps, where a pipeline has no argument for them


@dataclass(frozen=True)
class Call:
    """One call of a pipeline, with the random numbers that it began with.

    Attributes:
        pipe: pipeline that was called.
        arguments: every argument by name, defaults included.
        generators: states of the generators that it was given, or of the device's own.
        world: states of the global generators, from which some pipelines take noise.
    """

    pipe: Any
    arguments: Mapping[str, Any]
    generators: Sequence[tuple[torch.device, Tensor]]
    world: Sequence[Tensor]

    @classmethod
    def of(cls, pipe: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """The call `pipe(*args, **kwargs)`, which is yet to be made.

        Raises:
            TypeError: the pipeline takes no such arguments.
        """
        signature = inspect.signature(pipe.__call__)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        for name, each in signature.parameters.items():
            if each.kind is each.VAR_KEYWORD:
                given |= given.pop(name)
        states = _states(given.get("generator"), pipe)
        return cls(pipe, given, states, random_states())

    @property
    def samples(self) -> int:
        """Number of samples that it makes."""
        given = self.arguments
        first = next((given[it] for it in BATCHES if given.get(it) is not None), None)
        count = len(first) if isinstance(first, (list, tuple, Tensor)) else 1
        if first is None:
            count = int(given.get("batch_size") or 1)
        for name in REPEATS:
            count *= int(given.get(name) or 1)
        return count

    @property
    def steps(self) -> int:
        """The number of steps that it asks for."""
        for name in LISTS_OF_NUMBERS:
            if self.arguments.get(name) is not None:
                return len(self.arguments[name])
        steps = self.arguments.get("num_inference_steps")
        return USUAL if steps is None else int(steps)

    @property
    def numbers(self) -> dict[str, Any]:
        """The arguments that say how samples are made, whatever is in them: ready for JSON."""
        found: dict[str, Any] = {
            name: value
            for name, value in self.arguments.items()
            if isinstance(value, (bool, int, float)) and name not in BESIDE
        }
        for name in LISTS_OF_NUMBERS:
            if self.arguments.get(name) is not None:
                found[name] = [float(it) for it in self.arguments[name]]
        if "negative_prompt" in self.arguments:
            found["negative_prompt"] = self.arguments["negative_prompt"] is not None
        return dict(sorted(found.items()))

    def made(self) -> Any:
        """Make it."""
        return self.pipe(**self.arguments)

    def again(self, pipe: Any, **changes: Any) -> Any:
        """Make it by a pipeline of the same kind, undecoded where that is possible.

        Args:
            pipe: the pipeline.
            changes: arguments that are other than they were.
        """
        given = {**self.arguments, **changes}
        if "output_type" in given:
            given["output_type"] = "latent"
        for name in given:
            if name.startswith("callback") and not name.endswith(("inputs", "steps")):
                given[name] = None
        if "generator" in given:
            several = isinstance(given["generator"], (list, tuple))
            found = [_generator(device, state) for device, state in self.generators]
            given["generator"] = found if several else found[0]
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            set_random_states(self.world)
            return pipe(**given)


def twin(pipe: Any) -> Any:
    """A pipeline of the same models with a scheduler of its own, which says nothing."""
    own = copy.copy(pipe)
    vars(own)["scheduler"] = copy.deepcopy(pipe.scheduler)
    if hasattr(own, "set_progress_bar_config"):
        own.set_progress_bar_config(disable=True)
    return own


def _states(given: Any, pipe: Any) -> list[tuple[torch.device, Tensor]]:
    """States of the generators that samples will be drawn from."""
    if given is None:
        device = torch.device(getattr(pipe, "_execution_device", None) or "cpu")
        return [(device, _global_state(device))]
    every = given if isinstance(given, (list, tuple)) else [given]
    return [(each.device, each.get_state()) for each in every]


def _global_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _generator(device: torch.device, state: Tensor) -> torch.Generator:
    found = torch.Generator(device)
    found.set_state(state)
    return found
