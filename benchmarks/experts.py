"""Two experts as Wan 2.2 has them, in one trajectory: docs/calibration.md.

Two small Wan transformers, trained on handwritten digits here and now, since the zoo has none.

python benchmarks/experts.py
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import diffusers
import numpy as np
import torch
from diffusers.utils import logging
from fidelity import Fidelity
from measure import record
from torch import Tensor, nn
from torch.nn import functional as F

import forecastcache as fc
from forecastcache.calibration import rolling
from forecastcache.sampling.request import Request
from forecastcache.zoo import data

BOUNDARY, SHIFT, STEPS = 0.875, 3.0, 40  # of Wan2.2-T2V-A14B
SCALES = {"guidance_scale": 4.0, "guidance_scale_2": 3.0}  # of its card
SIDE, WIDTH, WORDS = 8, 16, 4
TOGETHER, APART = 800, 400  # optimiser steps
BATCH, DROPPED = 32, 0.12
CALIBRATED, JUDGED = 8, 16
COUNTS, TRIES = (5, 7, 10), 12
Range = tuple[float, float]


def transformer() -> nn.Module:
    torch.manual_seed(0)
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, in_channels=1,
        out_channels=1, text_dim=WIDTH, freq_dim=32, ffn_dim=128, num_layers=3,
        rope_max_seq_len=32,
    )  # fmt: skip


def words(digits: Sequence[int]) -> Tensor:
    """What stands for the text of a prompt, `(n, tokens, width)`; of -1 for no text."""
    known = torch.randn(11, WORDS, WIDTH, generator=torch.Generator().manual_seed(1))
    return known[torch.tensor(digits)]


def train(model: nn.Module, noise: Range, steps: int, seed: int) -> None:
    """Flow matching at noise levels of a range."""
    scans = data.scans("train")
    small = F.interpolate(scans.ink[:, None], (SIDE, SIDE), mode="area") * 2 - 1
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    low, high = (sigma / (SHIFT - (SHIFT - 1) * sigma) for sigma in noise)
    for _ in range(steps):
        drawn = torch.randint(len(small), (BATCH,), generator=generator)
        even = low + (high - low) * torch.rand(BATCH, generator=generator)
        sigma = SHIFT * even / (1 + (SHIFT - 1) * even)
        latent, clean = torch.randn(BATCH, 1, 1, SIDE, SIDE, generator=generator), small[drawn]
        dropped = torch.rand(BATCH, generator=generator) < DROPPED
        said = words(torch.where(dropped, -1, scans.digit[drawn]).tolist())
        noisy = torch.lerp(clean[:, :, None], latent, sigma.view(-1, 1, 1, 1, 1))
        answer = model(noisy, timestep=1000 * sigma, encoder_hidden_states=said).sample
        optimiser.zero_grad()
        F.mse_loss(answer, latent - clean[:, :, None]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
    model.eval().requires_grad_(False)


def experts() -> tuple[nn.Module, nn.Module]:
    """One network trained at all noise levels, then each of two copies at its own."""
    first = transformer()
    train(first, (0.0, 1.0), TOGETHER, seed=0)
    second = copy.deepcopy(first).requires_grad_(True)
    train(first.requires_grad_(True), (BOUNDARY, 1.0), APART, seed=1)
    train(second, (0.0, BOUNDARY), APART, seed=2)
    return first, second


def pipeline(first: nn.Module, second: nn.Module) -> Any:
    pipe = diffusers.WanPipeline(
        tokenizer=None, text_encoder=None, vae=None, transformer=first, transformer_2=second,
        boundary_ratio=BOUNDARY,
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
        ),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.encode_prompt = lambda prompt, **_: (
        words([*map(data.DIGITS.index, prompt)]),
        words([-1] * len(prompt)),
    )
    return pipe


def request(seed: int, count: int) -> Request:
    return Request(
        steps=STEPS, seed=seed, prompts=data.DIGITS, count=count,
        guidance_scale=SCALES["guidance_scale"],
        call={"height": 8 * SIDE, "width": 8 * SIDE, "num_frames": 1,
              "guidance_scale_2": SCALES["guidance_scale_2"]},
    )  # fmt: skip


def own_alone(switch: int) -> type[rolling._RowFitter]:
    """Rows that read what their own expert computed, and nothing else."""

    class OwnAlone(rolling._RowFitter):
        def _solve(self, computed: list[int], step: int) -> np.ndarray:
            own = [c for c in computed if (c < switch) == (step < switch)]
            return np.append(np.zeros(len(computed) - len(own)), super()._solve(own, step))

    return OwnAlone


class TaylorOfOwn(fc.LinearPredictor):
    """Taylor of order 1 that begins anew where the second expert takes over."""

    switch: int

    @property
    def depth(self) -> int:
        return 2

    def weights(self, computed: Sequence[fc.Step], target: fc.Step) -> np.ndarray:
        own = [c for c in computed if (c.index < self.switch) == (target.index < self.switch)]
        row = fc.Taylor(order=1).row(own, target)
        return np.append(np.zeros(len(computed) - len(own)), row)


def with_switch(steps: Sequence[int], switch: int) -> fc.Listed:
    """The same number of steps, the nearest one moved to where the second expert takes over."""
    nearest = min(steps[1:], key=lambda step: abs(step - switch))
    return fc.Listed(sorted({*steps} - {nearest} | {switch}))


def rows(pipe: Any, count: int, switch: int, judge: Fidelity) -> list[dict[str, Any]]:
    """Figures at the default warp and at the steps found, also with the switch computed."""
    warp, found = fc.Warped(count), calibrated(pipe, f"search:{count}").choose(count)[0]
    moved = with_switch(found.computed(STEPS), switch)
    schedules = {"warp": warp, "found": found, "found, switch computed": moved}
    made = []
    for chosen, schedule in schedules.items():
        computed = schedule.computed(STEPS)
        row: dict[str, Any] = {
            "count": count,
            "chosen": chosen,
            "steps": " ".join(map(str, computed)),
            "taylor_db": judge.psnr(schedule, fc.Taylor(order=1)),
            "rows_db": judge.psnr(*calibrated(pipe, schedule).choose(len(computed))),
        }
        if switch in computed:
            row["taylor_own_db"] = judge.psnr(schedule, TaylorOfOwn(switch=switch))
            with patch.object(rolling, "_RowFitter", own_alone(switch)):
                own = calibrated(pipe, schedule)
            row["rows_own_db"] = judge.psnr(*own.choose(len(computed)))
        print(row, flush=True)
        made.append(row)
    return made


def calibrated(pipe: Any, schedule: fc.Schedule | str) -> fc.Calibration:
    asked = request(1000, CALIBRATED)
    return fc.calibrate(pipe, asked, schedules=[schedule], tries=TRIES, refine=False)


def main() -> None:
    logging.set_verbosity_error()
    pipe = pipeline(*experts())
    pipe.scheduler.set_timesteps(STEPS)
    switch = int((pipe.scheduler.timesteps >= 1000 * BOUNDARY).sum())
    judge = Fidelity(pipe, request(2000, JUDGED), JUDGED)
    found = [row for count in COUNTS for row in rows(pipe, count, switch, judge)]
    record("experts", found, switch=f"{switch} of {STEPS} steps are of the first expert")


if __name__ == "__main__":
    main()
