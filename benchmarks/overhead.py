"""What the session costs in Python: microseconds of a forecast step, beside the sum itself.

The model costs nothing, so what a step takes is the session and the weighted sum; the sum alone is
timed beside it, in turn. At `output` a step is one site; at `module` it is 57 blocks of two.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import torch
from measure import record
from torch import Tensor, nn

import forecastcache as fc
from forecastcache.adapter import Trunk

BLOCKS, STEPS, RUNS = 57, 200, 9
SHAPE = (1, 16, 8)


class _Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.ones(SHAPE)

    def forward(self, sample: Tensor) -> Tensor:
        return self.answer


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.ff = _Constant(), _Constant()

    def forward(self, sample: Tensor) -> Tensor:
        self.attn(sample)
        return self.ff(sample)


class Costless(nn.Module):
    """As many modules as FLUX has, of no cost."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block() for _ in range(BLOCKS))

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor
    ) -> tuple[Tensor]:
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return (hidden_states,)


class _Scheduler:
    """Tells the steps of a run as FlowMatchEulerDiscreteScheduler does."""

    order, begin_index = 1, None

    def __init__(self) -> None:
        self.set_timesteps()

    def set_timesteps(self) -> None:
        self.timesteps = torch.linspace(1, 1 / STEPS, STEPS)
        self.sigmas = torch.linspace(1, 0, STEPS + 1)
        self.step_index: int | None = None

    def step(self) -> None:
        self.step_index = (self.step_index or 0) + 1


class Pipeline:
    """Calls its model once a step, and nothing else."""

    def __init__(self) -> None:
        self.transformer, self.scheduler = Costless().eval(), _Scheduler()
        self.sample, self.prompt = torch.zeros(SHAPE), torch.ones(1, 4, 8)

    @torch.no_grad()
    def seconds(self) -> list[float]:
        """Of each step."""
        self.scheduler.set_timesteps()
        taken = []
        for time in self.scheduler.timesteps:
            asked = {"hidden_states": self.sample, "timestep": time.expand(1)}
            started = perf_counter()
            self.transformer(**asked, encoder_hidden_states=self.prompt)
            taken.append(perf_counter() - started)
            self.scheduler.step()
        return taken


def sum_alone(predictor: fc.LinearPredictor, features: int) -> float:
    """Seconds that the forecasts of a step take when nothing is around them."""
    histories = [fc.History(predictor.depth) for _ in range(features)]
    steps = [fc.Step(i, 1 - i / STEPS) for i in range(2)]
    for history in histories:
        for step in steps:
            history.observe(step, torch.ones(SHAPE))
    taken = []
    for index in range(2, STEPS):
        started = perf_counter()
        forecaster = predictor.prepare(steps, fc.Step(index, 1 - index / STEPS))
        forecaster.at_all(histories)
        taken.append(perf_counter() - started)
    return median(taken)


def main() -> None:
    fc.register_adapter(
        fc.Adapter(
            name="costless",
            models=(f"{Costless.__module__}.Costless",),
            trunk=(Trunk(path="blocks", streams=("sample",), modules=("attn", "ff")),),
        )
    )
    pipe, predictor, rows = Pipeline(), fc.Taylor(1), []
    for site, features in (("output", 1), ("module", 2 * BLOCKS)):
        beyond, step, plain, alone = [], [], [], []
        for _ in range(RUNS):
            plain.append(median(pipe.seconds()))
            with fc.attach(pipe, fc.Listed([0, 1]), predictor, site=site):
                step.append(median(pipe.seconds()[2:-1]))
            alone.append(sum_alone(predictor, features))
            passed = plain[-1] if site == "module" else 0.0
            beyond.append((step[-1] - alone[-1] - passed) / features)
        rows.append(
            {
                "site": site,
                "features": features,
                "step_us": round(median(step) * 1e6, 1),
                "plain_us": round(median(plain) * 1e6, 1),
                "sum_alone_us": round(median(alone) * 1e6, 1),
                "beyond_us_a_feature": round(median(beyond) * 1e6, 1),
            }
        )
    record("overhead", rows)


if __name__ == "__main__":
    main()
