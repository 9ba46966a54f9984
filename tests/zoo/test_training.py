from __future__ import annotations

import pytest
import torch
from torch import nn

from forecastcache.zoo import training


def stage(fail_at: int | None = None) -> training.Stage:
    torch.manual_seed(0)
    model, calls = nn.Linear(3, 1), 0

    def loss(generator: torch.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=generator)
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    return training.Stage("line", model, loss, steps=80, rate=0.1, decay=0.5)


def test_stopped_and_resumed_is_as_never_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    whole = stage()
    training.fit(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        training.fit(stage(fail_at=18), tmp_path / "parts")
    resumed = stage()
    seconds = training.fit(resumed, tmp_path / "parts")
    assert seconds > 0
    for a, b in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(a, b)
    assert len(torch.load(tmp_path / "parts" / "line.pt")["losses"]) == 80


def test_another_trainings_checkpoint_is_refused(tmp_path):
    training.fit(stage(), tmp_path, seed=0)
    with pytest.raises(training.CheckpointError, match="seed 0 and 80 steps, not of 1 and 80"):
        training.fit(stage(), tmp_path, seed=1)


def test_it_learns_and_ends_frozen(tmp_path):
    line = stage()
    training.fit(line, tmp_path)
    torch.testing.assert_close(line.model.weight, torch.ones(1, 3), atol=0.1, rtol=0)
    assert not line.model.training
    assert not line.model.weight.requires_grad
    assert (tmp_path / "line-loss.png").stat().st_size > 1000
