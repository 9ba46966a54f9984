"""Sessions on compiled models: the same outputs, and no graph more than without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from answer import Answer
from asked import Asked
from subjects import Subject, flux
from torch import Tensor, nn

import forecastcache as fc

NEEDS = ("diffusers",)
STEPS = 8
TIMES = [1 - step / 10 for step in range(STEPS)]
SCHEDULE, TAYLOR = fc.Every(3, first=2), fc.Taylor(1)
EXPECTED_SECONDS = 25  # of a way, most of it for compiling
OUTSIDE = ("output", "hidden", "block")  # sites that are not within a block


class Compiling(NamedTuple):
    """A way of compiling a model, and the sites that are outside of what it compiles."""

    name: str
    put_on: Callable[[nn.Module, Mapping[str, Any]], object]
    sites: tuple[Any, ...]
    graphs_of_cuda: bool = False


def _whole(model: nn.Module, options: Mapping[str, Any]) -> object:
    return model.compile(**options)


def _blocks(model: Any, options: Mapping[str, Any]) -> object:
    return model.compile_repeated_blocks(fullgraph=True, **options)


WAYS = (
    Compiling("compile_repeated_blocks(fullgraph=True)", _blocks, OUTSIDE),
    Compiling("compile()", _whole, ("output",)),
    Compiling("compile(mode='reduce-overhead')", _whole, ("output",), True),
    Compiling("compile_repeated_blocks, 'reduce-overhead'", _blocks, OUTSIDE, True),
)


def main(asked: Asked, answer: Answer) -> None:
    subject = flux(asked.tiny, blocks=(2, 2), pixels=256)
    call = arguments(subject, asked.device)
    for way in WAYS:
        with answer.trying(way.name):
            if way.graphs_of_cuda and asked.device != "cuda":
                answer.skip(way.name, "no CUDA: its graphs need a GPU")
                continue
            reason = asked.no_time_for(1 if asked.tiny else EXPECTED_SECONDS)
            if reason:
                answer.skip(way.name, reason)
            else:
                compare(way, subject, call, asked, answer)


def compare(
    way: Compiling, subject: Subject, call: dict[str, Any], asked: Asked, answer: Answer
) -> None:
    """A row for each site: attached and compiled against attached alone."""
    # float32, so that what the compiler joins shows in the last digits only.
    model = subject.pipe(asked.device, torch.float32).transformer
    plain = run(model, call)
    eager = {site: attached(model, call, site) for site in way.sites}
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    if asked.device == "cuda":
        options = {"mode": "reduce-overhead"} if way.graphs_of_cuda else {}
    else:
        options = {"backend": "eager"}  # there need not be a compiler
    way.put_on(model, options)
    alike = apart(run(model, call), plain)
    before, broken = graphs()
    for site in way.sites:
        with answer.trying(f"{way.name}, {site}"):
            difference = apart(attached(model, call, site), eager[site])
            after, now_broken = graphs()
            answer.row(
                way=way.name,
                site=site,
                apart=difference,
                apart_plain=alike,
                graphs_plain=before,
                graphs_more_attached=after - before,
                breaks_plain=broken,
                breaks_more_attached=now_broken - broken,
            )


def arguments(subject: Subject, device: str) -> dict[str, Any]:
    """What the model is called with, beside the time."""
    from forecastcache.registry import adapter_for

    blank = subject.blank()
    inputs = adapter_for(blank).inputs
    assert inputs is not None
    torch.manual_seed(1)
    given = inputs(blank.config, subject.size)
    return {name: torch.randn(it.shape, device=device) for name, it in given.items()}


def run(model: nn.Module, call: dict[str, Any]) -> list[Tensor]:
    """The outputs of a trajectory whose sample moves with time."""
    outputs = []
    for time in TIMES:
        moved = {**call, "hidden_states": call["hidden_states"] * (1 + time)}
        torch.compiler.cudagraph_mark_step_begin()
        with torch.no_grad():
            at = torch.full((1,), time, device=moved["hidden_states"].device)
            output = model(**moved, timestep=at, return_dict=False)[0]
        outputs.append(output.clone())  # a CUDA graph writes over what it returned
    return outputs


def attached(model: nn.Module, call: dict[str, Any], site: Any) -> list[Tensor]:
    with fc.attach(model, SCHEDULE, TAYLOR, site=site):
        return run(model, call)


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference of any number."""
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))


def graphs() -> tuple[int, int]:
    """Graphs compiled so far, those compiled again among them, and graph breaks."""
    counters = torch._dynamo.utils.counters
    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
