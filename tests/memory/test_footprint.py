"""A cache beside its model: weights, the sizes that pipelines make, and what fits."""

from __future__ import annotations

import json

import diffusers
import pytest
import torch

from forecastcache import zoo
from forecastcache.errors import SizeError
from forecastcache.memory.components import components_of
from forecastcache.memory.footprint import Footprint, footprint
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.plan import plan_memory
from forecastcache.memory.planned_model import planned_model

from ..adapters.pipelines import PIPELINES
from ..conftest import SITES, make_pipeline

MIB = 2**20


def planned(name: str, size: InputSize = InputSize(), depth: int = 2, **options) -> Footprint:  # noqa: B008
    return footprint(planned_model(name), size, depth=depth, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["dit-digits", "flux-digits", "qwen-digits", "hunyuan-digits"])
def test_weights_take_what_a_loaded_pipeline_has(name, dtype):
    pipe = diffusers.DiffusionPipeline.from_pretrained(zoo.folder(name), dtype=dtype)
    found = components_of(planned_model(f"zoo:{name}"), dtype)
    modules = {name for name, part in pipe.components.items() if hasattr(part, "parameters")}
    assert {each.name for each in found} == modules
    for each in found:
        part = pipe.components[each.name]
        tensors = (*part.parameters(), *part.buffers())
        assert each.bytes == sum(tensor.nbytes for tensor in tensors)
        assert each.kind == type(part).__name__


def test_what_cannot_be_counted_is_named(tmp_path):
    make_pipeline().save_pretrained(tmp_path)
    path = tmp_path / "model_index.json"
    index = json.loads(path.read_text())
    index |= {"judge": ["no_such_library", "Judge"], "image_encoder": ["transformers", "Odd"]}
    path.write_text(json.dumps(index))
    config = tmp_path / "transformer" / "config.json"
    quantised = json.loads(config.read_text()) | {"quantization_config": {"bits": 4}}
    config.write_text(json.dumps(quantised))
    found = planned(str(tmp_path))
    bytes_of = {each.name: each.bytes for each in found.components}
    assert bytes_of["judge"] is None
    assert bytes_of["image_encoder"] is None
    assert any(text.startswith("judge (Judge: ") for text in found.uncounted)
    assert found.weights == bytes_of["transformer"] + bytes_of["vae"]
    assert found.components[0].remark == "counted as if it were not quantised"
    assert any("denoiser's alone" in text for text in planned("dit-xl-2").uncounted)


def test_every_site_is_planned_as_by_itself():
    found = planned("zoo:dit-digits")
    assert [cache.site for cache in found.caches] == [*SITES, "tokens"]
    for cache in found.caches:
        assert cache == plan_memory("zoo:dit-digits", depth=2, site=cache.site)
        assert found.needed(cache) == found.weights + found.activations + cache.total_bytes
        assert found.remains(cache) is None
        assert found.remedies(cache) == []


def test_of_two_models_in_turn_the_larger_one_is_active(tmp_path):
    case = PIPELINES["wan_of_two"]()

    def planned_with(first: int, second: int) -> Footprint:
        for name, width in (("transformer", first), ("transformer_2", second)):
            config = dict(case.pipe.transformer.config) | {"ffn_dim": width}
            setattr(case.pipe, name, diffusers.WanTransformer3DModel.from_config(config))
        case.pipe.save_pretrained(tmp_path)
        return planned(str(tmp_path), InputSize(32, 48, 9))

    small, large = planned_with(24, 24), planned_with(4096, 4096)
    assert small.activations < large.activations
    for either in (planned_with(24, 4096), planned_with(4096, 24)):
        assert either.activations == large.activations
        assert small.weights < either.weights < large.weights
    config = tmp_path / "transformer_2" / "config.json"
    config.write_text("{")
    broken = planned(str(tmp_path), InputSize(32, 48, 9))
    assert broken.activations == large.activations
    assert any(text.startswith("transformer_2 (") for text in broken.uncounted)


