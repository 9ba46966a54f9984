"""Request: what a pipeline is asked for, the same samples again and again."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from forecastcache import zoo
from forecastcache._util.out_of_memory import is_out_of_memory
from forecastcache.engine.attach import denoisers
from forecastcache.errors import ForecastCacheError, ForecastCacheWarning, RequestError
from forecastcache.sampling.loading import in_a_line
from forecastcache.sampling.noise import noise_seeded

SAID = 100  # words that a warning lists, at most
COUNT = 10  # samples where nothing says how many
NEGATIVE = ("negative_prompt", "negative_prompt_embeds")
STRIDE = 11  # through the classes: in the zoo's order of ten digits an ink, both change


@dataclass(frozen=True)
class Request:
    """What a pipeline is asked for.

    Attributes:
        steps: number of steps of every trajectory.
        seed: seed of the first sample; the next has seed + 1, and so on.
        count: number of samples; None for one a class or prompt, or 10.
        classes: labels or numbers, for a class-conditional pipeline.
        prompts: prompts, for a text-conditional pipeline.
        seeds: seeds of every sample; empty to count up from `seed`.
        guidance_scale: guidance scale, of true guidance where the pipeline has no other; None for
            the pipeline's own.
        call: further arguments of the pipeline's call.
    """

    steps: int = 50
    seed: int = 0
    count: int | None = None
    classes: Sequence[str] = ()
    prompts: Sequence[str] = ()
    seeds: Sequence[int] = ()
    guidance_scale: float | None = None
    call: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: str | Path,
        split: Literal["calibration", "held-out"] = "held-out",
        **fields: Any,
    ) -> Request:
        """A request with all that the zoo knows of `model`: how to call it, what to ask it.

        Where no number of steps is given, it is what the model was made for.

        A model that is asked in words and given none gets captions of `split`. Words that it does
        not know are named in a warning.
        """
        model = str(model)
        fields.setdefault("steps", zoo.usual_steps(model))
        if not model.startswith(zoo.PREFIX):
            return cls(**fields)
        entry = zoo.entry(model)
        request = cls(**{**fields, "call": {**entry.call, **fields.get("call", {})}})
        return request._in_words(model, split) if entry.words else request

    def _in_words(self, model: str, split: Literal["calibration", "held-out"]) -> Request:
        wording = zoo.words_of(model)
        if not self.prompts:
            generator = torch.Generator().manual_seed(self.seed)
            asked = wording.draw(split, self.count or COUNT, generator)
            return replace(self, prompts=asked)
        unknown = wording.unknown(self.prompts)
        if unknown:
            known = ", ".join(wording.vocabulary[:SAID])
            known += ", ..." if len(wording.vocabulary) > SAID else ""
            warnings.warn(
                f"{model} does not know {', '.join(map(repr, unknown))}: it reads them as unknown "
                f"words; it knows {known}",
                ForecastCacheWarning,
                stacklevel=3,
            )
        return self

    def arguments(self, pipe: Any) -> dict[str, Any]:
        """The keyword arguments of the pipeline's call, without the random generators.

        Raises:
            RequestError: the pipeline does not take what is asked, or needs what is not given.
        """
        takes = inspect.signature(pipe.__call__).parameters
        guidance = guidance_argument(pipe, takes, self.call)
        given = {
            "class_labels": self.classes,
            "prompt": self.prompts,
            guidance: self.guidance_scale,
            **self.call,
        }
        for name, value in given.items():
            if value not in ((), None) and name not in takes:
                raise RequestError(f"{type(pipe).__name__} takes no {name}: leave it out")
        arguments = {**self.call, "num_inference_steps": self.steps, "output_type": "np"}
        if self.guidance_scale is not None:
            arguments[guidance] = self.guidance_scale
        if "class_labels" in takes:
            arguments["class_labels"] = self._repeat(
                _class_ids(pipe, self.classes, self.count or COUNT)
            )
        elif "prompt" in takes:
            if not self.prompts:
                raise RequestError(
                    f"{type(pipe).__name__} needs prompts: give --prompts FILE, or in Python "
                    "prompts=[...]"
                )
            arguments["prompt"] = self._repeat(list(self.prompts))
        else:
            arguments["batch_size"] = self.count or COUNT
        negative = arguments.get("negative_prompt")
        if isinstance(negative, str) and "prompt" in arguments:
            arguments["negative_prompt"] = [negative] * len(arguments["prompt"])
        return arguments

    def split(self, pipe: Any, size: int) -> list[Request]:
        """This request in parts of at most `size` samples, which together ask for the same."""
        arguments = self.arguments(pipe)
        if "batch_size" in arguments:  # nothing is said of what is to be made
            count = arguments["batch_size"]
            seeds = self._seeds(count)
            starts = range(0, count, size)
            shares = [seeds[start : start + size] for start in starts]
            return [replace(self, count=len(share), seeds=share) for share in shares]
        classes = [str(number) for number in arguments.get("class_labels", ())]
        prompts = arguments.get("prompt", ())
        seeds = self._seeds(len(classes) + len(prompts))
        return [
            replace(
                self,
                count=None,
                seeds=seeds[start : start + size],
                classes=tuple(classes[start : start + size]),
                prompts=tuple(prompts[start : start + size]),
            )
            for start in range(0, len(classes) + len(prompts), size)
        ]

    @classmethod
    def joined(cls, parts: Sequence[Request]) -> Request:
        """One request of what `split` gave, or of some of it; the seeds stay."""
        unconditional = not (parts[0].classes or parts[0].prompts)
        return replace(
            parts[0],
            count=sum(map(len, parts)) if unconditional else None,
            classes=tuple(name for part in parts for name in part.classes),
            prompts=tuple(text for part in parts for text in part.prompts),
            seeds=tuple(seed for part in parts for seed in part.seeds),
        )

    def __len__(self) -> int:
        """Number of samples, counted as `arguments` counts them."""
        return self.count or len(self.classes) + len(self.prompts) or COUNT

    def guidance(self, pipe: Any) -> float | None:
        """The guidance scale that is asked for; None for the pipeline's own."""
        takes = inspect.signature(pipe.__call__).parameters
        name = guidance_argument(pipe, takes, self.call)
        scale: float | None = self.arguments(pipe).get(name)
        return scale

    @property
    def guidance_2(self) -> float | None:
        """The guidance scale that is asked for of a second model; None for that of the first."""
        scale: float | None = self.call.get("guidance_scale_2")
        return scale

    def sample(self, pipe: Any, **changes: Any) -> Tensor:
        """The samples in [0, 1], the same ones at every call.

        Pictures `(n, 3, h, w)`, or clips `(n, frames, 3, h, w)`.
        """
        name = type(pipe).__name__
        output = self._call(pipe, changes)
        samples = getattr(output, "images", getattr(output, "frames", None))
        if samples is None:
            raise RequestError(f"{name} returns neither images nor frames: nothing to compare")
        pictures = torch.from_numpy(samples).movedim(-1, -3).float()
        if not pictures.isfinite().all():
            raise RequestError(f"{name} made pictures with NaN or infinity: change what is asked")
        return pictures

    def run(self, pipe: Any, **changes: Any) -> None:
        """Sample for what is seen on the way; where the pipeline can, nothing is decoded."""
        self._call(pipe, {**changes, "output_type": "latent"})

    def keywords(self, pipe: Any) -> dict[str, Any]:
        """The keyword arguments of the pipeline's call, with a generator for each sample.

        Raises:
            RequestError: as `arguments`, or there are fewer seeds than samples.
        """
        arguments = self.arguments(pipe)
        count = len(arguments.get("class_labels", arguments.get("prompt", ()))) or int(
            arguments["batch_size"]
        )
        generators = [torch.Generator().manual_seed(seed) for seed in self._seeds(count)]
        return {**arguments, "generator": generators}

    def _call(self, pipe: Any, changes: Mapping[str, Any]) -> Any:
        keywords = {**self.keywords(pipe), **changes}
        with refusals_in_a_line(pipe), noise_seeded(pipe, keywords["generator"]):
            return pipe(**keywords)

    def _seeds(self, count: int) -> tuple[int, ...]:
        if not self.seeds:
            return tuple(range(self.seed, self.seed + count))
        if len(self.seeds) < count:
            raise RequestError(
                f"{len(self.seeds)} seeds are given for {count} pictures: give one for each"
            )
        return tuple(self.seeds[:count])

    def _repeat(self, conditions: list[Any]) -> list[Any]:
        count = self.count or len(conditions)
        return [conditions[i % len(conditions)] for i in range(count)]


