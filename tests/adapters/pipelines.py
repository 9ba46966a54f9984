"""Stock pipelines with tiny components and random weights, and a request to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

try:
    from transformers import SiglipImageProcessorPil
except ImportError:  # before the processors that need torchvision had the name without Pil
    from transformers import SiglipImageProcessor as SiglipImageProcessorPil

from ..conftest import make_pipeline
from .tiny import make
from .tiny.image import hidream_model
from .tiny.video import HUNYUAN, wan_model

HEIGHT, WIDTH = 16, 24


class Case(NamedTuple):
    """A pipeline, what it is called with, and what is to be seen of it.

    Attributes:
        steps: of the newest trajectory, after image-to-image has left out the first ones.
        branches: calls of the model a step.
        begins: the steps at which a model begins, which are computed whatever the schedule says
            where features inside the models are forecast.
    """

    pipe: Any
    request: dict[str, Any]
    steps: int
    branches: int = 1
    begins: tuple[int, ...] = (0,)

    def begins_at(self, site: str) -> tuple[int, ...]:
        """The steps at which histories are empty."""
        return self.begins[:1] if site == "output" else self.begins

    @property
    def models(self) -> list[nn.Module]:
        names = ("transformer", "transformer_2")
        return [each for name in names if (each := getattr(self.pipe, name, None)) is not None]


def run(pipe: Any, request: dict[str, Any], **changes: Any) -> torch.Tensor:
    """What the pipeline makes of a request, the same for the same request."""
    if isinstance(pipe, diffusers.ModularPipeline):
        return pipe(**request | changes, output="latents")
    generator = torch.Generator().manual_seed(changes.pop("seed", 0))
    usual = {"output_type": "latent", "return_dict": False, "generator": generator}
    made = pipe(**usual | request | changes)[0]
    # FramePack gives all that there is after each section.
    return torch.as_tensor(made[-1] if isinstance(made, list) else made)


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def awake(model: nn.Module) -> nn.Module:
    """Zero-initialised gates and projections would hide what the blocks do."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return model.eval()


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def without(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


def image_vae(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2, "latent_channels": 1, "norm_num_groups": 4,
        "scaling_factor": 0.36, "shift_factor": 0.12,
    }  # fmt: skip
    return diffusers.AutoencoderKL(**config | changes).eval()


FLUX_TEXT = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
FLUX_PROMPT = {"prompt_embeds": rand(1, 5, 12), "pooled_prompt_embeds": rand(1, 10)}
FLUX_NEGATIVE = {
    "negative_prompt_embeds": -FLUX_PROMPT["prompt_embeds"],
    "negative_pooled_prompt_embeds": -FLUX_PROMPT["pooled_prompt_embeds"],
}


def flux_pipeline(name: str = "FluxPipeline", **others: Any) -> Any:
    pipe = getattr(diffusers, name)(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=image_vae(),
        transformer=make("flux").model,
        **without(*FLUX_TEXT),
        **others,
    )
    return quiet(pipe)


def flux_request(steps: int, **others: Any) -> dict[str, Any]:
    size = {"height": HEIGHT, "width": WIDTH}
    return FLUX_PROMPT | size | {"num_inference_steps": steps} | others


def flux() -> Case:
    return Case(flux_pipeline(), flux_request(8), steps=8)


def flux_true_guidance() -> Case:
    request = flux_request(8, **FLUX_NEGATIVE, true_cfg_scale=3.0)
    return Case(flux_pipeline(), request, steps=8, branches=2)


def flux_img2img() -> Case:
    request = flux_request(8, image=picture(), strength=0.75)
    return Case(flux_pipeline("FluxImg2ImgPipeline"), request, steps=6)


def flux_inpaint() -> Case:
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., : WIDTH // 2] = 1
    request = flux_request(8, image=picture(), mask_image=mask, strength=0.75)
    return Case(flux_pipeline("FluxInpaintPipeline"), request, steps=6)


def flux_kontext() -> Case:
    size = {"max_area": HEIGHT * WIDTH, "_auto_resize": False}
    request = flux_request(7, image=picture(), **size)
    return Case(flux_pipeline("FluxKontextPipeline"), request, steps=7)


def flux_controlnet() -> Case:
    torch.manual_seed(1)
    controlnet = diffusers.FluxControlNetModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=12, pooled_projection_dim=10,
        axes_dims_rope=(4, 2, 2), guidance_embeds=True,
    )  # fmt: skip
    pipe = flux_pipeline("FluxControlNetPipeline", controlnet=awake(controlnet))
    # Its share ends before the last step, as in common use.
    request = flux_request(8, control_image=picture(), control_guidance_end=0.8)
    return Case(pipe, request, steps=8)


