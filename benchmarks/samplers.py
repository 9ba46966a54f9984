"""Rows fitted in closed loop under other samplers, beside Taylor 1: docs/calibration.md.

python benchmarks/samplers.py [SAMPLER ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
from diffusers.utils import logging
from fidelity import Fidelity
from measure import record

import forecastcache as fc
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

CALIBRATED, JUDGED = 8, 16  # prompts, all of the calibration split
NINE = fc.Warped(9)
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}

Change = Callable[[Any], Any]


def by(name: str, **config: Any) -> Change:
    """The scheduler of this class, with the configuration of the one that a pipeline has."""
    return lambda old: getattr(diffusers, name).from_config(old.config, **config)


SAMPLERS: dict[str, dict[str, Change]] = {
    "zoo:flux-digits": {
        "Euler": by("FlowMatchEulerDiscreteScheduler"),
        "DPM++ 2M": by("DPMSolverMultistepScheduler", **FLOW),
        "UniPC": by("UniPCMultistepScheduler", **FLOW),
        "Euler-ancestral": by("LTXEulerAncestralRFScheduler"),
        "Euler, stochastic": by("FlowMatchEulerDiscreteScheduler", stochastic_sampling=True),
    },
    "zoo:dit-digits": {
        "DDIM": by("DDIMScheduler"),
        "DEIS": by("DEISMultistepScheduler"),
        "DPM++ 2M SDE": by("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
        "DDPM": by("DDPMScheduler"),
    },
}
# It is told the last noise level, 0, and shifts none.
CALLS = {"Euler-ancestral": {"sigmas": [*np.linspace(1, 1 / 50, 50).tolist(), 0.0]}}


def rows(model: str, samplers: dict[str, Change]) -> list[dict[str, Any]]:
    """Figures of each sampler on one model, each against its own plain run."""
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    own, found = pipe.scheduler, []
    for sampler, change in samplers.items():
        pipe.scheduler = change(own)
        call = CALLS.get(sampler, {})
        asked, judge = (
            Request.of(model, split="calibration", count=count, seed=seed, call=call)
            for count, seed in ((CALIBRATED, 1000), (JUDGED, 2000))
        )
        made = fc.calibrate(pipe, asked, schedules=[NINE], refine=False)
        refined = fc.calibrate(pipe, asked, schedules=[NINE])
        judged = Fidelity(pipe, judge, JUDGED)
        found.append(
            {"model": model, "sampler": sampler,
             "missed": made.recording.motion.missed,
             "taylor_latent_psnr_db": judged.psnr(NINE, fc.Taylor(order=1)),
             "closed_latent_psnr_db": judged.psnr(*made.choose(9)),
             "refined_latent_psnr_db": judged.psnr(*refined.choose(9))}
        )  # fmt: skip
        print(found[-1], flush=True)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Figures by sampler, for docs/calibration.md."""
    lines = ["| model | sampler | residual | Taylor 1 | closed loop | refined |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    lines += [
        f"| `{row['model']}` | {row['sampler']} | {row['missed']:.0e} "
        f"| {row['taylor_latent_psnr_db']:.1f} | {row['closed_latent_psnr_db']:.1f} "
        f"| {row['refined_latent_psnr_db']:.1f} |"
        for row in found
    ]
    return "\n".join(lines)


def main() -> None:
    logging.set_verbosity_error()
    found: list[dict[str, Any]] = []
    for model, samplers in SAMPLERS.items():
        asked = {name: it for name, it in samplers.items() if name in (sys.argv[1:] or samplers)}
        found += rows(model, asked)
    print(table(found))
    if not sys.argv[1:]:
        record("samplers", found)


if __name__ == "__main__":
    main()
