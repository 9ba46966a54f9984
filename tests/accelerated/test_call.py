"""A call that is made again."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from forecastcache.accelerated.call import Call


class Audio(SimpleNamespace):
    """A pipeline that checks its arguments as StableAudioPipeline does."""

    def __call__(self, prompt, callback=None, callback_steps=1, generator=None):
        if not isinstance(callback_steps, int) or callback_steps <= 0:
            raise ValueError(f"callback_steps is {callback_steps}")
        if callback is not None:
            callback(0)
        return prompt


def test_who_is_called_back_is_forgotten_and_how_often_is_not():
    heard: list[int] = []
    call = Call.of(Audio(), ("chord",), {"callback": heard.append, "generator": torch.Generator()})
    assert call.made() == "chord"
    assert call.again(Audio()) == "chord"
    assert heard == [0]
