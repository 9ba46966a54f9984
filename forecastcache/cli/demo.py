"""forecastcache demo: a pipeline of the zoo that learns from four pictures, and then is fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from forecastcache.bounds import MOST
from forecastcache.cli.asking import load_and_ask
from forecastcache.cli.console import plainly_warned
from forecastcache.cli.options import RunOutOption
from forecastcache.cli.outputs import require_folder
from forecastcache.cli.panels import what

if TYPE_CHECKING:
    from torch import Tensor

    from forecastcache.sampling.request import Request

MODEL = "zoo:flux-emoji"
SPEEDUP = 5
LEARNED = 4  # pictures

ShownOption = Annotated[
    int,
    what(min=1, max=MOST["samples"], help="Number of pictures after the first four."),
]
StepsOfDemoOption = Annotated[
    int, what(min=10, max=MOST["steps"], help="Number of denoising steps.")
]


def demo_command(
    count: ShownOption = 6,
    steps: StepsOfDemoOption = 50,
    out: RunOutOption = Path("forecastcache-demo"),
) -> None:
    """Show what fc.accelerate(pipe, speedup=5) does, on a small FLUX."""
    sheet = out / "demo.png"
    require_folder("--out", out, sheet.name)
    from forecastcache.sampling.request import Request

    pipe, (shown,) = load_and_ask(MODEL, "cpu", "float32", [{"steps": steps, "count": count}])
    learned = Request.of(MODEL, split="calibration", seed=1000, steps=steps, count=LEARNED)
    pipe.set_progress_bar_config(disable=True)
    _tell(pipe, learned, shown, sheet)


def _tell(pipe: Any, learned: Request, shown: Request, sheet: Path) -> None:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.accelerated.accelerate import accelerate
    from forecastcache.evaluation.captions import captions
    from forecastcache.evaluation.pictures import contact_sheet
    from forecastcache.metrics.psnr import psnr

    with TemporaryDirectory() as folder, plainly_warned():
        print(f"pipe = fc.load({MODEL!r})\nfast = fc.accelerate(pipe, speedup={SPEEDUP})")
        fast = accelerate(pipe, SPEEDUP, folder=folder)
        print(f"\n{len(learned)} pictures, plain, to learn from; it fits after the last:")
        _made(fast, pipe, learned)
        print(f"  {fast.summary().fit_seconds or 0:5.2f} s  of the last for the fit")
        print(f"\n{len(shown)} pictures of other prompts, accelerated:")
        samples = _made(fast, pipe, shown)
        print("\nthe same pictures, plain, to compare:")
        plain = _made(pipe, pipe, shown)
        print(f"\nprint(fast.summary())\n{fast.summary()}")
        near, summary = psnr(samples, plain), fast.summary()
    contact_sheet(
        plain,
        samples,
        title=f"{MODEL}: {len(summary.computed)} of {summary.steps} steps computed",
        caption=f"learned from {len(learned)} pictures; samples: PSNR {near:.1f} dB",
        path=sheet,
        captions=captions(pipe, shown),
    )
    print(sheet)


def _made(make: Callable[..., Any], pipe: Any, request: Request) -> Tensor:
    """The pictures of a request, `(n, 3, h, w)`, one call each; tells how long each took.

    Args:
        make: the pipeline, or what stands for it.
        pipe: the pipeline.
        request: the pictures.
    """
    import torch

    pictures = []
    for part in request.split(pipe, 1):
        started = perf_counter()
        pictures.append(torch.from_numpy(make(**part.keywords(pipe)).images))
        print(f"  {perf_counter() - started:5.2f} s  {' '.join(part.prompts)}", flush=True)
    return torch.cat(pictures).movedim(-1, -3)