def qwen_image() -> Case:
    pipe = diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        transformer=make("qwen_image").model,
        **without("vae", "text_encoder", "tokenizer"),
    )
    request = {
        "prompt_embeds": rand(1, 5, 12),
        "prompt_embeds_mask": torch.tensor([[1, 1, 1, 1, 0]]),
        "negative_prompt_embeds": -rand(1, 5, 12),
        "negative_prompt_embeds_mask": torch.tensor([[1, 1, 1, 0, 0]]),
        "true_cfg_scale": 3.0, "height": 32, "width": 48, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def qwen_image_short_negative() -> Case:
    """As the pipeline makes them of two texts: no padding, so no mask, and another length."""
    case = qwen_image()
    request = case.request | {
        "prompt_embeds_mask": torch.ones(1, 5, dtype=torch.int64),
        "negative_prompt_embeds": -rand(1, 2, 12),
        "negative_prompt_embeds_mask": torch.ones(1, 2, dtype=torch.int64),
    }
    return case._replace(request=request)


def video_vae(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
        **changes,
    ).eval()  # fmt: skip


HUNYUAN_TEXT = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
HUNYUAN_SIZE = {"height": 32, "width": 48, "num_frames": 9}
HUNYUAN_PROMPT = {
    "prompt_embeds": rand(1, 5, 12),
    "prompt_attention_mask": torch.tensor([[1, 1, 1, 1, 0]]),
    "pooled_prompt_embeds": rand(1, 10),
}
HUNYUAN_NEGATIVE = {
    "negative_prompt_embeds": -rand(1, 5, 12),
    "negative_prompt_attention_mask": torch.tensor([[1, 1, 0, 0, 0]]),
    "negative_pooled_prompt_embeds": -rand(1, 10),
    "true_cfg_scale": 3.0,
}


def hunyuan_video() -> Case:
    pipe = diffusers.HunyuanVideoPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=make("hunyuan_video").model,
        **without("vae", *HUNYUAN_TEXT),
    )
    request = HUNYUAN_PROMPT | HUNYUAN_SIZE | {"num_inference_steps": 7}
    return Case(quiet(pipe), request, steps=7)


def hunyuan_video_true_guidance() -> Case:
    case = hunyuan_video()
    return case._replace(request=case.request | HUNYUAN_NEGATIVE, branches=2)


def hunyuan_image_to_video(transformer: nn.Module) -> Case:
    pipe = diffusers.HunyuanVideoImageToVideoPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=transformer,
        vae=video_vae(),
        **without("image_processor", *HUNYUAN_TEXT),
    )
    request = HUNYUAN_PROMPT | HUNYUAN_SIZE | {"image": picture(), "num_inference_steps": 7}
    return Case(quiet(pipe), request, steps=7)


def hunyuan_video_first_frame_replaced() -> Case:
    return hunyuan_image_to_video(make("hunyuan_video_token_replace").model)


def hunyuan_video_first_frame_beside() -> Case:
    torch.manual_seed(0)
    # Latent, the image's latent and a mask, channel by channel.
    changes = {"in_channels": 9, "image_condition_type": "latent_concat"}
    model = diffusers.HunyuanVideoTransformer3DModel(**HUNYUAN | changes)
    return hunyuan_image_to_video(awake(model))


def framepack() -> Case:
    """Two sections, each a trajectory of its own."""
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=9, intermediate_size=12, num_hidden_layers=1, num_attention_heads=3,
        image_size=8, patch_size=4,
    )  # fmt: skip
    pipe = diffusers.HunyuanVideoFramepackPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=make("framepack").model,
        vae=video_vae(),
        image_encoder=SiglipVisionModel(config).eval(),
        feature_extractor=SiglipImageProcessorPil(size={"height": 8, "width": 8}),
        **without(*HUNYUAN_TEXT),
    )
    size = {"height": 32, "width": 48, "num_frames": 18, "latent_window_size": 3}
    request = HUNYUAN_PROMPT | size | {"image": picture(), "num_inference_steps": 6}
    return Case(quiet(pipe), request, steps=6)


