"""Place: the device and the dtype of a model, where they are not said."""

from __future__ import annotations

from typing import NamedTuple

from forecastcache import zoo
from forecastcache.cli.options import AUTO


class Hardware(NamedTuple):
    """Where a model runs.

    Attributes:
        device: name of the device.
        dtype: name of the dtype.
        told: what to tell of a choice that nobody made; empty where there was none.
    """

    device: str
    dtype: str
    told: str = ""


def place_for(model: str, device: str | None, dtype: str | None) -> Hardware:
    """The device and dtype of a model: the best that this machine has, where none is said.

    Models of the zoo run as their figures were measured, in float32 on the CPU, unless asked.

    Args:
        model: name of the model.
        device: name of the device, `auto`, or None where nothing is said.
        dtype: name of the dtype, `auto`, or None where nothing is said.
    """
    ours = model.startswith(zoo.PREFIX)
    device = device or ("cpu" if ours else AUTO)
    dtype = dtype or ("float32" if ours else AUTO)
    said = {"--device": device, "--dtype": dtype}
    chosen = [option for option, value in said.items() if value == AUTO]
    if device == AUTO:
        device = _best_device()
    if dtype == AUTO:
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    told = f"{model} runs on {device} in {dtype}: {' and '.join(chosen)} choose otherwise"
    return Hardware(device, dtype, told if chosen else "")


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
