"""Sessions on quantised weights: torchao's tensors, and the packed layers of GGUF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from torch import nn

import forecastcache as fc
from forecastcache._util.fingerprint import weights_fingerprint
from forecastcache.calibration.calibrate import calibrate
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.identity import Identity
from forecastcache.errors import ForecastCacheWarning
from forecastcache.sampling.request import Request

from ..adapters.pipelines import flux_pipeline
from ..adapters.tiny import Tiny
from ..adapters.tiny.image import flux_ids, flux_model
from ..adapters.tiny.make import rand
from ..conftest import SITES, fingerprint, make_pipeline

TIMES = torch.linspace(1, 0.3, 6)
SCHEDULE, TAYLOR = fc.Every(3, first=2), fc.Taylor(order=1)
COMPUTED = (0, 1, 4)
# Order 1 by hand, step: (weights of the newest two outputs).
FORECASTS = {2: (0, 1, -1.0, 2.0), 3: (0, 1, -2.0, 3.0), 5: (1, 4, -1 / 3, 4 / 3)}
WIDE = {  # GGUF packs 32 numbers at a time
    "attention_head_dim": 16, "joint_attention_dim": 32, "pooled_projection_dim": 32,
    "axes_dims_rope": (8, 4, 4),
}  # fmt: skip


def original() -> nn.Module:
    torch.manual_seed(0)
    return flux_model(**WIDE).eval()


def by_torchao(name: str) -> Callable[[Path], nn.Module]:
    def made(folder: Path) -> nn.Module:
        quantization = pytest.importorskip("torchao", reason="torchao missing").quantization
        model = original()
        quantization.quantize_(model, getattr(quantization, name)())
        assert type(model.transformer_blocks[0].ff.net[2].weight) is not nn.Parameter
        return model

    return made


def by_torchao_in_diffusers(folder: Path) -> nn.Module:
    quantization = pytest.importorskip("torchao", reason="torchao missing").quantization
    original().save_pretrained(folder)
    return diffusers.FluxTransformer2DModel.from_pretrained(
        folder,
        torch_dtype=torch.float32,
        quantization_config=diffusers.TorchAoConfig(quantization.Int8WeightOnlyConfig()),
    )


def by_gguf(folder: Path) -> nn.Module:
    gguf = pytest.importorskip("gguf", reason="gguf missing")
    model, file, kind = original(), folder / "tiny.gguf", gguf.GGMLQuantizationType.Q8_0
    model.save_config(folder)
    writer = gguf.GGUFWriter(file, "flux")
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        if array.ndim == 2 and array.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    loaded = diffusers.FluxTransformer2DModel.from_single_file(
        str(file),
        config=str(folder),
        torch_dtype=torch.float32,
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=torch.float32),
    )
    assert loaded.transformer_blocks[0].attn.to_q.weight.dtype is torch.uint8
    return loaded


WAYS = {
    "torchao int8 weights": by_torchao("Int8WeightOnlyConfig"),
    "torchao int8 weights and activations": by_torchao("Int8DynamicActivationInt8WeightConfig"),
    "torchao float8 weights": by_torchao("Float8WeightOnlyConfig"),
    "torchao through diffusers": by_torchao_in_diffusers,
    "gguf": by_gguf,
}


FAST = ("torchao int8 weights", "gguf")


@pytest.fixture(
    scope="module",
    params=[it if it in FAST else pytest.param(it, marks=pytest.mark.slow) for it in WAYS],
)
def quantised(request, tmp_path_factory) -> Tiny:
    model = WAYS[request.param](tmp_path_factory.mktemp("model"))
    torch.manual_seed(0)
    arguments = {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 32),
        "pooled_projections": rand(2, 32),
        "img_ids": flux_ids(),
        "txt_ids": torch.zeros(5, 3),
        "guidance": torch.full((2,), 3.5),
    }
    return Tiny(model.eval(), arguments)


def call(tiny: Tiny, time: torch.Tensor) -> torch.Tensor:
    given = dict(tiny.arguments)
    given["hidden_states"] = given["hidden_states"] * (1 + time)
    with torch.no_grad():
        return tiny.model(**given, timestep=time.expand(2), return_dict=False)[0]


def run(tiny: Tiny) -> list[torch.Tensor]:
    return [call(tiny, time) for time in TIMES]


@pytest.mark.parametrize("site", SITES)
def test_all_computed_is_identical_planned_is_measured_and_nothing_is_left(quantised, site):
    before, plain = fingerprint(quantised.model), run(quantised)
    with fc.attach(quantised.model, fc.Every(1), TAYLOR, site=site):
        assert all(map(torch.equal, run(quantised), plain))
    with fc.attach(quantised.model, SCHEDULE, TAYLOR, site=site) as session:
        forecast = run(quantised)
    report = session.report()
    assert report.computed == COMPUTED
    assert report.cache_bytes == report.cache_bytes_planned > 0, report.unplanned
    assert all(torch.equal(forecast[step], plain[step]) for step in (0, 1))
    assert all(not torch.equal(forecast[step], plain[step]) for step in FORECASTS)
    assert fingerprint(quantised.model) == before
    assert all(map(torch.equal, run(quantised), plain))


def test_forecasts_are_those_of_the_quantised_outputs(quantised):
    plain = run(quantised)
    with fc.attach(quantised.model, SCHEDULE, TAYLOR):
        forecast = run(quantised)
    for step, (a, b, weight_a, weight_b) in FORECASTS.items():
        by_hand = weight_a * plain[a].double() + weight_b * plain[b].double()
        # Sums in float32 of outputs of order 1.
        torch.testing.assert_close(forecast[step].double(), by_hand, rtol=0, atol=1e-5)


def test_flops_are_those_of_the_unquantised_model(quantised):
    flops = []
    for model in (original(), quantised.model):
        with fc.attach(model, SCHEDULE, TAYLOR) as session:
            run(Tiny(model, quantised.arguments))
        flops.append(session.report().flops)
    assert flops[0] == flops[1] > 0


def test_an_identity_is_of_these_weights(quantised):
    pipe = flux_pipeline()
    pipe.transformer = quantised.model
    mine = Identity.of(pipe, 6, 3.5)
    assert mine.weights is not None
    assert Identity.of(pipe, 6, 3.5) == mine
    pipe.transformer = original()
    other = Identity.of(pipe, 6, 3.5)
    assert other.model == mine.model
    with pytest.warns(ForecastCacheWarning, match="of other weights of FluxTransformer2DModel"):
        mine.require(other)


def test_a_changed_number_of_a_quantised_weight_counts(tmp_path):
    model = by_torchao("Int8WeightOnlyConfig")(tmp_path)
    before = weights_fingerprint(model)
    weight = model.transformer_blocks[0].ff.net[2].weight
    for inner in weight.__tensor_flatten__()[0]:
        data = getattr(weight, inner)
        data.view(-1)[0] += 1
        assert weights_fingerprint(model) != before
        data.view(-1)[0] -= 1
    assert weights_fingerprint(model) == before


def test_a_calibration_of_quantised_weights_serves_them_and_warns_of_others(tmp_path):
    quantization = pytest.importorskip("torchao", reason="torchao missing").quantization
    request = Request(classes=("1", "2", "3"), steps=8, count=3)
    pipe, computed = make_pipeline(), fc.Listed([0, 3, 6])
    quantization.quantize_(pipe.transformer, quantization.Int8WeightOnlyConfig())
    calibrate(pipe, [request], tmp_path / "dit.cal", [computed])
    calibration = Calibration.load(tmp_path / "dit.cal")
    with fc.attach(pipe, computed, calibration.predictor(computed)) as session:
        request.sample(pipe)
    assert session.report().computed == (0, 3, 6)
    calibration.identity.require(Identity.of(pipe, 8, None))
    pipe.transformer = make_pipeline().transformer
    with pytest.warns(ForecastCacheWarning, match="of other weights"):
        calibration.identity.require(Identity.of(pipe, 8, None))