def framepack_true_guidance() -> Case:
    case = framepack()
    return case._replace(request=case.request | HUNYUAN_NEGATIVE, branches=2)


WAN_REQUEST = {
    "prompt_embeds": rand(1, 5, 12),
    "negative_prompt_embeds": -rand(1, 5, 12),
    "guidance_scale": 4.0, "height": 32, "width": 48, "num_inference_steps": 8,
}  # fmt: skip


def unipc() -> Any:
    return diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )


def wan() -> Case:
    pipe = diffusers.WanPipeline(
        scheduler=unipc(),
        transformer=make("wan").model,
        **without("vae", "text_encoder", "tokenizer"),
    )
    return Case(quiet(pipe), WAN_REQUEST | {"num_frames": 9}, steps=8, branches=2)


def wan_tokens_with_times() -> Case:
    """As the small model of Wan 2.2, which is told a time for every token."""
    case = wan()
    case.pipe.register_to_config(expand_timesteps=True)
    return case


def wan_vae() -> nn.Module:
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        latents_mean=[0.1] * 4, latents_std=[1.5] * 4,
    ).eval()  # fmt: skip


def wan_video_to_video() -> Case:
    pipe = diffusers.WanVideoToVideoPipeline(
        scheduler=unipc(),
        transformer=make("wan").model,
        vae=wan_vae(),
        **without("text_encoder", "tokenizer"),
    )
    request = WAN_REQUEST | {"video": [picture()] * 5, "strength": 0.8}
    return Case(quiet(pipe), request, steps=6, branches=2)


def wan_of_two() -> Case:
    """As the large model of Wan 2.2: the last three steps with another transformer."""
    torch.manual_seed(1)
    pipe = diffusers.WanPipeline(
        scheduler=unipc(),
        transformer=make("wan").model,
        transformer_2=awake(wan_model()),
        boundary_ratio=0.7,
        **without("vae", "text_encoder", "tokenizer"),
    )
    request = WAN_REQUEST | {"num_frames": 9}
    return Case(quiet(pipe), request, steps=8, branches=2, begins=(0, 5))


def wan_modular(guider: Any) -> Case:
    """The modular pipeline from the embedded prompt to the latent, guided by `guider`."""
    pipe = diffusers.WanBlocks().sub_blocks["denoise"].init_pipeline()
    pipe.update_components(transformer=make("wan").model, scheduler=unipc(), guider=guider)
    request = {
        "prompt_embeds": WAN_REQUEST["prompt_embeds"],
        "negative_prompt_embeds": WAN_REQUEST["negative_prompt_embeds"],
        "latents": rand(1, 4, 3, 4, 6), "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def hidream() -> Case:
    torch.manual_seed(0)
    pipe = diffusers.HiDreamImagePipeline(
        scheduler=unipc(),
        transformer=awake(hidream_model()),
        vae=image_vae(latent_channels=4),
        **without("text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4"),
        **without("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4"),
    )
    pipe.default_sample_size = 8  # of latents: whatever is asked for is brought to that area
    request = {
        "prompt_embeds_t5": rand(1, 5, 12), "prompt_embeds_llama3": rand(2, 1, 5, 14),
        "pooled_prompt_embeds": rand(1, 10), "negative_prompt_embeds_t5": -rand(1, 5, 12),
        "negative_prompt_embeds_llama3": -rand(2, 1, 5, 14),
        "negative_pooled_prompt_embeds": -rand(1, 10), "guidance_scale": 4.0,
        "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


def dit() -> Case:
    request = {"class_labels": [1, 2], "guidance_scale": 4.0, "num_inference_steps": 8}
    return Case(make_pipeline(), request | {"output_type": "np"}, steps=8)


PIPELINES: dict[str, Callable[[], Case]] = {
    each.__name__: each
    for each in (
        flux, flux_true_guidance, flux_img2img, flux_inpaint, flux_kontext, flux_controlnet,
        qwen_image, qwen_image_short_negative, hunyuan_video, hunyuan_video_true_guidance,
        hunyuan_video_first_frame_replaced, hunyuan_video_first_frame_beside, framepack,
        framepack_true_guidance, wan, wan_tokens_with_times, wan_video_to_video, wan_of_two,
        hidream, dit,
    )
}  # fmt: skip