@contextmanager
def refusals_in_a_line(pipe: Any) -> Iterator[None]:
    """Raise what a pipeline's call is refused with as an error that names the pipeline.

    Raises:
        RequestError: the call is refused.
    """
    try:
        yield
    except ForecastCacheError:
        raise
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        if is_out_of_memory(error):  # whose remedy is another
            raise
        name = type(pipe).__name__
        raise RequestError(f"{name} cannot be called so: {in_a_line(error)}") from error


def guidance_argument(pipe: Any, takes: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What the pipeline calls the guidance scale that a call goes by.

    Qwen-Image's takes two, and ignores one. FLUX's model is told one of two; asked for true
    guidance too, the pipeline combines its branches at the other.

    Args:
        pipe: pipeline.
        takes: what its call takes, by name.
        asked: arguments of a call.
    """
    if "true_cfg_scale" not in takes:
        return "guidance_scale"
    distilled = getattr(getattr(pipe, "transformer", None), "config", {}).get("guidance_embeds")
    negative = any(asked.get(name) is not None for name in NEGATIVE)
    combines = negative and (asked.get("true_cfg_scale") or 1.0) > 1
    return "true_cfg_scale" if combines or not distilled else "guidance_scale"


def _class_ids(pipe: Any, classes: Sequence[str], count: int) -> list[int]:
    labels: dict[str, int] = getattr(pipe, "labels", {})
    known = sorted(set(labels.values())) or list(range(_class_count(pipe)))
    if not classes:
        return [known[i * STRIDE % len(known)] for i in range(count)]
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
    (model, *_), _ = denoisers(pipe)
    for name in ("num_embeds_ada_norm", "num_class_embeds"):
        if getattr(model.config, name, None):
            return int(getattr(model.config, name))
    raise RequestError(f"{type(pipe).__name__} does not say how many classes it has")
