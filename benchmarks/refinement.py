"""How far a refinement of four pictures may go: what they tell of it, and what comes of it.

python benchmarks/refinement.py [zoo:NAME ...]

Rows are fitted to four pictures and refined at several dampings. What the linear model says of
each picture by the three others is put beside the gain on 32 others of the calibration split.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from diffusers.utils import logging
from fidelity import Fidelity
from measure import record

import forecastcache as fc
from forecastcache.accelerated.call import Call
from forecastcache.accelerated.learning import Learning
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.refine import Linearised, gain, least_squares, shifted
from forecastcache.calibration.subset import Subset
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

MODELS = ("zoo:flux-digits", "zoo:qwen-digits", "zoo:dit-digits", "zoo:hunyuan-digits")
COUNTS = (5, 9, 12)
PICTURES, OTHERS = 4, 32
DAMPINGS = (1e-3, 0.1, 1.0, 10.0, 100.0)


def rows(model: str) -> Iterator[dict[str, Any]]:
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(model, "calibration", count=OTHERS, seed=2000)
    others = Fidelity(pipe, request, OTHERS)
    fitter = _fitter(pipe, Request.of(model, "calibration", count=PICTURES, seed=1000))
    best = {len(fit.computed): fit.computed for fit in Calibration.load(model).fits[::-1]}
    for count in COUNTS:
        rolled = fitter.rolls.fitted(best[count])
        schedule = fc.Listed(rolled.computed)
        before = others.psnr(schedule, fc.Learned(rolled.rows))
        line = Linearised(fitter.rolls, rolled)
        normals = line.normals(rolled.final, fitter.numbers)
        for damping in DAMPINGS:
            by = least_squares(normals.sum(0), damping, line.ways)
            after = others.psnr(schedule, fc.Learned(shifted(rolled.rows, line.ways, by.tolist())))
            left_out = [
                gain(own, least_squares(normals.sum(0) - own, damping, line.ways))
                for own in normals
            ]
            spread = float(np.std(left_out, ddof=1)) / len(left_out) ** 0.5
            yield {
                "model": model, "count": count, "damping": damping,
                "unrefined_latent_psnr_db": round(before, 2),
                "gain_on_others_db": round(after - before, 2),
                "gain_told_by_those_left_out_db": round(float(np.mean(left_out)), 2),
                "standard_error_db": round(spread, 2),
            }  # fmt: skip


def _fitter(pipe: Any, request: Request) -> SizeFitter:
    learning = Learning(pipe, Subset())
    for part in request.split(pipe, 1):
        call = Call.of(pipe, (), part.keywords(pipe))
        learning.record(call, call.made)
    assert learning.recording is not None
    return learning._fitter(learning.recording)


def main() -> None:
    logging.set_verbosity_error()
    found = []
    for model in sys.argv[1:] or MODELS:
        for row in rows(model):
            found.append(row)
            record("refinement", found)


if __name__ == "__main__":
    main()
