"""What a forecast step costs beside a computed one, on a DiT of 50 ms a step or more.

Must hold: a forecast step at `output` under 1 % of a computed one, and a whole pipeline call at
least 0.98 of its ceiling (steps / computed steps) faster at `output`, 0.95 at `hidden`. Beside it
stands the model's share of the call, without the pipeline's scheduler and decoder. Random weights:
cost knows no content.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from measure import paired, record
from torch import nn

import forecastcache as fc

PAIRS = 5


def pipeline() -> DiTPipeline:
    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=6,
        attention_head_dim=64,
        out_channels=4,
        num_layers=12,
        sample_size=32,
    ).eval()
    vae = AutoencoderKL(block_out_channels=(8,), latent_channels=4, norm_num_groups=4)
    pipe = DiTPipeline(transformer, vae.eval(), DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    return pipe


class ModelSeconds:
    """Seconds spent in a model, whoever answers its calls."""

    def __init__(self, model: nn.Module) -> None:
        self._spent = self._started = 0.0
        model.register_forward_pre_hook(lambda *_: self._start())
        model.register_forward_hook(lambda *_: self._stop())

    def _start(self) -> None:
        self._started = perf_counter()

    def _stop(self) -> None:
        self._spent += perf_counter() - self._started

    def taken(self) -> float:
        """Seconds since this was asked last."""
        spent, self._spent = self._spent, 0.0
        return spent


def main() -> None:
    pipe = pipeline()
    spent = ModelSeconds(pipe.transformer)
    plain: list[float] = []

    def sample_plain() -> None:
        spent.taken()
        sample()
        plain.append(spent.taken())

    def sample() -> None:
        pipe([1], num_inference_steps=50, generator=torch.Generator().manual_seed(0))

    rows = []
    for site in ("output", "hidden", "block", "module"):
        sessions: list[fc.Session] = []
        attached: list[float] = []
        plain.clear()

        def forecast(
            site: str = site,
            sessions: list[fc.Session] = sessions,
            attached: list[float] = attached,
        ) -> None:
            with fc.attach(pipe, fc.Every(5, first=3), fc.Taylor(order=1), site=site) as session:
                spent.taken()
                sample()
                attached.append(spent.taken())
            sessions.append(session)

        _, _, speedup = paired(sample_plain, forecast, PAIRS)
        of_model = median(a / b for a, b in zip(plain, attached, strict=True))
        report = sessions[-1].report()
        computed = report.seconds(was_computed=True)
        filled_in = report.seconds(was_computed=False)
        rows.append(
            {
                "site": site,
                "computed_ms": round(computed * 1e3, 2),
                "forecast_ms": round(filled_in * 1e3, 3),
                "forecast_to_computed": round(filled_in / computed, 5),
                "speedup": round(speedup, 3),
                "ceiling": round(report.ceiling, 3),
                "speedup_to_ceiling": round(speedup / report.ceiling, 3),
                "of_the_model_to_ceiling": round(of_model / report.ceiling, 3),
            }
        )
    record("forecast_step", rows)


if __name__ == "__main__":
    main()
