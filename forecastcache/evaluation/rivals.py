"""Rivals: what else makes a pipeline faster, under its own best-known settings."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers import (
    DPMSolverMultistepScheduler,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    TaylorSeerCacheConfig,
    UniPCMultistepScheduler,
)

from forecastcache.attachment import denoisers
from forecastcache.errors import ForecastCacheError, OptionError, UnknownNameError
from forecastcache.evaluation.entries import Applied, Entry


class DPMSolver(DPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM++ for pipelines that hand every scheduler noise levels, which it sets by itself."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        steps = len(sigmas) if num_inference_steps is None else num_inference_steps
        super().set_timesteps(steps, device, mu=mu)


SOLVERS = {"dpm++": DPMSolver, "unipc": UniPCMultistepScheduler}


@dataclass(frozen=True)
class FewerSteps:
    """The same model, asked for fewer steps.

    Attributes:
        name: as it was asked for.
        steps: that it is asked for.
        solver: `dpm++` (2M) or `unipc`; None for the pipeline's own.
    """

    name: str
    steps: int
    solver: str | None = None
    kind: str = "rival"

    @contextmanager
    def on(self, pipe: Any) -> Iterator[Applied]:
        own = pipe.scheduler
        if self.solver is not None:
            pipe.scheduler = _solver(self.solver, own)
        try:
            yield Applied({"num_inference_steps": self.steps})
        finally:
            pipe.scheduler = own


def _solver(name: str, own: Any) -> Any:
    options: dict[str, Any] = {"solver_order": 2}
    if isinstance(own, FlowMatchEulerDiscreteScheduler):
        options |= {
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": own.config["shift"],
        }
    return SOLVERS[name].from_config(own.config, **options)


@dataclass(frozen=True)
class DiffusersCache:
    """A cache that diffusers has built in.

    Attributes:
        name: as it was asked for.
        config: as `enable_cache` takes it.
    """

    name: str
    config: Any
    kind: str = "rival"

    @contextmanager
    def on(self, pipe: Any) -> Iterator[Applied]:
        models, _ = denoisers(pipe)
        model: Any = models[0]
        if not hasattr(model, "enable_cache"):
            raise OptionError(f"diffusers has no cache for {type(model).__name__}")
        if hasattr(self.config, "taylor_factors_dtype"):  # bfloat16 by default: a floor of 2e-3
            self.config.taylor_factors_dtype = model.dtype
        model.enable_cache(self.config)
        try:
            yield Applied()
        finally:
            model.disable_cache()


@dataclass(frozen=True)
class CacheDiT:
    """cache-dit's DBCache with its TaylorSeer, at computed steps that are given.

    It leaves forwards of its own on some models, FLUX for one: have it run last.

    Attributes:
        name: as it was asked for.
        computed: the steps.
        total: steps of a trajectory.
        order: of the Taylor series.
    """

    name: str
    computed: tuple[int, ...]
    total: int
    order: int = 1
    kind: str = "rival"

    @contextmanager
    def on(self, pipe: Any) -> Iterator[Applied]:
        import cache_dit
        from cache_dit import DBCacheConfig, TaylorSeerCalibratorConfig

        mask = [int(step in self.computed) for step in range(self.total)]
        leading = next((i for i, step in enumerate(self.computed) if step != i), self.total)
        config = DBCacheConfig(
            Fn_compute_blocks=1,
            Bn_compute_blocks=0,
            max_warmup_steps=leading,
            steps_computation_mask=mask,
            steps_computation_policy="static",
            num_inference_steps=self.total,
        )
        series = TaylorSeerCalibratorConfig(taylorseer_order=self.order)
        heard = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it tells of every block that it touches
        try:
            cache_dit.enable_cache(pipe, cache_config=config, calibrator_config=series)
            yield Applied()
        finally:
            cache_dit.disable_cache(pipe)
            logging.disable(heard)


def _taylorseer(spec: str, options: Mapping[str, str], total: int) -> Entry:
    config = TaylorSeerCacheConfig(
        cache_interval=int(options.get("interval", 5)),
        disable_cache_before_step=int(options.get("first", 3)),
        max_order=int(options.get("order", 1)),
        use_lite_mode=spec.startswith("taylorseer-lite"),
    )
    return DiffusersCache(spec, config)


def _first_block(spec: str, options: Mapping[str, str], total: int) -> Entry:
    return DiffusersCache(spec, FirstBlockCacheConfig(float(options.get("threshold", 0.05))))


def _steps(spec: str, options: Mapping[str, str], total: int) -> Entry:
    solver = options.get("solver")
    if solver is not None and solver not in SOLVERS:
        known = ", ".join(SOLVERS)
        raise UnknownNameError(f"solver {solver!r} is not known: write one of {known}")
    return FewerSteps(spec, int(options.get("count", max(1, total // 5))), solver)


def _cache_dit(spec: str, options: Mapping[str, str], total: int) -> Entry:
    if importlib.util.find_spec("cache_dit") is None:
        raise OptionError("cache-dit is not installed: pip install 'forecastcache[peers]'")
    interval = int(options.get("interval", 7))
    first = int(options.get("first", 4))  # its first differences exist from the fourth step on
    computed = (*range(first), *range(first - 1 + interval, total, interval))
    return CacheDiT(spec, computed, total, int(options.get("order", 1)))


RIVALS: dict[str, Callable[[str, Mapping[str, str], int], Entry]] = {
    "steps": _steps,
    "taylorseer": _taylorseer,
    "taylorseer-lite": _taylorseer,
    "first-block": _first_block,
    "cache-dit": _cache_dit,
}
OPTIONS = {
    "steps": ("count", "solver"),
    "taylorseer": ("interval", "order", "first"),
    "taylorseer-lite": ("interval", "order", "first"),
    "first-block": ("threshold",),
    "cache-dit": ("interval", "order", "first"),
}


def rival(spec: str, total: int) -> Entry:
    """The rival of a spec such as `steps:count=12,solver=unipc` or `taylorseer:interval=5`.

    Args:
        spec: a name, and options if any.
        total: steps of the plain run.

    Raises:
        UnknownNameError: nothing is called so.
        OptionError: it has no such option, the value is no number, or it is not installed.
    """
    name, _, rest = spec.partition(":")
    if name not in RIVALS:
        raise UnknownNameError(f"no rival is called {name!r}: write one of {', '.join(RIVALS)}")
    options = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    unknown = [option for option in options if option not in OPTIONS[name]]
    if unknown:
        raise OptionError(
            f"{name} has no option {unknown[0]!r}; it takes {', '.join(OPTIONS[name])}"
        )
    try:
        return RIVALS[name](spec, options, total)
    except ForecastCacheError:
        raise
    except ValueError as error:
        raise OptionError(f"{spec} is no rival: {error}") from None
