"""Muon: orthogonal steps for matrices, AdamW's for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forecastcache.zoo.muon import Muon, muon, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 12), (2, 12, 4)])
def test_singular_values_become_about_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.5  # what five iterations make of the smallest
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    # The same singular vectors: the product with the polar factor is symmetric.
    product = orthogonal(matrices) @ (left @ right).mT
    torch.testing.assert_close(product, product.mT, atol=0.02, rtol=0)


def test_the_rest_moves_as_by_adamw():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    optimisers = (
        Muon([], ours.parameters(), 0.1),
        torch.optim.AdamW(theirs.parameters(), 0.1, betas=(0.9, 0.99), weight_decay=0.01),
    )
    for _ in range(5):
        x = torch.randn(4, 3)
        for model, optimiser in zip((ours, theirs), optimisers):
            optimiser.zero_grad()
            model(x).square().mean().backward()
            optimiser.step()
    torch.testing.assert_close(ours.weight, theirs.weight, atol=1e-5, rtol=1e-4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [nn.ModuleDict({"mlp": nn.Linear(4, 4), "norm": nn.Linear(4, 4)})]
        )
        self.head = nn.Linear(4, 4)


def test_blocks_go_to_muon_and_their_modulations_do_not():
    model = Block()
    chosen, others = (group["params"] for group in muon(model, 0.1).param_groups)
    assert [id(it) for it in chosen] == [id(model.blocks[0]["mlp"].weight)]
    assert len(others) == 5


def test_saved_and_loaded_it_goes_on_as_before():
    def trained(steps: int, state: dict | None = None, model: nn.Module | None = None):
        torch.manual_seed(0)
        model = model or nn.Linear(4, 4)
        optimiser = Muon([model.weight], [model.bias], 0.05)
        if state:
            optimiser.load_state_dict(state)
        for _ in range(steps):
            optimiser.zero_grad()
            (model(torch.eye(4)) - torch.arange(16.0).view(4, 4)).square().sum().backward()
            optimiser.step()
        return model, optimiser.state_dict()

    whole, _ = trained(6)
    part, state = trained(3)
    part, _ = trained(3, state, part)
    assert torch.equal(whole.weight, part.weight)
    assert torch.equal(whole.bias, part.bias)
