"""Flow matching and guidance distillation, on a network that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import torch
from diffusers.models.normalization import AdaLayerNormZero
from torch import nn

from forecastcache.zoo import flow


class Line(nn.Module):
    """A velocity that depends on the caption and the guidance scale alone."""

    def __init__(self) -> None:
        super().__init__()
        self.said = nn.Parameter(torch.zeros(2))
        self.pull = nn.Parameter(torch.zeros(()))

    def forward(self, noisy, said, scale):
        answer = self.said[said] + self.pull * (scale - 1)
        return SimpleNamespace(sample=answer.view(-1, 1).expand_as(noisy))


def batch(generator):
    return torch.full((64, 3), 2.0), ["seven"] * 64


def matching(model, levels=None, heard=None, shift=1.0, empty=""):
    """Flow matching that notes the noise levels and captions which it asks for."""
    levels, heard = [] if levels is None else levels, [] if heard is None else heard

    def encode(texts):
        heard.extend(texts)
        return (torch.tensor([int(text not in ("", " ")) for text in texts]),)

    def arguments(sigma, scale, said):
        levels.append(sigma)
        return {"said": said, "scale": scale}

    return flow.FlowMatching(model, encode, arguments, batch, shift, empty)


def test_it_learns_the_velocity_from_data_to_noise(tmp_path):
    model = Line()
    stage = matching(model).match(1)
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    for step in range(200):
        loss = stage.loss(stage.draw(torch.Generator().manual_seed(step)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # E(noise - data) = -2, with and without the caption.
    torch.testing.assert_close(model.said.detach(), torch.full((2,), -2.0), atol=0.2, rtol=0)


def test_guidance_is_distilled_from_the_model_itself():
    model = Line()
    with torch.no_grad():
        model.said.copy_(torch.tensor([1.0, 3.0]))
    stage = matching(model).distil(1)
    optimiser = torch.optim.SGD([model.pull], 0.05)
    for step in range(100):
        loss = stage.loss(stage.draw(torch.Generator().manual_seed(step)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # 1 + w (3 - 1) = 3 + 2 (w - 1)
    torch.testing.assert_close(model.pull.detach(), torch.tensor(2.0), atol=0.02, rtol=0)


def test_a_student_that_serves_true_guidance_too_hears_empty_captions():
    heard: list[str] = []
    stage = replace(matching(Line(), heard=heard), unguided=0.25).distil(1)
    for step in range(60):
        stage.loss(stage.draw(torch.Generator().manual_seed(step)))
    # In each step: the teacher's captions, its empty ones, and the student's.
    asked = torch.tensor([text == "" for text in heard]).view(60, 3, 64)
    assert asked[:, 1].all()
    assert torch.equal(asked[:, 0], asked[:, 2])
    assert abs(asked[:, 2].float().mean().item() - 0.25) < 0.02


def test_the_shift_moves_noise_levels_as_the_sampler_does():
    levels = []
    stage = matching(Line(), levels=levels, shift=3.0).match(1)
    for step in range(200):
        stage.loss(stage.draw(torch.Generator().manual_seed(step)))
    # Half of them lie above 3 * 0.5 / (1 + 2 * 0.5).
    assert abs(torch.cat(levels).median().item() - 0.75) < 0.01


def test_captions_are_dropped_now_and_then():
    heard: list[str] = []
    stage = matching(Line(), heard=heard, empty=" ").match(1)
    for step in range(100):
        stage.loss(stage.draw(torch.Generator().manual_seed(step)))
    share = heard.count(" ") / len(heard)
    assert abs(share - flow.CAPTION_DROPOUT) < 0.02
    assert set(heard) == {" ", "seven"}


def test_blocks_start_as_the_identity():
    model = nn.Sequential(AdaLayerNormZero(8))
    flow.start_at_zero(model)
    _, gate, *_ = model[0](torch.randn(2, 3, 8), emb=torch.randn(2, 8))
    assert not gate.any()