def test_what_fits_and_what_would():
    model = planned_model("flux.1-dev")

    def on(gpu: int, **options) -> Footprint:
        return footprint(model, InputSize(), depth=2, gpu=gpu * MIB, **options)

    found = on(24576)
    module = found.cache("module")
    assert [found.remains(cache) >= 0 for cache in found.caches] == [
        True,
        True,
        False,
        False,
        False,
    ]
    changes = [each.change for each in found.remedies(module)]
    assert changes == ["site='hidden'", "offload='cpu', with 4,104 MiB of host memory"]
    assert found.remedies(found.cache("output")) == []
    nearest, offloaded = found.remedies(module)
    assert nearest.remaining_bytes == found.remains(found.cache("hidden"))
    assert offloaded.remaining_bytes == found.remains(module) + module.total_bytes

    stored = on(27648, storage=torch.float32)  # 8,208 MiB at module, half in bfloat16
    first = stored.remedies(stored.cache("module"))[0]
    assert first.change == "attach(..., dtype=torch.bfloat16)"
    assert first.remaining_bytes == stored.remains(stored.cache("module")) + module.total_bytes

    large = on(24576, dtype=torch.float32)
    (smaller,) = large.remedies(large.cache("output"))
    assert smaller.change == "torch.bfloat16 for the whole pipeline"
    really = found.remains(found.cache("output"))
    assert smaller.remaining_bytes == pytest.approx(really, abs=100 * MIB)  # rotary embeddings
    assert on(20000).remedies(module) == []


def test_a_pipeline_may_leave_the_denoiser_alone_on_the_gpu():
    size = InputSize(32, 32, text_tokens=16)
    whole = planned("zoo:flux-digits", size)
    gpu = whole.needed(whole.cache("output")) - 1
    tight = planned("zoo:flux-digits", size, gpu=gpu)
    assert "offload='cpu'" in tight.remedies(tight.cache("module"))[-1].change
    less = planned("zoo:flux-digits", size, gpu=whole.weights - MIB // 4)
    (alone,) = less.remedies(less.cache("output"))
    assert alone.change.startswith("pipe.enable_model_cpu_offload()")


@pytest.mark.parametrize(
    ("name", "size", "taken"),
    [
        ("flux.1-dev", InputSize(1000, 1015), {"height": (992, 1000), "width": (1008, 1015)}),
        ("qwen-image", InputSize(1015), {"height": (1008, 1015), "width": (1024, None)}),
        ("hidream-i1", InputSize(768, 1280), {"height": (784, 768), "width": (1312, 1280)}),
        ("hunyuanvideo", InputSize(480), {"height": (480, None), "frames": (129, None)}),
        ("framepack", InputSize(), {"height": (640, None), "frames": (33, None)}),
        ("zoo:flux-digits", InputSize(), {"height": (512, None)}),
    ],
)
def test_sizes_are_those_that_pipelines_make_of_them(name, size, taken):
    found = {it.name: (it.value, it.asked) for it in planned(name, size).sizes}
    assert taken.items() <= found.items()


def test_a_wan_of_larger_patches_is_rounded_and_refused_as_its_pipeline_does():
    with torch.device("meta"):
        model = diffusers.WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=48, out_channels=48,
            text_dim=8, ffn_dim=8, num_layers=1,
        )  # fmt: skip
    found = footprint(model, InputSize(720, 1280, 121), depth=1)
    sizes = {it.name: (it.value, it.asked) for it in found.sizes}
    assert sizes["height"] == (704, 720)
    with pytest.raises(SizeError, match="height=721 is not a multiple of 16"):
        footprint(model, InputSize(721, 1280, 121), depth=1)


def test_pictures_scaled_to_an_area_need_two_sides():
    with pytest.raises(SizeError, match="leave a side below one patch"):
        planned("hidream-i1", InputSize(1, 65536))


def test_what_was_asked_for_is_told_from_what_was_assumed():
    found = planned(
        "qwen-image", InputSize(text_tokens=100), guidance=False, given={"text_tokens", "guidance"}
    )
    told = {it.name: (it.value, it.given) for it in found.taken()}
    assert told["text_tokens"] == (100, True)
    assert told["guidance"] == ("no guidance", True)
    assert told["height"] == (1024, False)
    assert told["dtype"] == ("bfloat16", False)
    figures = found.figures()
    assert figures["sizes"]["text_tokens"]["given"] is True
    assert json.loads(json.dumps(figures))["weights_bytes"] == found.weights
