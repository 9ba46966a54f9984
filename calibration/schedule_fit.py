"""Fit schedules that decide as they run: what their rules must know of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from forecastcache._util.progress import Progress, silent
from forecastcache.adapter import Adapter, Trunk
from forecastcache.engine.attach import attach, denoisers
from forecastcache.engine.probe import IMAGE_STREAM
from forecastcache.engine.streams import Streams
from forecastcache.errors import CalibrationError
from forecastcache.predictors.reuse import Reuse
from forecastcache.sampling.request import Request
from forecastcache.schedule import Every, Schedule, Signal, State
from forecastcache.schedules.adaptive import relative_change
from forecastcache.schedules.magcache import MagnitudeAware
from forecastcache.schedules.teacache import TeaCache
from forecastcache.spec import parse_schedule
from forecastcache.step import Step

DEGREE = 4  # of TeaCache's polynomial, as in its code


def fit_schedule(
    pipe: Any, request: Request, schedule: Schedule | str, *, progress: Progress = silent
) -> Schedule:
    """The schedule with what its rule must know of the model, measured in plain runs.

    TeaCache's polynomial takes a change of the modulated input to one of the output, MagCache's
    ratios are those of what the blocks add. Other schedules know nothing of the model and are
    given back as they are.

        schedule = fc.fit_schedule(pipe, fc.Request(prompts=PROMPTS), "magcache:threshold=0.1")

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: calibration samples, each run by itself; 5 to 10 will do.
        schedule: the schedule, an object or its spec.
        progress: called with (stage, done, of) after every sample.

    Raises:
        CalibrationError: the runs do not show what is to be measured.
        AttachError: the adapter of the model does not name what the rule looks at.
    """
    schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    if isinstance(schedule, TeaCache):
        found: dict[str, Any] = {"coefficients": _polynomial(pipe, request, progress)}
    elif isinstance(schedule, MagnitudeAware):
        found = {"ratios": _magnitude_ratios(pipe, request, progress)}
    else:
        return schedule
    return type(schedule)(**{**schedule.model_dump(), **found})


class _Changes(Schedule):
    """Computes all, and notes how much the modulated input and the output change in a step.

    The output of a step is seen at the next one, so that of the last is not.
    """

    _pairs: list[tuple[float, float]] = PrivateAttr(default_factory=list)

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"modulated", "output"})

    def compute(self, step: Step, state: State) -> bool:
        memory = state.memory
        now, output = state.modulated_embedding(), state.computed_output
        if "output" in memory and output is not None:
            self._pairs.append((memory["change"], relative_change(output, memory["output"])))
        if "modulated" in memory:
            memory["change"] = relative_change(now, memory["modulated"])
            memory["output"] = output
        memory["modulated"] = now
        return True


def _polynomial(pipe: Any, request: Request, progress: Progress) -> tuple[float, ...]:
    """Coefficients of least squares from a change of the input to one of the output."""
    changes = _Changes()
    parts = request.split(pipe, 1)
    for done, part in enumerate(parts, 1):
        with attach(pipe, changes, Reuse()):
            part.run(pipe)
        progress("changes", done, len(parts))
    pairs = np.array(changes._pairs).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(1)]
    if len({*pairs[:, 0].tolist()}) <= DEGREE:
        raise CalibrationError(
            f"{request.steps} steps show {len(pairs)} changes, too few for a polynomial of degree "
            f"{DEGREE}: ask for more steps"
        )
    found = np.polyfit(pairs[:, 0], pairs[:, 1], DEGREE)
    return tuple(float(f"{each:.8g}") for each in found)


def _magnitude_ratios(pipe: Any, request: Request, progress: Progress) -> tuple[float, ...]:
    """Mean |r_t| / |r_{t-1}| over tokens, samples and branches; 1 at the first step."""
    models, _ = denoisers(pipe)
    sums, counts = np.zeros(request.steps), np.zeros(request.steps)
    parts = request.split(pipe, 1)
    for done, part in enumerate(parts, 1):
        with ExitStack() as stack:
            session = stack.enter_context(attach(pipe, Every(1), Reuse()))
            sizes: list[Tensor] = []
            for model in models:
                stack.enter_context(_sizes_of_residuals(model, session.adapter, sizes))
            part.run(pipe)
            calls = session.calls
        if len(calls) != len(sizes):
            raise CalibrationError(
                f"the blocks ran {len(sizes)} times in {len(calls)} calls of "
                f"{type(models[0]).__name__}: its residual cannot be measured"
            )
        before: dict[int, Tensor] = {}
        for call, size in zip(calls, sizes, strict=True):
            known = before.get(call.branch)
            before[call.branch] = size
            if known is not None and known.shape == size.shape:
                sums[call.step.index] += float((size / (known + 1e-8)).mean())
                counts[call.step.index] += 1
        progress("residuals", done, len(parts))
    ratios = np.where(counts > 0, sums / counts.clip(1), 1.0)
    return tuple(ratios.round(5).tolist())


@contextmanager
def _sizes_of_residuals(model: nn.Module, adapter: Adapter, sizes: list[Tensor]) -> Iterator[None]:
    """Add to `sizes`, at each call, the norm of what the blocks add to each token."""
    (first, before), (last, after) = _ends(model, adapter)
    given: list[Tensor] = []

    def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
        given[:] = [_image(Streams(first, before.streams).read(args, kwargs), before)]

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        made = _image([output] if isinstance(output, Tensor) else list(output), after)
        tokens = given[0].shape[-2]
        residual = made[..., -tokens:, :].float() - given[0].float()  # the image comes last
        sizes.append(torch.linalg.vector_norm(residual, dim=-1).cpu())

    hooks = [
        first.register_forward_pre_hook(enter, with_kwargs=True),
        last.register_forward_hook(leave),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _ends(
    model: nn.Module, adapter: Adapter
) -> tuple[tuple[nn.Module, Trunk], tuple[nn.Module, Trunk]]:
    """The first block and the last, each with its list."""
    blocks = [
        (block, trunk)
        for trunk in adapter.trunks(model)
        for block in model.get_submodule(trunk.path).children()
    ]
    if not blocks:
        raise CalibrationError(
            f"the adapter {adapter.name!r} names no blocks, whose residual magcache is about: use "
            "a schedule that does not need it, or register an Adapter with a trunk"
        )
    return blocks[0], blocks[-1]


def _image(streams: list[Any], trunk: Trunk) -> Tensor:
    names = trunk.streams
    found: Tensor = streams[names.index(IMAGE_STREAM) if IMAGE_STREAM in names else 0]
    return found
