"""FiniteCheck: finds forecasts with NaN or infinity without waiting for the device at each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from forecastcache._util.nests import tensors_in
from forecastcache.step import Step


class FiniteCheck:
    """The forecasts of a trajectory whose values nobody has looked at yet.

    A forecast is reduced to its bounds on its device, behind the forecast itself. The bounds come
    to the host on their own and are read where the work before them is done.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all forecasts."""
        self._steps: list[Step] = []
        self._bounds: list[Tensor] = []
        self._arrived: torch.cuda.Event | None = None

    def watch(self, step: Step, output: Any) -> None:
        """Take note of the forecast output of a step."""
        for tensor in tensors_in(output):
            if not tensor.numel():
                continue
            bounds: tuple[Tensor, ...] = tensor.aminmax()
            if tensor.is_cuda:
                host = torch.empty(2, dtype=tensor.dtype, pin_memory=True)
                bounds = host.copy_(torch.stack(bounds), non_blocking=True).unbind()
                self._arrived = torch.cuda.Event()
                self._arrived.record()
            self._steps.append(step)
            self._bounds += bounds

    def first_failed(self, wait: bool = False) -> Step | None:
        """The first step whose forecast was not finite, as far as the device has come.

        Args:
            wait: wait for the device, to have heard of all of them.
        """
        if self._arrived is not None and not self._arrived.query():
            if not wait:
                return None
            self._arrived.synchronize()
        if not self._bounds:
            return None
        finite = torch.stack(self._bounds).isfinite().view(-1, 2).all(1).tolist()
        failed = next((step for step, fine in zip(self._steps, finite) if not fine), None)
        self.clear()
        return failed


def is_finite(output: Any) -> bool:
    """Whether a tensor, or every tensor of a nest, is finite; this waits for their device."""
    # Bounds are NaN where one value is, and are found in a single pass.
    bounds = [torch.stack(tensor.aminmax()) for tensor in tensors_in(output) if tensor.numel()]
    return all(bool(each.isfinite().all()) for each in bounds)
