"""What each adapter says of its model: which modules it keeps, and which it makes needless."""

from __future__ import annotations

from collections import Counter

import diffusers
import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError
from forecastcache.registry import adapter_for

from .tiny import Tiny, make
from .tiny.image import flux_model

# What TaylorSeer's code keeps: attention and MLP of each stream of a double-stream block, and what
# a single-stream block fuses; one site for both streams of a joint attention.
KEPT = {
    "dit": {"attn1": 3, "ff": 3},
    "flux": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "qwen_image": {"attn": 3, "img_mlp": 3, "txt_mlp": 3},
    "hunyuan_video": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 2},
    "framepack": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 2},
    "wan": {"attn1": 3, "attn2": 3, "ffn": 3},
    "hidream": {"attn1": 4, "ff_i": 4, "ff_t": 2},
    "bria": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "bria_fibo": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "longcat_image": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "ovis_image": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "bria_fibo2": {"attention": 5, "cross_attention": 1, "feed_forward": 5},
    "krea2": {"attn": 3, "ff": 3},
    "omnigen": {"self_attn": 3, "mlp": 3},
    "prx": {"attention": 3, "down_proj": 3},
    "flux3_with_reference": {"attn": 8, "ff": 8},
    "glm_image": {"attn1": 3, "ff": 3},
    "ernie_image": {"self_attention": 3, "mlp": 3},
    "nucleusmoe_image": {"attn": 3, "img_mlp": 3},
    "ideogram4": {"attention": 3, "feed_forward": 3},
    "joyimage_edit": {"attn": 3, "img_mlp": 3, "txt_mlp": 3},
    "joyimage_edit_plus": {"attn": 3, "img_mlp": 3, "txt_mlp": 3},
    "cosmos": {"attn1": 3, "attn2": 3, "ff": 3},
    "sana_video": {"attn1": 3, "attn2": 3, "ff": 3},
    "easyanimate": {"attn1": 3, "ff": 3, "txt_ff": 3},
    "helios": {"attn1": 2, "attn2": 2, "ffn": 2},
    "anyflow": {"attn1": 3, "attn2": 3, "ffn": 3},
    "anyflow_far": {"attn1": 3, "attn2": 3, "ffn": 3},
    "motif_video": {"attn": 2, "cross_attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "sana_wm": {"attn": 2, "cross_attn": 2, "mlp": 2},
    "sana_wm_refiner": {"attn1": 3, "attn2": 3, "ff": 3},
    "minimax_h3": {"attn": 3, "ff": 3},
    "stable_audio": {"attn1": 2, "attn2": 2, "ff": 2},
    "stable_audio_3": {"self_attn": 3, "cross_attn": 3, "ff": 3},
    "ace_step": {"self_attn": 3, "cross_attn": 3, "mlp": 3},
    "longcat_audio": {"self_attn": 3, "cross_attn": 3, "ffn": 3},
    "minimax_music3": {"attn": 3, "ff_out": 3},
    "flux2": {"attn": 2 + 3, "ff": 2, "ff_context": 2},
    "z_image": {"attention": 6, "feed_forward": 6},
    "chroma": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 3},
    "sd3": {"attn": 3, "attn2": 1, "ff": 3, "ff_context": 2},  # no text after the last block
    "qwen_image21": {"attn": 3, "img_mlp": 3},
    "hunyuan_image": {"attn": 2, "ff": 2, "ff_context": 2, "proj_out": 2},
    "cogview4": {"attn1": 3, "ff": 3},
    "cogview3_plus": {"attn1": 3, "ff": 3},
    "lumina2": {"attn": 4, "feed_forward": 4},
    "pixart": {"attn1": 2, "attn2": 2, "ff": 2},
    "sana": {"attn1": 2, "attn2": 2, "ff": 2},
    "auraflow": {"attn": 4, "ff": 4, "ff_context": 2},
    "hunyuan_dit": {"attn1": 4, "attn2": 4, "ff": 4},
    "wan_vace": {"attn1": 5, "attn2": 5, "ffn": 5},
    "wan_animate": {"attn1": 4, "attn2": 4, "ffn": 4, "0": 1, "1": 1},  # face attentions by number
    "wan_animate_2": {"self_attn": 3, "cross_attn": 3, "ffn": 3},
    "skyreels_v2": {"attn1": 3, "attn2": 3, "ffn": 3},
    "chrono_edit": {"attn1": 3, "attn2": 3, "ffn": 3},
    "hunyuan_video_15": {"attn": 3, "ff": 3, "ff_context": 3},
    "ltx": {"attn1": 2, "attn2": 2, "ff": 2},
    "ltx2": {
        "attn1": 2, "audio_attn1": 2, "attn2": 2, "audio_attn2": 2, "audio_to_video_attn": 2,
        "video_to_audio_attn": 2, "ff": 2, "audio_ff": 2,
    },
    "kandinsky5": {"self_attention": 4, "cross_attention": 3, "feed_forward": 4},
    "kandinsky6": {
        "self_attention": 4, "cross_attention": 4, "va_cross_attention": 2,
        "av_cross_attention": 2, "feed_forward": 6, "attn": 2,
    },
    "kandinsky6_sr": {"self_attention": 2, "feed_forward": 2},
    "cogvideox": {"attn1": 2, "ff": 2},
    "consisid": {"attn1": 3, "ff": 3, "0": 1, "1": 1, "2": 1},  # face attentions by number
    "mochi": {"attn1": 2, "ff": 2, "ff_context": 1},
    "allegro": {"attn1": 2, "attn2": 2, "ff": 2},
    "latte": {"attn1": 4, "attn2": 2, "ff": 4},
}  # fmt: skip


