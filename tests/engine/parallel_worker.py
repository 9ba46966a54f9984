"""One of the processes that share a model: python -m tests.engine.parallel_worker HOW OUT MODELS.

Writes what it found to OUT, a name for each rank; the test compares.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import ContextParallelConfig, TensorParallelConfig
from diffusers.hooks import tensor_parallel
from diffusers.models import attention_dispatch
from torch import distributed, nn

import forecastcache as fc
from forecastcache._util.fingerprint import weights_fingerprint
from forecastcache.errors import AttachError

from ..adapters.tiny import Tiny, make
from ..conftest import SITES, fingerprint
from ..processes import Collectives

TIMES = torch.linspace(1, 0.3, 6)
SCHEDULE, TAYLOR = fc.Every(3, first=2), fc.Taylor(order=1)
THRESHOLDS = {  # by which some steps are computed, by the number of processes
    2: {"flux": 0.2, "wan": 0.02, "qwen_image": 0.3},
    4: {"flux": 0.4, "wan": 0.02, "qwen_image": 0.45},
}
HOW = {
    "ulysses": lambda size: ContextParallelConfig(ulysses_degree=size),
    "ring": lambda size: ContextParallelConfig(ring_degree=size),
    "both": lambda size: ContextParallelConfig(ulysses_degree=2, ring_degree=size // 2),
    "tensor": lambda size: TensorParallelConfig(tp_degree=size),
}


class Moved(fc.Schedule):
    """Computes where the first block's residual has moved by more than a part of itself."""

    threshold: float = 0.1
    only_rank: int | None = None

    @property
    def needs(self):
        return frozenset({"first_block"})

    def compute(self, step, state):
        residual = state.first_block_residual()
        if self.only_rank is not None:  # which disagrees with the others at every step
            return distributed.get_rank() == self.only_rank and step.index % 2 == 0
        known = state.memory.get("residual")
        moved = known is None or (residual - known).norm() > self.threshold * known.norm()
        if moved:
            state.memory["residual"] = residual.clone()
        return bool(moved)


def attention_with_its_sums(
    ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False, return_lse: bool = False, **_: Any,
) -> Any:  # fmt: skip
    """Attention on a CPU with the logarithms of its sums, which a ring needs to add up shares."""
    query, key, value = (it.transpose(1, 2) for it in (query, key, value))
    given = {"attn_mask": attn_mask, "scale": scale}
    out, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, **given
    )
    out, sums = out.transpose(1, 2), sums.transpose(1, 2)
    return (out, sums) if return_lse else out


def fit_for_cpu(how: str) -> None:
    """What diffusers lacks to share a model among processes without an accelerator."""
    torch.accelerator.device_count = lambda: 1  # it takes the rank modulo this
    tensor_parallel._SUPPORTED_TP_DEVICES += ("cpu",)
    if how in ("ring", "both"):
        attention_dispatch._native_attention_forward_op = attention_with_its_sums


def even(name: str, size: int) -> Tiny:
    """A tiny model whose tokens and heads so many processes can share alike."""
    tiny = make(name)
    torch.manual_seed(5)
    words = -(-6 // size) * size
    given = {"encoder_hidden_states": torch.randn(2, words, 12)}
    if name == "flux":
        given["txt_ids"] = torch.zeros(words, 3)
    if name == "qwen_image":
        given["encoder_hidden_states_mask"] = None
    if size > 2:
        tiny = tiny._replace(model=with_heads(tiny.model, size))
        if name == "wan":
            given["hidden_states"] = torch.randn(2, 4, size, 4, 6)
    return tiny._replace(arguments=tiny.arguments | given)


def with_heads(model: nn.Module, heads: int) -> nn.Module:
    """A model of the same class with other weights and so many heads."""
    other = type(model).from_config({**model.config, "num_attention_heads": heads}).eval()
    for parameter in other.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return other


def run(tiny: Tiny) -> list[torch.Tensor]:
    """The outputs of a trajectory; the sample moves with time."""
    outputs = []
    for time in TIMES:
        given = dict(tiny.arguments)
        given["hidden_states"] = given["hidden_states"] * (1 + time)
        with torch.no_grad():
            outputs.append(tiny.model(**given, timestep=time.expand(2), return_dict=False)[0])
    return outputs


def distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(one, other))


@contextmanager
def attached(tiny: Tiny, schedule: fc.Schedule, site: str) -> Iterator[tuple[Any, Collectives]]:
    with fc.attach(tiny.model, schedule, TAYLOR, site=site) as session, Collectives() as passed:
        yield session, passed


def look(how: str, name: str, size: int) -> dict[str, Any]:
    """What a model does alone and shared, at every site."""
    tiny = even(name, size)
    alone, plain, weights = {}, run(tiny), weights_fingerprint(tiny.model)
    for site in SITES:
        with attached(tiny, SCHEDULE, site) as (session, _):
            alone[site] = run(tiny), session.report().cache_bytes
    tiny.model.enable_parallelism(config=HOW[how](size))
    before = fingerprint(tiny.model)
    with Collectives() as passed:
        shared = run(tiny)
    found: dict[str, Any] = {
        "plain": distance(shared, plain),
        "collectives": passed.counts,
        "same weights": weights_fingerprint(tiny.model) == weights,
        "sites": {},
    }
    for site in SITES:
        with attached(tiny, fc.Every(1), site) as (_, all_passed):
            identical = all(map(torch.equal, run(tiny), shared))
        with attached(tiny, SCHEDULE, site) as (session, passed):
            outputs = run(tiny)
        with Collectives() as planning:
            report = session.report()
        found["sites"][site] = {
            "identical": identical,
            "distance": distance(outputs, alone[site][0]),
            "bytes": report.cache_bytes,
            "planned": report.cache_bytes_planned,
            "unplanned": report.unplanned,
            "alone": alone[site][1],
            "computed": report.computed,
            "all computed": all_passed.counts,
            "collectives": passed.counts,
            "planning": planning.counts,
        }
    found["detached"] = fingerprint(tiny.model) == before
    found["restored"] = all(map(torch.equal, run(tiny), shared))
    found["adaptive"] = adaptive(tiny, name)
    return found


def adaptive(tiny: Tiny, name: str) -> dict[str, Any]:
    found = {}
    for schedule in (
        Moved(threshold=THRESHOLDS[distributed.get_world_size()][name]),
        Moved(only_rank=1),
    ):
        with attached(tiny, schedule, "block") as (session, passed):
            run(tiny)
        votes = passed.counts.get("c10d.allreduce_.default", 0)
        found["disagreeing" if schedule.only_rank else "agreeing"] = {
            "computed": [call.step.index for call in session.calls if call.was_computed],
            "votes": votes,
        }
    return found


def too_late() -> str:
    """What is said where a model is shared while it is attached."""
    tiny = even("flux", 2)
    with fc.attach(tiny.model, SCHEDULE, TAYLOR, site="block"):
        tiny.model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2))
        try:
            run(tiny)
        except AttachError as error:
            return str(error)
    return ""


def main(how: str, out: Path, *names: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    distributed.init_process_group("gloo")
    fit_for_cpu(how)
    size = distributed.get_world_size()
    found = {name: look(how, name, size) for name in names}
    if how == "ulysses" and size == 2:
        found["too late"] = too_late()
    (out / f"{distributed.get_rank()}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
