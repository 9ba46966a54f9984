"""Stands for ComfyUI: the calls that it makes around a model, written anew from reading it.

Each part names the file of ComfyUI whose calls it makes. What surrounds them there (memory,
hooks, masks, areas, previews) is left out.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


class WrappersMP:
    """comfy/patcher_extension.py: the kinds of wrappers, as far as they are used here."""

    OUTER_SAMPLE = "outer_sample"
    SAMPLER_SAMPLE = "sampler_sample"
    APPLY_MODEL = "apply_model"


class Executor:
    """comfy/patcher_extension.py, WrapperExecutor: what a wrapper calls to go on."""

    def __init__(self, original: Callable[..., Any], class_obj: object, wrappers: list) -> None:
        self.original, self.class_obj, self.wrappers = original, class_obj, wrappers

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Executor(self.original, self.class_obj, self.wrappers[1:]).execute(*args, **kwargs)

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if not self.wrappers:
            return self.original(*args, **kwargs)
        return self.wrappers[0](self, *args, **kwargs)


def wrapped(kind: str, original: Any, owner: object, options: dict[str, Any]) -> Executor:
    """comfy/patcher_extension.py: an executor with all wrappers of a kind, key after key."""
    found = options.get("wrappers", {}).get(kind, {})
    return Executor(original, owner, [each for key in found.values() for each in key])


def copied(nested: dict[Any, Any]) -> dict[Any, Any]:
    """comfy/patcher_extension.py, copy_nested_dicts: dicts and lists anew, the rest shared."""
    return {
        key: copied(it) if isinstance(it, dict) else it.copy() if isinstance(it, list) else it
        for key, it in nested.items()
    }


class ModelPatcher:
    """comfy/model_patcher.py: what a MODEL is. A clone shares the model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.wrappers: dict[str, dict[str, list]] = {}

    def clone(self) -> ModelPatcher:
        other = ModelPatcher(self.model)
        other.model_options, other.wrappers = copied(self.model_options), copied(self.wrappers)
        return other

    def add_wrapper_with_key(self, kind: str, key: str, wrapper: Any) -> None:
        self.wrappers.setdefault(kind, {}).setdefault(key, []).append(wrapper)

    def remove_wrappers_with_key(self, kind: str, key: str) -> None:
        self.wrappers.get(kind, {}).pop(key, None)


