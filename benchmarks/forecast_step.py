"""What a forecast step costs beside a computed one, on a DiT of 50 ms a step or more.

Must hold at `output`: a forecast step under 1 % of a computed one, and a whole pipeline call at
least 0.97 of its ceiling (steps / computed steps) faster. Random weights: cost knows no content.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from measure import paired, record

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


def main() -> None:
    pipe = pipeline()

    def sample() -> None:
        pipe([1], num_inference_steps=50, generator=torch.Generator().manual_seed(0))

    rows = []
    for site in ("output", "hidden", "block", "module"):
        sessions: list[fc.Session] = []

        def forecast(site: str = site, sessions: list[fc.Session] = sessions) -> None:
            with fc.attach(pipe, fc.Every(5, first=3), fc.Taylor(order=1), site=site) as session:
                sample()
            sessions.append(session)

        _, _, speedup = paired(sample, forecast, PAIRS)
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
            }
        )
    record("forecast_step", rows)


if __name__ == "__main__":
    main()
