"""The caches that diffusers has built in: TaylorSeer, FirstBlockCache and FasterCache."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, ClassVar

import torch
from diffusers import FasterCacheConfig, FirstBlockCacheConfig, TaylorSeerCacheConfig
from pydantic import Field

from forecastcache.baselines.baseline import Baseline, calls_twice
from forecastcache.baselines.restore import lend_caches, restored
from forecastcache.engine.attach import denoisers
from forecastcache.errors import OptionError
from forecastcache.evaluation.method import Applied
from forecastcache.registry import adapter_for
from forecastcache.sampling.request import Request

# diffusers' own patterns, and what they miss: DiT's and Wan's attention, DiT's last layer.
ATTENTION = r"[^.]*blocks\..*attn[12]?"
BLOCKS = r"[^.]*block[^.]*\.[^.]+"
LAST = r"proj_out(_2)?"


class DiffusersCache(Baseline):
    """A cache of diffusers, on models that have no `enable_cache` too."""

    @abstractmethod
    def config(self, pipe: Any, model: Any, request: Request) -> Any:
        """What `enable_cache` takes, for this model.

        Raises:
            OptionError: the cache would do nothing.
        """

    @contextmanager
    def apply(self, pipe: Any, request: Request) -> Iterator[Applied]:
        models, _ = denoisers(pipe)
        with ExitStack() as stack:
            for model in models:
                stack.enter_context(restored(model))
                config = self.config(pipe, model, request)
                stack.enter_context(put_on(model, config))
            yield Applied()


@contextmanager
def put_on(model: Any, config: Any) -> Iterator[None]:
    """Enable a cache of diffusers, and leave nothing of it.

    Raises:
        OptionError: none of the model's parts took it.
    """
    with restored(model):
        lend_caches(model)
        forwards = [each.forward for each in _parts(model)]
        model.enable_cache(config)
        try:
            if forwards == [each.forward for each in _parts(model)]:
                raise OptionError(
                    f"it does nothing: diffusers finds no part of {type(model).__name__} that it "
                    "could cache"
                )
            yield
        finally:
            model.disable_cache()


def _parts(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [each for each in model.modules() if each is not model]


class TaylorSeer(DiffusersCache):
    """TaylorSeer as diffusers has it by default: attention is forecast, the rest is computed.

    Over 50 steps at interval 5 it computes 0 1 2 4 9 14 ... 49.

    Args:
        interval: steps from one computed step to the next.
        order: order of the Taylor series.
        first: number of leading steps that are computed; so is the one after the next.
        last: step from which on all are computed; None for none.
    """

    interval: Annotated[int, Field(ge=2)] = 5
    order: Annotated[int, Field(ge=0)] = 1
    first: Annotated[int, Field(ge=1)] = 3
    last: Annotated[int, Field(ge=1)] | None = None
    speed: ClassVar = ("interval", "first", "last")
    forecast: ClassVar[str] = ATTENTION
    skipped: ClassVar[Sequence[str]] = ()

    def check(self, total: int) -> None:
        end = total if self.last is None else min(self.last, total)
        if self.first >= end:
            raise OptionError(
                f"first={self.first} leaves no step to forecast before step {end}: lower it"
            )

    def config(self, pipe: Any, model: Any, request: Request) -> Any:
        for pattern in (self.forecast, *self.skipped):
            if not any(re.fullmatch(pattern, name) for name, _ in model.named_modules()):
                raise OptionError(
                    f"it does nothing: no part of {type(model).__name__} is called {pattern}"
                )
        return TaylorSeerCacheConfig(
            cache_interval=self.interval,
            max_order=self.order,
            disable_cache_before_step=self.first,
            disable_cache_after_step=self.last,
            taylor_factors_dtype=model.dtype,  # bfloat16 by default: a floor of 2e-3
            cache_identifiers=[self.forecast],
            skip_predict_identifiers=list(self.skipped) or None,
        )


class TaylorSeerLite(TaylorSeer):
    """TaylorSeer as diffusers' lite mode has it: the last layer's output, no block is run."""

    forecast: ClassVar[str] = LAST
    skipped: ClassVar[Sequence[str]] = (BLOCKS,)


class FirstBlock(DiffusersCache):
    """FirstBlockCache: the rest's residual is reused while the first block's hardly changes.

    Args:
        threshold: relative change of the first block's residual below which the rest is skipped.
    """

    threshold: Annotated[float, Field(gt=0)] = 0.05
    speed: ClassVar = ("threshold",)

    def config(self, pipe: Any, model: Any, request: Request) -> Any:
        return FirstBlockCacheConfig(threshold=self.threshold)


class FasterCache(DiffusersCache):
    """FasterCache: attention from its last two outputs, below timestep 681 of 1000.

    That half of it alone. The other one spares the unconditional part of a batch, but takes it for
    the first, which in DiT's is the conditional. All but attention runs, so about a tenth of the
    work is spared. It runs on DiT, FLUX and HunyuanVideo; the two calls of Qwen-Image's guidance
    would share one cache, so there it is refused.

    Args:
        skip: attention is computed in every `skip`-th step.
    """

    skip: Annotated[int, Field(ge=2)] = 2
    speed: ClassVar = ("skip",)

    def config(self, pipe: Any, model: Any, request: Request) -> Any:
        twice, adapter = calls_twice(pipe, request), adapter_for(model)
        if twice or (twice is None and adapter.trunk and adapter.guidance == "sequential"):
            raise OptionError(
                f"diffusers' FasterCache has one cache for both calls of a step, so "
                f"it mixes the two that guidance of {type(pipe).__name__} makes"
            )
        return FasterCacheConfig(
            spatial_attention_block_skip_range=self.skip,
            attention_weight_callback=lambda _: 0.5,  # its default, which it warns of
            current_timestep_callback=_timestep(pipe, model),
            tensor_format="BCHW",
            is_guidance_distilled=True,
        )


def _timestep(pipe: Any, model: Any) -> Callable[[], Any]:
    if hasattr(pipe, "current_timestep"):
        return lambda: pipe.current_timestep
    seen: list[Any] = []

    def see(module: Any, args: Any, kwargs: Any) -> None:
        seen[:] = [kwargs["timestep"].flatten()[0]]

    model.register_forward_pre_hook(see, with_kwargs=True)
    return lambda: seen[0]
