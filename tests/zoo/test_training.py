from __future__ import annotations

from dataclasses import replace

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
    machine, took = next(iter(seconds.items()))
    assert machine == f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)
    saved = torch.load(tmp_path / "parts" / "line.pt")["seconds"][machine]
    assert 0 < saved <= took
    assert training.fit(stage(), tmp_path / "parts")[machine] > saved  # what came before is kept
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


def test_an_open_end_may_be_moved_and_the_rate_falls_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "WARM_UP", 4)
    rates: list[float] = []
    step = training._State.step

    def noted(state):
        rates.append(state.optimiser.param_groups[0]["lr"])
        step(state)

    monkeypatch.setattr(training._State, "step", noted)
    far = replace(stage(fail_at=31), steps=1000, open_ended=True)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        training.fit(far, tmp_path)
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert training.asked_before(far, tmp_path) == 1000
    rates.clear()
    near = replace(stage(), steps=40, open_ended=True)
    training.fit(near, tmp_path)
    # The first rate was set before the end was moved; six steps are the last 15 % of 40.
    assert rates == pytest.approx([0.1] * 5 + [0.1 * left / 6 for left in (5, 4, 3, 2, 1)])
    assert training.asked_before(near, tmp_path) == 40
    with pytest.raises(training.CheckpointError, match="taken 40 steps already, 20 are too few"):
        training.fit(replace(near, steps=20), tmp_path)


def test_what_a_checkpoint_holds_can_be_taken_without_training(tmp_path, monkeypatch):
    with pytest.raises(training.CheckpointError, match="line.pt is not there"):
        training.fit(stage(), tmp_path, more=False)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    with pytest.raises(KeyboardInterrupt):
        training.fit(stage(fail_at=18), tmp_path)
    taken = stage(fail_at=1)
    training.fit(taken, tmp_path, more=False)
    saved = torch.load(tmp_path / "line.pt")
    assert len(saved["losses"]) == 15
    assert torch.equal(taken.model.weight, saved["average"]["module.weight"])


def test_where_no_bar_is_seen_the_log_says_how_far_it_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 40)
    with caplog.at_level("INFO", "forecastcache"):
        training.fit(stage(), tmp_path)
    said = [it.message for it in caplog.records]
    assert [it.split(", loss")[0] for it in said] == ["line: step 40 of 80", "line: step 80 of 80"]
    assert said[-1].endswith("0.0 to go")
