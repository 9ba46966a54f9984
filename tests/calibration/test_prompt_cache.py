"""A prompt is encoded once, and what cannot be told apart by its words always."""

from __future__ import annotations

import torch

from forecastcache.calibration.prompt_cache import prompts_encoded_once


class Encoder:
    def __init__(self) -> None:
        self.asked: list[object] = []

    def encode_prompt(self, prompt: object, device: torch.device, scale: float = 1.0) -> object:
        self.asked.append(prompt)
        return (torch.tensor([scale]), prompt)


def test_a_prompt_is_encoded_once_for_the_same_options():
    pipe, cpu = Encoder(), torch.device("cpu")
    with prompts_encoded_once(pipe):
        first = pipe.encode_prompt(["a"], cpu)
        assert pipe.encode_prompt(["a"], cpu) is first
        assert pipe.encode_prompt(["a"], cpu, scale=2.0)[0].item() == 2
        assert pipe.encode_prompt(["b"], device=cpu)[1] == ["b"]
        assert pipe.asked == [["a"], ["a"], ["b"]]
        embedded = torch.zeros(2)
        for _ in range(2):
            assert pipe.encode_prompt(embedded, cpu)[1] is embedded
    assert len(pipe.asked) == 5
    pipe.encode_prompt(["a"], cpu)
    assert len(pipe.asked) == 6


def test_a_pipeline_without_prompts_is_left_alone():
    with prompts_encoded_once(object()):
        pass
