"""Records that name what a model has not are refused, with what to write instead."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import pytest

import forecastcache as fc
from forecastcache.errors import AttachError, ConformanceError
from forecastcache.registry import ADAPTERS, adapter_for
from forecastcache.testing import check_adapter

from ..conftest import SITES, fingerprint
from .tiny import make
from .tiny.image import flux_model

FLUX = ADAPTERS.get("flux")
DOUBLE, SINGLE = FLUX.trunk


@pytest.fixture
def serve(monkeypatch):
    """Have a record serve every model."""

    def by(record: fc.Adapter) -> None:
        for place in ("engine.session", "testing.adapters"):
            monkeypatch.setattr(f"forecastcache.{place}.adapter_for", lambda model: record)

    return by


@pytest.mark.parametrize(
    ("site", "changes", "complaint"),
    [
        (
            "block",
            {"trunk": (replace(DOUBLE, path="blocks"),)},
            r"'flux' names the blocks 'blocks', which FluxTransformer2DModel does not have: write "
            r"one of its lists \(transformer_blocks, single_transformer_blocks\) as the Trunk's",
        ),
        (
            "hidden",
            {"trunk": (replace(DOUBLE, path="blocks"),)},
            "names the blocks 'blocks', which",
        ),
        (
            "module",
            {"trunk": (replace(DOUBLE, modules=("attn", "mlp")),)},
            r"names the module 'mlp', which transformer_blocks.0 does not have: write what a "
            r"FluxTransformerBlock has \(norm1, norm1_context, attn, ",
        ),
        (
            "module",
            {"trunk": (replace(SINGLE, skipped=(fc.Skip("mlp"),)),)},
            "names the module 'mlp', which single_transformer_blocks.0 does not have",
        ),
        (
            "hidden",
            {"tail": "final_layer"},
            "names the module 'final_layer', which FluxTransformer2DModel lacks: .*, norm_out",
        ),
        (
            "block",
            {"trunk": (replace(DOUBLE, streams=("hidden_states", "text")),)},
            "names the stream 'text', which FluxTransformerBlock does not take: .*hidden_states, ",
        ),
        (
            "hidden",
            {"trunk": (replace(DOUBLE, streams=("hidden_states", "text")),)},
            "names the stream 'text'",
        ),
    ],
)
def test_what_a_record_names_and_the_model_lacks_is_refused_at_attach(
    serve, site, changes, complaint
):
    model = flux_model()
    before = fingerprint(model)
    serve(replace(FLUX, **changes))
    with pytest.raises(AttachError, match=complaint):
        fc.attach(model, fc.Every(2), fc.Taylor(), site=site)
    assert fingerprint(model) == before
    with fc.attach(model, fc.Every(2), fc.Taylor()):
        pass


def test_a_signal_in_a_module_that_is_not_there_is_refused(serve):
    class Looks(fc.Schedule):
        @property
        def needs(self):
            return frozenset({"modulated"})

        def compute(self, step, state):
            return True

    serve(replace(FLUX, modulated="transformer_blocks.0.modulation"))
    with pytest.raises(AttachError, match=r"names the module 'transformer_blocks.0.modulation'"):
        fc.attach(flux_model(), Looks(), fc.Reuse())


@pytest.mark.parametrize("name", ["flux", "qwen_image", "mochi", "hidream"])
def test_streams_in_the_wrong_order_are_named_with_the_right_one(serve, name):
    tiny = make(name)
    record = adapter_for(tiny.model)
    at = next(i for i, trunk in enumerate(record.trunk) if len(trunk.streams) > 1)
    trunk = record.trunk[at]
    wrong = replace(trunk, streams=trunk.streams[::-1])
    serve(replace(record, trunk=(*record.trunk[:at], wrong, *record.trunk[at + 1 :])))
    with pytest.raises(ConformanceError) as refused:
        check_adapter(tiny.model.eval(), tiny.arguments)
    said = str(refused.value)
    assert f"{trunk.path!r} are in the wrong order, {wrong.streams}" in said
    assert said.endswith(f"write streams={trunk.streams}")


def test_fewer_streams_than_results_are_pointed_out(serve):
    tiny = make("qwen_image")
    record = adapter_for(tiny.model)
    serve(replace(record, trunk=(replace(record.trunk[0], streams=("hidden_states",)),)))
    with pytest.raises(ConformanceError, match="returns 2 results and its streams are 1, "):
        check_adapter(tiny.model.eval(), tiny.arguments)


def test_a_subclass_with_other_blocks_is_told_what_it_has(serve):
    """One that a record names: its blocks have to be those of the record."""

    class Shallow(diffusers.FluxTransformer2DModel):
        def __init__(self, **config):
            super().__init__(**config)
            self.layers = self.transformer_blocks
            del self.transformer_blocks

    model = Shallow(**{k: v for k, v in flux_model().config.items() if not k.startswith("_")})
    assert adapter_for(model).granularities == ("output",)
    serve(FLUX)
    with pytest.raises(AttachError, match=r"does not have: write one of its lists .*layers"):
        fc.attach(model, fc.Every(2), fc.Taylor(), site="block")


@pytest.mark.parametrize("site", SITES)
def test_consisid_without_a_face_has_its_other_sites(site):
    config = dict(make("consisid").model.config) | {"is_train_face": False}
    model = diffusers.ConsisIDTransformer3DModel.from_config(config).eval()
    sites = adapter_for(model).sites(model, site)
    assert not any("perceiver" in each.path for each in sites)
    assert len(sites) == {"output": 1, "hidden": 1, "block": 3, "module": 6}[site]
    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site):
        pass
