"""Fewer steps: the same model asked for fewer, by its own sampler or by a better one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from pydantic import Field

from forecastcache.baselines.baseline import Baseline
from forecastcache.evaluation.method import Applied
from forecastcache.sampling.request import Request


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


class FewerSteps(Baseline):
    """The same model, asked for fewer steps.

    Args:
        count: number of steps; None for a fifth of the plain run's.
        solver: `dpm++` (2M) or `unipc`; None for the pipeline's own.
    """

    count: Annotated[int, Field(ge=1)] | None = None
    solver: Literal["dpm++", "unipc"] | None = None
    speed: ClassVar = ("count",)

    @contextmanager
    def apply(self, pipe: Any, request: Request) -> Iterator[Applied]:
        own = pipe.scheduler
        if self.solver is not None:
            pipe.scheduler = _solver(self.solver, own)
        steps = self.count or max(1, request.steps // 5)
        try:
            yield Applied({"num_inference_steps": steps})
        finally:
            pipe.scheduler = own


def _solver(name: str, own: Any) -> Any:
    options: dict[str, Any] = {"solver_order": 2}
    if isinstance(own, FlowMatchEulerDiscreteScheduler):
        options |= {
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": own.config["shift"],
            "shift_terminal": None,  # Qwen-Image's costs UniPC 4 to 8 dB
        }
    return SOLVERS[name].from_config(own.config, **options)