def call(tiny: Tiny, time: float) -> None:
    name = adapter_for(tiny.model).time_argument(tiny.model)
    with torch.no_grad():
        samples = next(iter(tiny.arguments.values()))
        first = torch.full((len(samples),), 1000.0)
        times = tiny.arguments.get(name, first) * (time / 1000)
        tiny.model(**tiny.arguments | {name: times})


@pytest.mark.parametrize("name", KEPT)
def test_module_keeps_what_taylorseer_keeps(name):
    tiny = make(name)
    sites = adapter_for(tiny.model).sites(tiny.model, "module")
    kept = Counter(s.path.rpartition(".")[2] for s in sites if s.feature == "output")
    assert kept == KEPT[name]


@pytest.mark.parametrize("name", KEPT)
def test_a_forecast_at_module_runs_no_attention_and_no_mlp(name):
    tiny = make(name)
    sites = adapter_for(tiny.model).sites(tiny.model, "module")
    ran = []
    for site in sites:
        for inner in tiny.model.get_submodule(site.path).modules():
            inner.register_forward_hook(lambda *_: ran.append(1))
    with fc.attach(tiny.model, fc.Listed([0, 1]), fc.Taylor(), site="module"):
        call(tiny, 900.0)
        call(tiny, 850.0)
        assert len(ran) >= 2 * len(sites)
        ran.clear()
        call(tiny, 800.0)
    assert not ran


def test_a_module_that_runs_twice_in_a_block_keeps_both():
    """CogView4's MLP, for the image and for the text: so each forecast is of the right one."""
    tiny = make("cogview4")
    with fc.attach(tiny.model, fc.Listed([0, 1]), fc.Taylor(), site="module") as session:
        for time in (900.0, 850.0, 800.0):
            call(tiny, time)
        report = session.report()
    image, text = (2 * tokens * 16 * 4 for tokens in (12, 5))
    assert report.cache_bytes == report.cache_bytes_planned == 2 * 3 * 2 * (image + text)


def test_grids_are_read_from_calls():
    for name, expected in {
        "dit": (4, 4), "flux": (4, 3), "qwen_image": (1, 4, 3), "hunyuan_video": (3, 2, 3),
        "bria": (4, 3), "longcat_image": (4, 3), "bria_fibo2": (4, 3), "omnigen": (4, 3),
        "prx": (4, 3), "glm_image": (4, 3), "nucleusmoe_image": (1, 4, 3),
        "cosmos": (3, 2, 3), "sana_video": (3, 2, 3), "easyanimate": (3, 2, 3),
        "anyflow": (3, 2, 3), "motif_video": (3, 2, 3),
        "framepack": (3, 2, 3), "wan": (3, 2, 3), "hidream": (4, 4), "ltx": (3, 2, 3),
        "hunyuan_video_15": (3, 2, 3), "mochi": (2, 2, 2), "allegro": (3, 2, 3),
        "flux2": (4, 3),
        "chroma": (4, 3), "sd3": (4, 4), "hunyuan_image": (4, 3), "cogview4": (4, 3),
        "cogview3_plus": (4, 3), "pixart": (4, 4), "sana": (8, 8), "auraflow": (4, 4),
        "hunyuan_dit": (4, 3), "lumina_next_dit": (4, 3),
    }.items():  # fmt: skip
        tiny = make(name)
        adapter = adapter_for(tiny.model)
        assert tuple(adapter.grid(tiny.arguments, tiny.model.config)) == expected


BANDED = ("dit", "flux", "qwen_image", "hunyuan_video", "wan", "hidream", "flux2", "chroma", "sd3")


@pytest.mark.parametrize("name", BANDED)
def test_bands_see_the_image_in_the_tokens(name):
    tiny = make(name)
    bands = fc.Bands("reuse", "taylor")
    with fc.attach(tiny.model, fc.Listed([0, 1]), bands, site="hidden") as session:
        for time in (900.0, 850.0, 800.0):
            call(tiny, time)
    assert session.report().computed == (0, 1)


class Subclass(diffusers.FluxTransformer2DModel):
    """A subclass may have other blocks inside."""


def test_a_subclass_is_served_at_its_output_only_and_told_how_to_have_more():
    model = Subclass.from_config(dict(flux_model().config))
    assert adapter_for(model).granularities == ("output",)
    with pytest.raises(AttachError, match="no site 'block': write one of output, or register"):
        fc.attach(model, fc.Every(2), fc.Taylor(), site="block")
