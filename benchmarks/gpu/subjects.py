"""Large models by their published configurations, with random weights: cost knows no content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import forecastcache as fc
from forecastcache.memory.planned_model import PUBLISHED

TINY = {
    "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2,
    "pooled_projection_dim": 10, "guidance_embeds": True,
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A model and what it is asked for.

    Attributes:
        model: class of the model.
        pipeline: class of its pipeline.
        config: configuration of the model.
        size: size of the picture or video.
        schedule: options of the scheduler.
        text_width: what the configuration calls the width of the encoded prompt.
        absent: parts of the pipeline that are left out.
    """

    model: str
    pipeline: str
    config: Mapping[str, Any]
    size: fc.InputSize
    schedule: Mapping[str, Any]
    text_width: str
    absent: tuple[str, ...] = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")

    def blank(self) -> nn.Module:
        """The model without data."""
        return self._build("meta", torch.float32)

    def pipe(self, device: str, dtype: torch.dtype) -> Any:
        """The pipeline, with weights that are drawn on the device.

        Each by the number of what it sums up, so that numbers stay near 1 all the way through.
        """
        import diffusers

        torch.manual_seed(0)
        model = self._build(device, dtype)
        for weight in model.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**self.schedule)
        pipe = getattr(diffusers, self.pipeline)(
            transformer=model, scheduler=scheduler, **dict.fromkeys(self.absent)
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def call(self, device: str, dtype: torch.dtype) -> dict[str, Any]:
        """Arguments of the pipeline's call: a prompt as if it were encoded, and sizes."""
        torch.manual_seed(1)
        tokens = self.size.text_tokens or 1

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, device=device, dtype=dtype)

        sizes = {"height": self.size.height, "width": self.size.width}
        given: dict[str, Any] = {
            "prompt_embeds": noise(1, tokens, self.config[self.text_width]),
            "pooled_prompt_embeds": noise(1, self.config["pooled_projection_dim"]),
            "output_type": "latent",
            "return_dict": False,
            **sizes,
        }
        if self.size.frames is not None:
            mask = torch.ones(1, tokens, dtype=torch.int64, device=device)
            given |= {"num_frames": self.size.frames, "prompt_attention_mask": mask}
        return given

    def _build(self, device: str, dtype: torch.dtype) -> nn.Module:
        import diffusers

        usual = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device), torch.no_grad():
                model: nn.Module = getattr(diffusers, self.model).from_config(dict(self.config))
        finally:
            torch.set_default_dtype(usual)
        return model.eval().requires_grad_(False)


def sample(pipe: Any, call: Mapping[str, Any], steps: int) -> Tensor:
    """The latent that a pipeline makes of a call, the same for the same call."""
    generator = torch.Generator().manual_seed(0)
    made: Tensor = pipe(**call, num_inference_steps=steps, generator=generator)[0]
    return made


def published(name: str) -> tuple[str, dict[str, Any]]:
    """The class and the configuration of a model that forecastcache knows."""
    known = json.loads((PUBLISHED / f"{name}.json").read_text())
    return known["class"], known["config"]


def flux(tiny: bool, blocks: tuple[int, int] | None = None, pixels: int = 1024) -> Subject:
    """FLUX.1-dev at 1024 x 1024 pixels: 4096 tokens of the image and 512 of the text.

    Args:
        tiny: whether it is made for a test.
        blocks: how many blocks of both kinds there are; None for those of FLUX.1-dev.
        pixels: height and width.
    """
    model, config = published("flux.1-dev")
    size = fc.InputSize(height=pixels, width=pixels, text_tokens=512)
    if blocks is not None:
        config |= {"num_layers": blocks[0], "num_single_layers": blocks[1]}
    if tiny:
        small = {"in_channels": 4, "joint_attention_dim": 12, "axes_dims_rope": (4, 2, 2)}
        config |= TINY | small
        size = fc.InputSize(height=64, width=64, text_tokens=5)
    shift = {"shift": 3.0, "use_dynamic_shifting": True}
    return Subject(model, "FluxPipeline", config, size, shift, "joint_attention_dim")


def hunyuan(tiny: bool) -> Subject:
    """HunyuanVideo at 65 frames of 480 x 640 pixels: 20,400 tokens of video and 256 of text."""
    model, config = published("hunyuanvideo")
    size = fc.InputSize(height=480, width=640, frames=65, text_tokens=256)
    if tiny:
        small = {"in_channels": 4, "out_channels": 4, "num_refiner_layers": 1}
        config |= TINY | small | {"text_embed_dim": 12, "rope_axes_dim": (4, 2, 2)}
        size = fc.InputSize(height=64, width=64, frames=5, text_tokens=5)
    shift = {"shift": 7.0}
    return Subject(model, "HunyuanVideoPipeline", config, size, shift, "text_embed_dim")
