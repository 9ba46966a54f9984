"""Single frames through video autoencoders, convolved in two dimensions.

A causal convolution sees before a first frame either that frame again or nothing, so on a single
frame it is a convolution of the picture: the same numbers, several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import HunyuanVideoCausalConv3d
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache._util.swap import swapped


@contextmanager
def flattened(vae: nn.Module) -> Iterator[None]:
    """Let the video autoencoder `vae` take single frames the short way, for a while."""
    with ExitStack() as stack:
        for module in vae.modules():
            if type(module) in FLAT:
                flat = partial(FLAT[type(module)], module, module.forward)
                stack.enter_context(swapped(module, "forward", flat))
        yield


def _repeating(module: Any, forward: Callable[..., Tensor], frames: Tensor) -> Tensor:
    """Hunyuan's: what was before the first frame is that frame again."""
    conv = module.conv
    if frames.shape[2] > 1 or conv.padding[0]:
        return forward(frames)
    padded = F.pad(frames[:, :, 0], module.time_causal_padding[:4], mode=module.pad_mode)
    flat = F.conv2d(
        padded, conv.weight.sum(2), conv.bias, conv.stride[1:], conv.padding[1:], conv.dilation[1:]
    )
    return flat[:, :, None]


def _blank(
    module: Any, forward: Callable[..., Tensor], frames: Tensor, cache_x: Tensor | None = None
) -> Tensor:
    """Qwen's and Wan's: before the first frame there is nothing."""
    if frames.shape[2] > 1 or cache_x is not None:
        return forward(frames, cache_x)
    padded = F.pad(frames[:, :, 0], module._padding[:4])
    flat = F.conv2d(padded, module.weight[:, :, -1], module.bias, module.stride[1:])
    return flat[:, :, None]


FLAT: dict[type[nn.Module], Callable[..., Tensor]] = {
    HunyuanVideoCausalConv3d: _repeating,
    QwenImageCausalConv3d: _blank,
    WanCausalConv3d: _blank,
}
