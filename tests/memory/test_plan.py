"""What a cache will cost, from configurations alone, against runs and against the papers."""

from __future__ import annotations

import json

import diffusers
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import forecastcache as fc
from forecastcache.errors import AttachError, BudgetError, PlanError, SizeError, UnknownNameError
from forecastcache.memory.autoencoder import Compression, compression_of
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.plan import MemoryPlan, plan_memory
from forecastcache.memory.planned_model import planned_model, published_names

from ..adapters.tiny import make
from ..conftest import SITES, make_pipeline, make_unconditional, sample

MIB, GIB = 2**20, 2**30


def plan(model, size=InputSize(), depth: int = 1, site: str = "output", **options) -> MemoryPlan:  # noqa: B008
    return plan_memory(model, size, depth=depth, site=site, **options)


def planned_bytes(*arguments, **options) -> int:
    return plan(*arguments, **options).total_bytes


def test_flux_is_planned_as_l2p_measured_it():
    size = InputSize(height=1000, width=1000)
    assert round(planned_bytes("flux.1-dev", size, 3, "module") / MIB) == 5819
    assert round(planned_bytes("flux.1-dev", size, 2, "module") / MIB) == 3880
    # 19 double blocks keep attention and MLP of both streams, 38 single ones what they fuse.
    tokens = 62 * 62 + 512
    assert planned_bytes("flux.1-dev", size, 1, "module") == (19 * 2 + 38) * tokens * 3072 * 2


def test_hunyuan_video_is_planned_as_the_papers_have_it():
    size = InputSize(height=480, width=640, frames=65)
    assert planned_bytes("hunyuanvideo", size, 2, "module") / GIB == pytest.approx(18.9, abs=0.05)
    assert planned_bytes("hunyuanvideo", size, 9, "output") == 9 * 16 * 17 * 60 * 80 * 2
    assert planned_bytes("hunyuanvideo", size, 9, "output") < 25e6


@pytest.fixture(scope="module")
def published(request) -> tuple[str, torch.nn.Module]:
    """Name and model, built once for all sites: planning puts back what it takes out."""
    return request.param, planned_model(request.param)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("published", published_names(), indirect=True)
def test_every_published_model_is_planned_at_every_site(published, site):
    name, model = published
    assert {p.device.type for p in model.parameters()} == {"meta"}
    blocks = sum(len(getattr(model, t)) for t in BLOCKS[name])
    planned = plan(model, depth=2, site=site)
    tails = 2 if name == "ltx-2" else 1  # of video and of sound
    counts = {"output": 1, "hidden": tails, "block": blocks}
    assert len(planned.sites) == counts.get(site, len(planned.sites))
    assert len(planned.sites) >= blocks or site in ("output", "hidden")
    assert planned.total_bytes == planned.branches * sum(s.bytes for s in planned.sites) > 0
    assert sum(count for _, count, _ in planned.groups()) == len(planned.sites)
    assert sum(len(getattr(model, t)) for t in BLOCKS[name]) == blocks  # put back


BLOCKS = {
    "chroma1-hd": ["transformer_blocks", "single_transformer_blocks"],
    "dit-xl-2": ["transformer_blocks"],
    "flux.1-dev": ["transformer_blocks", "single_transformer_blocks"],
    "flux.2-dev": ["transformer_blocks", "single_transformer_blocks"],
    "framepack": ["transformer_blocks", "single_transformer_blocks"],
    "hidream-i1": ["double_stream_blocks", "single_stream_blocks"],
    "hunyuanvideo": ["transformer_blocks", "single_transformer_blocks"],
    "qwen-image": ["transformer_blocks"],
    "qwen-image-edit-2511": ["transformer_blocks"],
    "sd3.5-large": ["transformer_blocks"],
    "wan2.1-1.3b": ["blocks"],
    "wan2.1-14b": ["blocks"],
    "hunyuanvideo-1.5": ["transformer_blocks"],
    "ltx-2": ["transformer_blocks"],
    "wan2.2-5b": ["blocks"],
    "wan2.2-a14b": ["blocks"],
    "z-image-turbo": ["noise_refiner", "context_refiner", "layers"],
}


