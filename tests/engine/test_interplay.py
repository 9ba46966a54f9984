"""Sessions beside what else people put on a model: compile, offload, casting, LoRA."""

from __future__ import annotations

import contextlib

import accelerate
import diffusers
import pytest
import torch
from accelerate.hooks import remove_hook_from_module
from diffusers.hooks import apply_group_offloading
from peft import LoraConfig
from torch._dynamo.utils import counters

import forecastcache as fc
from forecastcache.engine.patch import COMPILED
from forecastcache.errors import AttachError

from ..adapters.tiny import Tiny, make
from ..conftest import SITES, fingerprint, make_pipeline, sample

TIMES = torch.linspace(1, 0.3, 6)
SCHEDULE, TAYLOR = fc.Every(3, first=2), fc.Taylor(order=1)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def run(tiny: Tiny) -> list[torch.Tensor]:
    """The outputs of a trajectory; the sample moves with time."""
    outputs = []
    for time in TIMES:
        given = dict(tiny.arguments)
        given["hidden_states"] = given["hidden_states"] * (1 + time)
        given["timestep"] = time.expand(2)
        with torch.no_grad():
            outputs.append(tiny.model(**given, return_dict=False)[0].float())
    return outputs


def forecast(tiny: Tiny, site: str) -> list[torch.Tensor]:
    with fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site) as session:
        outputs = run(tiny)
    assert session.report().computed == (0, 1, 4)
    return outputs


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def compile_blocks(tiny: Tiny, fullgraph: bool = True) -> None:
    tiny.model.compile_repeated_blocks(backend="eager", fullgraph=fullgraph)


def graphs() -> tuple[int, int]:
    """Graphs compiled so far, recompilations among them, and graph breaks."""
    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


# One a class of blocks, and another wherever their input comes in another layout.
GRAPHS = {"flux": 3, "wan": 1, "qwen_image": 1, "hunyuan_video": 5}
MORE_GRAPHS = ("qwen_image", "hunyuan_video")
OLDER = torch.__version__ < "2.13"  # compiled again where 2.13 does not


@pytest.mark.parametrize(
    "name",
    ["flux", "wan", *(pytest.param(it, marks=pytest.mark.slow) for it in MORE_GRAPHS)],
)
def test_compiled_blocks_stay_compiled_as_they_were(name):
    tiny, sites = make(name), ("output", "hidden", "block")
    expected = [forecast(tiny, site) for site in sites]
    compile_blocks(tiny)
    run(tiny)
    plain = graphs()
    assert plain == (GRAPHS[name], 0) or OLDER
    for site, outputs in zip(sites, expected):
        torch._dynamo.reset()
        counters.clear()
        assert same(forecast(tiny, site), outputs)
        assert graphs() == plain


@pytest.mark.parametrize("name", ["flux", "wan"])
def test_modules_inside_compiled_blocks_are_refused_and_compiled_themselves_served(name):
    tiny = make(name)
    expected = forecast(tiny, "module")
    compile_blocks(tiny)
    with pytest.raises(AttachError, match=r"blocks.0 is compiled, and inside it .*blocks.0.attn"):
        fc.attach(tiny.model, SCHEDULE, TAYLOR, site="module")
    tiny = make(name)
    for path, module in tiny.model.named_modules():
        if path.rpartition(".")[2] in ("attn", "attn1", "attn2", "ff", "ffn", "ff_context"):
            module.compile(backend="eager", fullgraph=True)
    run(tiny)
    plain = graphs()
    torch._dynamo.reset()
    counters.clear()
    assert same(forecast(tiny, "module"), expected)
    assert graphs() == plain
    assert plain[1] == 0


