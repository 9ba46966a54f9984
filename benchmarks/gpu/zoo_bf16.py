"""The zoo's calibrations in bfloat16 on the device, and in float32 on the CPU that made them."""

from __future__ import annotations

import torch
from answer import Answer
from asked import Asked
from nearness import finals, forecast_finals, latent_psnr_db, loaded
from timing import seconds

import forecastcache as fc
from forecastcache import zoo

NEEDS = ("diffusers", "transformers", "sklearn", "scipy")
COMPUTED = 9


def main(asked: Asked, answer: Answer) -> None:
    torch.set_num_threads(1)  # more cost small models more than they give
    count = 2 if asked.tiny else 4
    models = ["flux-digits"] if asked.tiny else zoo.calibrated()
    places = [(asked.device, torch.bfloat16), ("cpu", torch.float32)]
    for name in models:
        longest = 1.0
        for device, dtype in places:
            named = f"{name}, {device}, {dtype}"
            with answer.trying(named):
                reason = asked.no_time_for(2 * longest)
                if reason:
                    answer.skip(named, reason)
                    continue
                row = near(zoo.PREFIX + name, device, dtype, count)
                longest = row["seconds_plain"] + row["seconds"]
                answer.row(**row)


def near(model: str, device: str, dtype: torch.dtype, count: int) -> dict[str, object]:
    """How near the calibration's run ends to a plain run of the same dtype on the same device."""
    pipe = loaded(model, device, dtype)
    parts = [fc.Request.of(model, count=count)]
    chosen = fc.Calibration.load(model).choose(COMPUTED)
    plain, found = [], []
    taken_plain = seconds(device, lambda: plain.extend(finals(pipe, parts)))
    taken = seconds(device, lambda: found.append(forecast_finals(pipe, parts, *chosen)))
    (forecast, warned), *_ = found
    return {
        "model": model,
        "device": device,
        "dtype": str(dtype).removeprefix("torch."),
        "prompts": count,
        "computed": len(chosen[0].steps),
        "latent_psnr_db": latent_psnr_db(forecast, plain),
        "seconds_plain": taken_plain,
        "seconds": taken,
        "warned": warned,
    }