class LargestAllocation(TorchDispatchMode):
    """Bytes of the largest tensor with data that was made meanwhile."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return result


@pytest.mark.parametrize("name", published_names())
def test_planning_allocates_next_to_nothing(name):
    with LargestAllocation() as largest:
        plan(name, depth=3, site="module")
    assert largest.bytes < 1e6


@pytest.mark.parametrize("site", SITES)
def test_a_zoo_model_is_planned_as_it_runs(site):
    from forecastcache import zoo

    pipe = diffusers.DiffusionPipeline.from_pretrained(zoo.folder("dit-digits"))
    pipe.set_progress_bar_config(disable=True)
    with fc.attach(pipe, fc.Every(3), fc.Taylor(2), site=site) as session:
        pipe([1, 2, 3], num_inference_steps=5, guidance_scale=2.0, output_type="np")
    model = planned_model("zoo:dit-digits")
    planned = plan(model, InputSize(batch=3), depth=3, site=site, dtype=torch.float32)
    assert planned.total_bytes == session.report().cache_bytes


@pytest.mark.parametrize("site", ["output", "hidden"])
@pytest.mark.parametrize("name", ["flux-digits", "qwen-digits", "hunyuan-digits"])
def test_a_zoo_model_is_planned_with_the_factor_of_its_own_autoencoder(name, site):
    """Their autoencoders make each side 4 times smaller, not 8, as the published ones do."""
    from forecastcache import zoo

    pipe = diffusers.DiffusionPipeline.from_pretrained(zoo.folder(name))
    pipe.set_progress_bar_config(disable=True)
    call = dict(zoo.entry(name).call) | {"num_inference_steps": 4, "output_type": "latent"}
    with fc.attach(pipe, fc.Every(3, first=2), fc.Taylor(), site=site) as session:
        pipe("a red seven", **call)
    size = InputSize(call["height"], call["width"], call.get("num_frames"))
    planned = plan(f"zoo:{name}", size, depth=2, site=site, dtype=torch.float32)
    assert planned.total_bytes == session.report().cache_bytes


def test_a_model_that_edits_has_a_picture_of_a_megapixel_to_look_at():
    planned = plan("qwen-image-edit-2511", InputSize(512, 768), depth=1)
    assert planned.sites[0].shapes == ((1, 32 * 48 + 64 * 64, 64),)


def test_pixels_of_a_latent_may_be_given_and_are_else_as_published():
    half = InputSize(height=512, width=512, latent_pixels=4)
    assert planned_bytes("flux.1-dev", half) == planned_bytes("flux.1-dev")
    assert planned_bytes("flux.1-dev", InputSize(latent_pixels=4)) == planned_bytes("flux.1-dev")
    fewer = InputSize(frames=129, latent_frames_every=8)
    assert plan("hunyuanvideo", fewer).sites[0].shapes[0][2] == 17


@pytest.mark.parametrize(
    ("name", "pixels", "frames"),
    [
        ("AutoencoderKL", 1, None),
        ("AutoencoderKLHunyuanVideo", 8, 4),
        ("AutoencoderKLWan", 8, 4),
        ("AutoencoderKLQwenImage", 8, 4),
        ("AutoencoderDC", None, None),
    ],
)
def test_compression_is_read_as_pipelines_read_it(name, pixels, frames):
    with torch.device("meta"):
        autoencoder = getattr(diffusers, name)()
    assert compression_of(autoencoder.config) == Compression(pixels, frames)


@pytest.mark.parametrize(
    ("name", "pixels", "frames"),
    [
        ("AutoencoderDC", 32, 1),
        ("AutoencoderKLLTXVideo", 32, 8),
        ("AutoencoderKLMochi", 8, 6),
        ("AutoencoderKL", 1, None),
    ],
)
def test_compression_that_only_the_autoencoder_itself_tells(name, pixels, frames):
    with torch.device("meta"):
        autoencoder = getattr(diffusers, name)()
    assert compression_of(autoencoder.config, autoencoder) == Compression(pixels, frames)


def test_guidance_doubles_the_batch_or_the_branches():
    for name, batched in (("dit-xl-2", True), ("qwen-image", False), ("flux.1-dev", False)):
        model = planned_model(name)
        alone = plan(model, guidance=False)
        guided = plan(model, guidance=True)
        assert guided.total_bytes == 2 * alone.total_bytes
        assert guided.branches == (1 if batched else 2)
    assert plan("flux.1-dev").branches == 1  # embedded
    assert plan("qwen-image").branches == 2


def test_dtypes_and_text_tokens_count():
    model = planned_model("flux.1-dev")
    half = plan(model, depth=1, site="block").total_bytes
    assert plan(model, depth=1, site="block", dtype=torch.float32).total_bytes == 2 * half
    assert plan(model, depth=1, site="block", storage=torch.float32).total_bytes == 2 * half
    short = plan(model, InputSize(text_tokens=256), depth=1, site="block").total_bytes
    assert half - short == (19 + 38) * 256 * 3072 * 2


def test_a_folder_is_planned_from_its_configuration(tmp_path):
    pipe = make_pipeline()
    pipe.save_pretrained(tmp_path / "pipe")
    for weights in (tmp_path / "pipe").rglob("*.safetensors"):
        weights.unlink()
    planned = plan(str(tmp_path / "pipe"), depth=2, site="block")
    assert planned.total_bytes == 2 * 3 * (2 * 16 * 16) * 2


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        (InputSize(height=481), "height=481 is not a multiple of 16.*: write 480 or 496"),
        (InputSize(width=10), "width=10 is not a multiple of 16.*: write 16"),
        (InputSize(width=8), "width=8 is not a multiple"),
        (InputSize(frames=66), "frames=66 is not 1 more than a multiple of 4.*: write 65 or 69"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_nearest(size, complaint):
    with pytest.raises(SizeError, match=complaint):
        plan("hunyuanvideo", size)


def test_what_cannot_be_planned_is_refused_by_name(tmp_path):
    with pytest.raises(UnknownNameError, match="'nope': write one of chroma1-hd, dit-xl-2"):
        planned_model("nope")
    with pytest.raises(PlanError, match="cannot be read as a pipeline"):
        planned_model(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "X", "vae": ["a", "b"]}))
    with pytest.raises(PlanError, match="no transformer and no unet"):
        planned_model(str(tmp_path))
    make_unconditional().save_pretrained(tmp_path / "unet")
    with pytest.raises(PlanError, match="UNet2DModel .* 'generic', which does not say how"):
        plan(str(tmp_path / "unet"))
    with pytest.raises(AttachError, match="has no site"):
        plan("dit-xl-2", depth=1, site="blocks")


def test_a_denoiser_by_another_name_is_found_and_several_are_refused(tmp_path):
    model = make("stable_cascade_prior").model
    parts = {"prior": ["diffusers", "StableCascadeUNet"], "resolution_multiple": 42.67}
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps({"_class_name": "StableCascadePriorPipeline", **parts}))
    model.save_config(tmp_path / "prior")
    found = planned_model(str(tmp_path))
    assert type(found) is type(model)
    assert found.config.clip_text_in_channels == 12
    index.write_text(json.dumps({"_class_name": "Two", **parts, "decoder": parts["prior"]}))
    with pytest.raises(PlanError, match="several of its models take a time, prior, decoder"):
        planned_model(str(tmp_path))


@pytest.mark.parametrize("budget", [0, -1, "0 MB", "much", "3 potatoes", "", "nan", "-2 GiB"])
def test_a_budget_of_nothing_is_refused(budget):
    pipe = make_pipeline()
    with pytest.raises(BudgetError, match="is no number of bytes above 0: write such as"):
        fc.attach(pipe, fc.Every(3), fc.Taylor(), budget=budget)
    assert "forward" not in pipe.transformer.__dict__


def test_a_plan_over_budget_is_refused_before_the_model_runs():
    pipe = make_pipeline()
    ran = []
    pipe.transformer.transformer_blocks[0].register_forward_hook(lambda *_: ran.append(1))
    feature = 4 * 16 * 16 * 4  # two classes with guidance, tokens, width, float32
    with (
        fc.attach(pipe, fc.Every(3), fc.Taylor(1), site="module", budget=10 * feature),
        pytest.raises(BudgetError) as error,
    ):
        sample(pipe)
    assert not ran
    message = str(error.value)
    assert (
        f"depth 2 at site='module' are planned at {12 * feature:,} bytes for 1 branch" in message
    )
    assert f"over the budget of {10 * feature:,} bytes" in message
    assert "these fit: site='output' up to depth 10, site='hidden' up to depth 10" in message
    assert "site='block' up to depth 3, site='module' up to depth 1" in message
    with fc.attach(pipe, fc.Every(3), fc.Taylor(0), site="module", budget="1 MiB") as session:
        sample(pipe)
    assert session.report().cache_bytes == 6 * feature


def test_where_nothing_fits_the_error_says_so():
    pipe = make_pipeline()
    with (
        fc.attach(pipe, fc.Every(3), fc.Taylor(1), budget=100),
        pytest.raises(BudgetError, match="none fits, raise the budget"),
    ):
        sample(pipe)


@pytest.mark.parametrize(
    ("name", "size", "complaint"),
    [
        ("flux.1-dev", InputSize(height=5), "height=5 is below one patch: write 16 or more"),
        ("qwen-image", InputSize(width=8), "width=8 is below one patch: write 16 or more"),
        ("dit-xl-2", InputSize(height=512), "square pictures only"),
        ("framepack", InputSize(frames=129), "sections of 33: leave frames out"),
    ],
)
def test_sizes_that_a_family_cannot_make_are_refused(name, size, complaint):
    with pytest.raises(SizeError, match=complaint):
        plan(name, size)


def test_sizes_past_all_numbers_are_refused_in_words():
    with pytest.raises(PlanError, match="cannot be called at this size"):
        plan("flux.1-dev", InputSize(height=10**8, width=10**8))


def test_wans_larger_autoencoder_makes_fewer_tokens():
    with torch.device("meta"):
        model = diffusers.WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=48, out_channels=48,
            text_dim=8, ffn_dim=8, num_layers=1,
        )  # fmt: skip
    (site,) = plan(model, InputSize(704, 1280, 121), depth=1, site="hidden").sites
    assert site.shapes == ((1, 31 * 22 * 40, 24),)


def test_a_model_with_data_is_not_cast():
    with pytest.raises(PlanError, match="without data: give planned_model"):
        plan(make_pipeline().transformer)


@pytest.mark.parametrize(
    "entry", [["diffusers", "NoSuchModel"], [None, None], ["diffusers", "FluxTransformer2DModel"]]
)
def test_folders_that_are_broken_are_refused_in_words(tmp_path, entry):
    index = {"_class_name": "FluxPipeline", "transformer": entry}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(PlanError, match="cannot be read as a pipeline|no transformer and no unet"):
        planned_model(str(tmp_path))


def test_a_size_that_a_model_has_no_use_for_is_refused():
    with pytest.raises(SizeError, match="frames=9 .*FluxTransformer2DModel has no frames: leave"):
        plan("flux.1-dev", InputSize(frames=9))
    assert plan("flux.1-dev", InputSize(text_tokens=9)).total_bytes
