"""Every adapter conforms, on the stock classes that it serves; what does not is named."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache.errors import ConformanceError
from forecastcache.registry import ADAPTERS, adapter_for
from forecastcache.testing import adapters, check_adapter

from ..adapters.tiny import MODELS, make, other_conditions
from ..built_ins import shipped
from ..conftest import SITES

INSIDE = {
    "dit", "flux", "qwen_image", "qwen_image_edit", "hunyuan_video",
    "hunyuan_video_token_replace", "framepack", "framepack_alone", "wan", "hidream",
    "hidream_wide", "bria", "bria_fibo", "longcat_image", "ovis_image", "bria_fibo2", "krea2",
    "omnigen", "prx",
    "flux3", "flux3_with_reference", "glm_image", "ernie_image", "nucleusmoe_image", "ideogram4",
    "joyimage_edit", "joyimage_edit_plus",
    "cosmos", "sana_video", "easyanimate", "helios", "anyflow", "anyflow_far", "motif_video",
    "sana_wm", "minimax_h3",
    "stable_audio", "stable_audio_3", "ace_step", "longcat_audio", "minimax_music3",
    "wan_vace", "wan_animate", "skyreels_v2", "chrono_edit", "hunyuan_video_15", "ltx", "ltx2",
    "kandinsky5", "kandinsky6", "kandinsky6_silent", "kandinsky6_sr", "cogvideox", "consisid",
    "mochi", "allegro", "latte", "wan_animate_2",
    "flux2", "z_image", "chroma", "sd3", "qwen_image21", "hunyuan_image", "cogview4",
    "cogview3_plus", "lumina2", "pixart", "sana", "auraflow", "hunyuan_dit",
}  # fmt: skip
TOKENS = {
    "dit", "flux", "qwen_image", "qwen_image_edit", "chroma", "bria", "bria_fibo",
    "longcat_image", "ovis_image", "wan", "wan_vace", "wan_animate", "skyreels_v2",
    "chrono_edit", "helios", "anyflow", "anyflow_far",
}  # fmt: skip
FEWER = {
    "sana_wm_refiner": ("output", "block", "module"),  # it asks how many blocks it has
    "lumina_next_dit": ("output", "hidden", "block"),
}


def test_every_adapter_that_ships_has_a_model_here():
    served = {adapter_for(make(name).model).name for name in MODELS}
    assert served == {*shipped(ADAPTERS)}


# Another model here is served by the same record as each of these.
LIKE_OTHERS = (
    "hunyuan_video_token_replace", "framepack_alone", "hidream_wide", "stable_cascade_prior",
    "audioldm2", "dreamlite_unet", "kandinsky3", "unet_3d", "i2vgen_xl", "animatediff",
    "stable_video_diffusion", "transformer_2d", "transformer_temporal", "flux3",
    "kandinsky6_silent",
)  # fmt: skip


# One of each kind; and those whose times, as they are told, hardly differ in bfloat16.
KINDS = (
    "dit", "flux", "qwen_image", "hunyuan_video", "framepack", "wan", "hidream", "sdxl_unet",
    "krea2", "bria_fibo2", "nucleusmoe_image", "ideogram4", "hunyuan_image", "hunyuan_dit",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_each_kind_conforms_at_every_site(name, monkeypatch):
    """In bfloat16, which rounds times; in float32 all run in test_sweep.py at all sites."""
    conforms_in(torch.bfloat16, name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*MODELS} - {*LIKE_OTHERS, *KINDS}))
def test_every_other_model_conforms_too(name, monkeypatch):
    conforms_in(torch.bfloat16, name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_models_conform_in_float32_too(name, monkeypatch):
    conforms_in(torch.float32, name, monkeypatch)


def conforms_in(dtype: torch.dtype, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "DTYPES", (dtype,))
    tiny = make(name)
    sites = SITES if name in INSIDE else FEWER.get(name, ("output",))
    sites += ("tokens",) * (name in TOKENS)
    assert adapter_for(tiny.model).granularities == sites
    check_adapter(tiny.model, tiny.arguments, other_conditions(tiny))


class Blocks(torch.nn.Module):
    """The smallest model with a trunk: two blocks and a tail."""

    def __init__(self, leak: bool = False) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(2))
        self.tail = torch.nn.Linear(4, 4)
        self.leak = leak
        self.calls = 0

    def forward(self, hidden_states, timestep, condition=None, return_dict=False):
        self.calls += 1
        drift = self.calls if self.leak else 1
        h = hidden_states * timestep[:, None].to(hidden_states) / 1000
        for block in self.blocks:
            h = block(h, condition)
        return (self.tail(h) * drift,)


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, hidden_states, condition):
        return hidden_states + self.linear(hidden_states * condition)


ARGUMENTS = {"hidden_states": torch.ones(2, 4), "condition": torch.ones(2, 4)}
OTHER = {"condition": torch.full((2, 4), 2.0)}


def adapter(**changes) -> fc.Adapter:
    record = {
        "name": "blocks",
        "models": ("mine.Blocks",),
        "trunk": (fc.Trunk(path="blocks", streams=("hidden_states",), modules=("linear",)),),
        "tail": "tail",
    }
    return fc.Adapter(**record | changes)


@pytest.fixture
def serve(monkeypatch):
    """Have an adapter serve every model."""

    def by(record: fc.Adapter) -> None:
        for place in ("engine.session", "testing.adapters"):
            monkeypatch.setattr(f"forecastcache.{place}.adapter_for", lambda model: record)

    return by


def test_an_outsiders_model_with_a_record_conforms(serve):
    serve(adapter())
    check_adapter(Blocks().eval(), ARGUMENTS, OTHER)


@pytest.mark.parametrize(
    ("model", "changes", "complaint"),
    [
        (Blocks(leak=True), {}, "with every step computed the output differs"),
        (Blocks(), {"tail": "blocks.1.linear"}, "site 'hidden': with its features reused"),
        (Blocks(), {"without_data": lambda twin: twin.blocks.append(Block())}, "were planned"),
    ],
    ids=["state", "tail", "plan"],
)
def test_what_does_not_conform_is_named(serve, model, changes, complaint):
    serve(adapter(**changes))
    with pytest.raises(ConformanceError, match=complaint):
        check_adapter(model.eval(), ARGUMENTS, OTHER)


def test_conditions_that_change_nothing_are_pointed_out(serve):
    serve(adapter())
    with pytest.raises(ConformanceError, match="both branches compute the same"):
        check_adapter(Blocks().eval(), ARGUMENTS, {"condition": torch.ones(2, 4)})


@pytest.mark.parametrize("arguments", [{}, {"hidden_states": torch.ones(2, 4), "conditon": 1}])
def test_arguments_that_the_model_does_not_take_are_named(serve, arguments):
    serve(adapter())
    with pytest.raises(ConformanceError, match="cannot be called with these arguments"):
        check_adapter(Blocks().eval(), arguments)