@pytest.mark.parametrize("name", ["flux", "wan"])
def test_a_model_compiled_as_a_whole_is_served_at_its_output(name):
    tiny = make(name)
    expected = forecast(tiny, "output")
    tiny.model.compile(backend="eager", fullgraph=True)
    compiled = tiny.model.__dict__[COMPILED]
    plain = run(tiny)
    assert graphs() == (1, 0)
    assert same(forecast(tiny, "output"), expected)
    assert graphs() == (1, 0)  # the plain model's own graph
    assert tiny.model.__dict__[COMPILED] is compiled
    assert "forward" not in tiny.model.__dict__
    assert same(run(tiny), plain)
    for site in ("hidden", "block", "module"):
        with pytest.raises(AttachError, match="Model is compiled, and inside it .* use a site"):
            fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site)
        assert tiny.model.__dict__[COMPILED] is compiled


def test_a_model_compiled_as_a_whole_is_not_attached_to_twice():
    tiny = make("flux")
    tiny.model.compile(backend="eager")
    with (
        fc.attach(tiny.model, SCHEDULE, TAYLOR),
        pytest.raises(AttachError, match="is attached already"),
    ):
        fc.attach(tiny.model, SCHEDULE, TAYLOR)


def test_compiling_under_a_session_is_refused_by_name():
    tiny = make("flux")
    with fc.attach(tiny.model, SCHEDULE, TAYLOR):
        tiny.model.compile(backend="eager")
        with pytest.raises(Exception, match="was compiled while it was attached"):
            run(tiny)
    torch._dynamo.reset()
    assert len(run(tiny)) == 6


@contextlib.contextmanager
def sequentially_offloaded(model: torch.nn.Module):
    accelerate.cpu_offload(model, execution_device=CPU, offload_buffers=True)
    yield
    remove_hook_from_module(model, recurse=True)


@contextlib.contextmanager
def offloaded_as_a_whole(model: torch.nn.Module):
    _, hook = accelerate.cpu_offload_with_hook(model, execution_device=CPU)
    yield
    hook.remove()


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", ["flux", "wan"])
@pytest.mark.parametrize("offload", [sequentially_offloaded, offloaded_as_a_whole])
def test_accelerates_offload_before_or_after(name, site, offload):
    expected, plain = forecast(make(name), site), run(make(name))
    before = make(name)
    with offload(before.model):
        assert same(forecast(before, site), expected)
    after = make(name)
    session = fc.attach(after.model, SCHEDULE, TAYLOR, site=site)
    with offload(after.model):
        assert same(run(after), expected)
        assert session.report().cache_bytes == session.report().cache_bytes_planned
    session.detach()
    assert same(run(after), plain)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
@pytest.mark.parametrize("first", ["offload", "attach"])
def test_group_offload(site, kind, first):
    tiny = make("flux")
    expected, plain = forecast(tiny, site), run(tiny)
    options = {"num_blocks_per_group": 1} if kind == "block_level" else {}

    def offload() -> None:
        apply_group_offloading(
            tiny.model, onload_device=CPU, offload_device=CPU, offload_type=kind, **options
        )

    if first == "offload":
        offload()
    session = fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site)
    if first == "attach":
        offload()
    assert same(run(tiny), expected)
    require_planned(session)
    session.detach()
    assert same(run(tiny), plain)


def require_planned(session: fc.Session) -> None:
    report = session.report()
    assert report.cache_bytes == report.cache_bytes_planned > 0, report.unplanned


def require_by_hand(outputs: list[torch.Tensor], plain: list[torch.Tensor], atol: float) -> None:
    """Forecasts at `output` are lines through the newest two computed outputs."""
    for step, (a, b) in {2: (0, 1), 3: (0, 1), 5: (1, 4)}.items():
        line = plain[b] + (plain[b] - plain[a]) * ((step - b) / (b - a))
        torch.testing.assert_close(outputs[step], line, rtol=0, atol=atol)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("first", ["casting", "attach"])
