"""What `fc.accelerate` comes to on runs of few steps, beside fewer steps: docs/accelerate.md.

python benchmarks/few_steps.py [zoo:NAME]

After four pictures; all samples are of the calibration split.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffusers.utils import logging
from fidelity import Fidelity
from measure import record

import forecastcache as fc
from forecastcache import zoo
from forecastcache.baselines.solvers import FewerSteps
from forecastcache.calibration.fits import decibels
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

USUAL = ((28, 14), (20, 10), (8, 4), (4, 2))  # steps, and how many are computed
OF_FEW = ((8, 5), (8, 4), (8, 3))  # of a model that was made for few
PICTURES, SAMPLES = 4, 16
SEED, OTHER_SEED = 1000, 5000
CONVERGED = 200  # steps
SOLVERS = (None, "dpm++", "unipc")


def rows(model: str) -> list[dict[str, Any]]:
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    found = []
    few = zoo.usual_steps(model) < zoo.STEPS
    for steps, count in OF_FEW if few else USUAL:
        asked: dict[str, Any] = {"split": "calibration", "steps": steps}
        judge = Fidelity(pipe, Request.of(model, seed=OTHER_SEED, count=SAMPLES, **asked), SAMPLES)
        learned = Request.of(model, seed=SEED, count=PICTURES, **asked)
        near = {"accelerate": judge.psnr(*chosen(pipe, learned, count))}
        near["variable-order"] = judge.psnr(fc.Warped(count), fc.VariableOrder())
        for solver in SOLVERS:
            with FewerSteps(count=count, solver=solver).apply(pipe, judge.request) as applied:
                near[f"fewer steps, {solver or 'own sampler'}"] = other(judge, **applied.changes)
        near[f"plain, to {CONVERGED} steps"] = other(judge, num_inference_steps=CONVERGED)
        figures = {what: round(psnr, 2) for what, psnr in near.items()}
        found.append({"model": model, "steps": steps, "count": count, **figures})
        print(found[-1], flush=True)
    return found


def chosen(pipe: Any, request: Request, count: int) -> Any:
    """Schedule and rows after the pictures of a request."""
    with TemporaryDirectory() as folder:
        fast = fc.accelerate(
            pipe, computed=count, pictures=PICTURES, folder=folder, progress=False
        )
        for part in request.split(pipe, 1):
            fast(**part.keywords(pipe))
        file = Path(folder) / "learned"
        fast.save(file)
        return fc.Calibration.load(file).choose(count)


def other(judge: Fidelity, **changes: Any) -> float:
    """Latent PSNR in dB of runs with other arguments to the plain ones."""
    with trajectory_of(judge.pipe, judge.count) as trajectory:
        judge.request.run(judge.pipe, **changes)
    errors = (trajectory.samples[-1] - judge.plain).double().square().flatten(1).mean(1)
    return sum(map(decibels, errors.tolist())) / judge.count


if __name__ == "__main__":
    logging.set_verbosity_error()
    (name,) = sys.argv[1:] or ["zoo:flux-digits"]
    record(f"few_steps-{name.removeprefix(zoo.PREFIX)}", rows(name))