class Model:
    """comfy/model_base.py, BaseModel, around a small smooth network that counts its calls.

    Args:
        predicts: what the network predicts: `eps`, `v` or `flow`, as comfy/model_sampling.py has
            the denoised sample of each.
    """

    def __init__(self, predicts: str = "flow") -> None:
        self.predicts, self.calls = predicts, 0
        self.mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(3)) / 2

    def apply_model(
        self, x: Any, t: Any, c_concat: Any = None, c_crossattn: Any = None, control: Any = None,
        transformer_options: dict[str, Any] = {}, **kwargs: Any,  # noqa: B006
    ) -> Tensor:  # fmt: skip
        executor = wrapped(WrappersMP.APPLY_MODEL, self._apply_model, self, transformer_options)
        return executor.execute(
            x, t, c_concat, c_crossattn, control, transformer_options, **kwargs
        )

    def _apply_model(
        self, x: Any, t: Any, c_concat: Any = None, c_crossattn: Any = None, *args: Any
    ) -> Tensor:
        self.calls += 1
        return self.denoised(x, t, c_crossattn)

    def denoised(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        level = t.view(-1, 1, 1, 1)
        scaled = x if self.predicts == "flow" else x / (level**2 + 1) ** 0.5
        mixed = torch.einsum("oc,bchw->bohw", self.mix, scaled)
        output = torch.tanh(mixed + condition.view(-1, 4, 1, 1)) / (1 + 0.3 * level)
        if self.predicts == "v":
            return x / (level**2 + 1) - output * level / (level**2 + 1) ** 0.5
        return x - output * level


class CFGGuider:
    """comfy/samplers.py, CFGGuider: a run, from its outermost call to each call of the model.

    Args:
        patcher: model with its wrappers.
        together: whether the conditions of an evaluation come in one batch, asked with its number:
            ComfyUI decides by the memory that is free.
    """

    def __init__(self, patcher: ModelPatcher, together: Callable[[int], bool]) -> None:
        self.model_patcher, self.model_options = patcher, patcher.model_options
        self.together, self.cfg, self.evaluations = together, 1.0, 0

    def set_conds(self, positive: Sequence[Tensor], negative: Sequence[Tensor]) -> None:
        """comfy/sampler_helpers.py, convert_cond, gives each its uuid."""
        self.conds = [[(uuid.uuid4(), it) for it in each] for each in (positive, negative)]

    def sample(self, noise: Tensor, sampler: Any, sigmas: Tensor) -> Tensor:
        before, self.model_options = self.model_options, copied(self.model_options)
        # comfy/sampler_helpers.py, prepare_model_patcher
        options = self.model_options["transformer_options"]
        options["wrappers"] = copied(self.model_patcher.wrappers)
        try:
            executor = wrapped(WrappersMP.OUTER_SAMPLE, self.outer_sample, self, options)
            return executor.execute(
                noise, torch.zeros_like(noise), sampler, sigmas, None, None, True, 0,
                latent_shapes=[noise.shape],
            )  # fmt: skip
        finally:
            self.ended_with, self.model_options = self.model_options, before

    def outer_sample(
        self, noise: Any, latent_image: Any, sampler: Any, sigmas: Any, denoise_mask: Any = None,
        callback: Any = None, disable_pbar: Any = False, seed: Any = None,
        latent_shapes: Any = None,
    ) -> Tensor:  # fmt: skip
        self.inner_model = self.model_patcher.model
        return self.inner_sample(noise, latent_image, sampler, sigmas)

    def inner_sample(self, noise: Any, latent_image: Any, sampler: Any, sigmas: Any) -> Tensor:
        options = copied(self.model_options)
        options["transformer_options"]["sample_sigmas"] = sigmas
        extra = {"model_options": options, "seed": 0}
        executor = wrapped(
            WrappersMP.SAMPLER_SAMPLE, sampler, sampler, options["transformer_options"]
        )
        return executor.execute(self, sigmas, extra, None, noise, latent_image, None, True)

    def __call__(self, x: Tensor, timestep: Tensor, model_options: Any, seed: Any) -> Tensor:
        """outer_predict_noise, predict_noise and sampling_function."""
        out = self.calc_cond_batch(x, timestep, model_options)
        self.evaluations += 1
        return out[1] + (out[0] - out[1]) * self.cfg

    def calc_cond_batch(self, x: Tensor, timestep: Tensor, model_options: Any) -> list[Tensor]:
        """comfy/samplers.py, _calc_cond_batch: the last condition comes first in a batch."""
        waiting = [(place, *it) for place, each in enumerate(self.conds) for it in each]
        sums = [torch.zeros_like(x) for _ in self.conds]
        while waiting:
            batch = waiting[::-1] if self.together(self.evaluations) else waiting[:1]
            del waiting[: len(batch)]
            options = copied(model_options["transformer_options"])
            options["cond_or_uncond"] = [place for place, _, _ in batch]
            options["uuids"] = [name for _, name, _ in batch]
            options["sigmas"] = timestep
            repeated = torch.cat([it.expand(len(x), 4) for _, _, it in batch])
            given = {"c_crossattn": repeated, "transformer_options": options}
            made = self.inner_model.apply_model(
                torch.cat([x] * len(batch)), torch.cat([timestep] * len(batch)), **given
            ).chunk(len(batch))
            for (place, _, _), each in zip(batch, made):
                sums[place] += each
        return [total / len(each) for total, each in zip(sums, self.conds)]


class KSampler:
    """comfy/samplers.py, KSAMPLER, which is called as its `sample` here.

    Args:
        second_order: whether it evaluates again at the end of a step: comfy/k_diffusion/
            sampling.py has `sample_euler` and `sample_heun`.
        fails_at: number of a step that is interrupted.
    """

    def __init__(self, second_order: bool = False, fails_at: int | None = None) -> None:
        self.second_order, self.fails_at = second_order, fails_at

    def __call__(
        self, model_wrap: Any, sigmas: Tensor, extra: Any, callback: Any, noise: Tensor, *_: Any
    ) -> Tensor:
        x = noise * sigmas[0]
        ones = x.new_ones([len(x)])
        for i in range(len(sigmas) - 1):
            if i == self.fails_at:
                raise InterruptedError
            d = (x - model_wrap(x, sigmas[i] * ones, **extra)) / sigmas[i]
            after = x + d * (sigmas[i + 1] - sigmas[i])
            if self.second_order and sigmas[i + 1] > 0:
                again = (after - model_wrap(after, sigmas[i + 1] * ones, **extra)) / sigmas[i + 1]
                after = x + (d + again) / 2 * (sigmas[i + 1] - sigmas[i])
            x = after
        return x


def installed(monkeypatch: Any) -> None:
    """Let `import comfy.patcher_extension` find this."""
    comfy, extension = ModuleType("comfy"), ModuleType("comfy.patcher_extension")
    extension.WrappersMP = WrappersMP  # type: ignore[attr-defined]
    comfy.patcher_extension = extension  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy", comfy)
    monkeypatch.setitem(sys.modules, "comfy.patcher_extension", extension)
