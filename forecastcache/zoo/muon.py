"""Muon, an optimiser that learns more from a sample than AdamW, for transformers.

A matrix moves by its momentum made orthogonal: all singular values become about 1, by five
Newton-Schulz iterations. torch has it for matrices alone and in bfloat16, which a CPU without
bfloat16 arithmetic does slowly; this one is float32 and moves the other parameters by AdamW.

Reference: Jordan, Muon: an optimizer for hidden layers (2024); the scale of a step is that of Liu
et al., Muon is scalable for LLM training (2502.16982), equation 4, so that both share one rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.99)
EPSILON = 1e-8
DECAY = 0.01  # of weights
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest.

    Args:
        matrices: parameters of two dimensions to be moved by Muon.
        others: the other parameters.
        rate: learning rate.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter], rate: float
    ) -> None:
        groups = [{"params": list(matrices), "orthogonal": True}]
        groups += [{"params": list(others), "orthogonal": False}]
        super().__init__(groups, {"lr": rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [it for it in group["params"] if it.grad is not None]
            if not moved:
                continue
            gradients = [it.grad for it in moved]
            change = self._orthogonal if group["orthogonal"] else self._adam
            changes = change([self.state[it] for it in moved], gradients)
            torch._foreach_mul_(moved, 1 - group["lr"] * DECAY)
            torch._foreach_sub_(moved, changes, alpha=group["lr"])

    def _orthogonal(self, states: list[dict[str, Any]], gradients: list[Tensor]) -> list[Tensor]:
        for state, gradient in zip(states, gradients):
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
        momenta = [it["momentum"] for it in states]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for i, gradient in enumerate(gradients):
            alike[gradient.shape].append(i)
        changes: dict[int, Tensor] = {}
        for shape, numbers in alike.items():
            turned = orthogonal(torch.stack([ahead[i] for i in numbers]))
            changes.update(zip(numbers, (0.2 * max(shape) ** 0.5 * turned).unbind()))
        return [changes[i] for i in range(len(gradients))]

    def _adam(self, states: list[dict[str, Any]], gradients: list[Tensor]) -> list[Tensor]:
        for state, gradient in zip(states, gradients):
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = (torch.zeros_like(gradient) for _ in range(2))
            state["step"] += 1
        means, squares = ([it[name] for it in states] for name in ("mean", "square"))
        torch._foreach_lerp_(means, gradients, 1 - BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - BETAS[1])
        first, second = ([1 - beta ** it["step"] for it in states] for beta in BETAS)
        deviations = torch._foreach_sqrt(torch._foreach_div(squares, second))
        torch._foreach_add_(deviations, EPSILON)
        return list(torch._foreach_div(torch._foreach_div(means, first), deviations))


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices `(n, rows, columns)` whose singular values are about 1 (0.7 to 1.2)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def muon(model: nn.Module, rate: float) -> Muon:
    """Muon for what the blocks of a transformer multiply tokens with, AdamW for all else."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inside = "blocks." in name and ".norm" not in name and parameter.dim() == 2
        (matrices if inside else others).append(parameter)
    return Muon(matrices, others, rate)