def test_layerwise_casting(site, first):
    def cast(tiny: Tiny) -> None:
        tiny.model.enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
        )

    tiny, bare = make("flux"), run(make("flux"))
    if first == "casting":
        cast(tiny)
    before = fingerprint(tiny.model)
    session = fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site)
    if first == "attach":
        cast(tiny)
    outputs = run(tiny)
    require_planned(session)
    session.detach()
    if first == "casting":
        assert fingerprint(tiny.model) == before
    plain = run(tiny)
    assert not same(plain, bare)
    assert not same(outputs, plain)
    if site == "output":
        require_by_hand(outputs, plain, atol=1e-5)  # sums in float32 of outputs of order 1
    with fc.attach(tiny.model, fc.Every(1), TAYLOR, site=site):
        assert same(run(tiny), plain)


@pytest.mark.parametrize("site", SITES)
def test_autocast(site):
    tiny = make("flux")
    before, bare = fingerprint(tiny.model), run(tiny)
    with torch.autocast("cpu", torch.bfloat16):
        plain = run(tiny)
        with fc.attach(tiny.model, fc.Every(1), TAYLOR, site=site):
            assert same(run(tiny), plain)
        with fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site) as session:
            outputs = run(tiny)
    require_planned(session)
    assert not same(plain, bare)
    assert not same(outputs, plain)
    if site == "output":
        # Half of the last place of bfloat16, at outputs of up to 4.
        require_by_hand(outputs, plain, atol=2**-7)
    assert fingerprint(tiny.model) == before
    assert same(run(tiny), bare)


def add_lora(tiny: Tiny) -> None:
    torch.manual_seed(1)
    targets = ["to_q", "proj_out", "proj_mlp", "ff.net.2"]
    tiny.model.add_adapter(
        LoraConfig(r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    )


@pytest.mark.parametrize("site", SITES)
def test_lora_loaded_before_or_after(site):
    without = forecast(make("flux"), site)
    before = make("flux")
    add_lora(before)
    expected = forecast(before, site)
    assert not same(expected, without)
    after = make("flux")
    with fc.attach(after.model, SCHEDULE, TAYLOR, site=site):
        assert same(run(after), without)
        add_lora(after)
        assert same(run(after), expected)
        after.model.disable_adapters()
        assert same(run(after), without)


@pytest.mark.parametrize("site", SITES)
def test_gradient_checkpointing_changes_nothing_without_gradients(site):
    tiny = make("flux")
    expected = forecast(tiny, site)
    tiny.model.enable_gradient_checkpointing()
    assert same(forecast(tiny, site), expected)


@pytest.mark.parametrize("site", SITES)
def test_inference_mode_and_back(site):
    tiny = make("flux")
    expected = forecast(tiny, site)
    with fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site):
        with torch.inference_mode():
            assert same(run(tiny), expected)
        assert same(run(tiny), expected)
        with torch.inference_mode():
            run(Tiny(tiny.model, tiny.arguments))  # ends in the middle of nothing
        assert same(run(tiny), expected)


@pytest.mark.parametrize(
    "scheduler",
    ["HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"],
)
def test_a_scheduler_that_calls_the_model_twice_a_step_is_refused_by_name(scheduler):
    pipe = make_pipeline()
    pipe.scheduler = getattr(diffusers, scheduler)()
    with pytest.raises(AttachError, match=f"{scheduler} calls the model 2 times a step"):
        fc.attach(pipe, SCHEDULE, TAYLOR)
    assert "forward" not in pipe.transformer.__dict__


@pytest.mark.parametrize(
    "scheduler",
    ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"],
)
def test_multistep_schedulers_of_higher_order_are_served(scheduler):
    pipe = make_pipeline()
    pipe.scheduler = getattr(diffusers, scheduler)(solver_order=2)
    plain = sample(pipe, steps=8)
    with fc.attach(pipe, fc.Every(1), TAYLOR):
        assert torch.equal(sample(pipe, steps=8), plain)
    with fc.attach(pipe, SCHEDULE, TAYLOR) as session:
        assert not torch.equal(sample(pipe, steps=8), plain)
    assert session.report().computed == (0, 1, 4, 7)
