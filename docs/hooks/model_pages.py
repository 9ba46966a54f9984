"""What the site says of models: a page for each record that has none in docs/models, and parts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers

from forecastcache.adapter import Adapter, Granularity, Trunk
from forecastcache.engine.caller import timed_parts
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.plan import plan_memory
from forecastcache.memory.planned_model import PUBLISHED, planned_model, published_names
from forecastcache.registry import ADAPTERS, adapter_for, adapter_of, declared

WRITTEN = Path(__file__).parents[1] / "models"
DEPTH = 2
ARXIV, LINK = re.compile(r"\b\d{4}\.\d{5}\b"), r"[\g<0>](https://arxiv.org/abs/\g<0>)"
GUIDANCE = {
    "batched": "Both halves are one batch, so there is one history, twice as large.",
    "sequential": "Each half is a call of its own and has its own history.",
    "embedded": (
        "The model takes the scale as an input: one call a step, one history. A second call, with "
        "a negative prompt, has a history of its own."
    ),
}
SETTINGS = """\
[A calibration](../calibration.md) or [`fc.accelerate`](../accelerate.md); without one
`fc.Warped(10)` with `fc.VariableOrder()` at `output`, and `fc.Taylor(order=1)` at other sites
([why](index.md#settings))."""


def records() -> dict[str, Adapter]:
    """The records that ship; another installed package documents its own."""
    return {name: record for name, record in ADAPTERS.items() if _module_of(name)}


def path_of(name: str) -> str:
    """The page of a record, in docs/models."""
    return "others.md" if name == "generic" else f"{name}.md"


def generated() -> list[str]:
    """The records that no page of docs/models is written for."""
    return [name for name in records() if not (WRITTEN / path_of(name)).is_file()]


def model_page(name: str) -> str:
    """All that is known of the models that a record serves."""
    record = records()[name]
    first, *others = _paragraphs(_module_of(name))
    cited = [text for text in others if ARXIV.search(text)]
    limits = [*(text for text in others if text not in cited), *_limits(record)]
    return "\n\n".join(
        [
            f"# `{name}`",
            *(ARXIV.sub(LINK, text) for text in (first, *cited)),
            f"Serves {_listed(record.models)}. {tested(name)}",
            f"## Sites\n\n{_sites(record)}",
            f"## Settings to begin with\n\n{SETTINGS}",
            f"## Guidance\n\n{GUIDANCE[record.guidance]}",
            "## Memory\n\n" + "\n\n".join(_memory(name)),
            "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
            "",
        ]
    )


def tested(name: str) -> str:
    """The pipelines in which the sites of a record are tested."""
    pipelines = _listed(tested_pipelines().get(name, ()))
    if not pipelines:
        return "It is tested by itself, in no pipeline."
    return f"It is tested in {pipelines}, with small random weights."


@cache
def tested_pipelines() -> dict[str, list[str]]:
    """Pipeline classes by the record of their models; tests/adapters holds them to the tests."""
    path = Path(__file__).with_name("tested_pipelines.json")
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def adapters() -> str:
    """Every record in a line, with its page."""
    known = timed_classes()
    lines = [
        f"Of diffusers {diffusers.__version__} {len(known)} denoising classes take a time. All of "
        f"them are served at `output`, and {sum(map(_has_sites_inside, known))} at sites inside.",
        "",
        "| record | classes of diffusers | sites | tested in | guidance |",
        "|---|---|---|---|---|",
    ]
    for name, record in records().items():
        classes = [kind.__name__ for kind in known if adapter_of(kind) is record]
        cells = [
            f"[`{name}`]({path_of(name)})",
            _listed(classes),
            _listed(record.granularities),
            _listed(tested_pipelines().get(name, ())),
            record.guidance if record.trunk else "as the pipeline does it",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@cache
def timed_classes() -> tuple[type, ...]:
    """The model classes of the installed diffusers that are told a time, without controlnets."""
    found = {name: getattr(diffusers, name, None) for name in dir(diffusers)}
    models = {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin)
    }
    return tuple(models[name] for name in timed_parts(models))


def memory(name: str) -> str:
    """The sites of a published model, their tensors, and what they hold at its usual size."""
    model = planned_model(name)
    record = adapter_for(model)
    plans = [
        plan_memory(model, InputSize(), depth=DEPTH, site=site) for site in record.granularities
    ]
    lines = [
        f"`{plans[0].model}`, configured as `{name}`, one sample of its usual size:",
        "",
        "| `site` | where | how many | one feature | MiB |",
        "|---|---|---:|---|---:|",
    ]
    for planned in plans:
        groups = planned.groups()
        for i, (pattern, count, site) in enumerate(groups):
            first = f"`{planned.site}`" if i == 0 else ""
            where = f"`{pattern}`" if pattern else "the model"
            feature = " and ".join(" x ".join(map(str, shape)) for shape in site.shapes)
            held = _mebibytes(planned.branches * count * site.bytes)
            lines.append(f"| {first} | {where} | {count} | {feature} | {held} |")
        if len(groups) > 1:
            lines.append(f"| | in all | | | **{_mebibytes(planned.total_bytes)}** |")
    calls = "one branch"
    if plans[0].branches > 1:
        calls = f"{plans[0].branches} branches of guidance together"
    elif record.guidance == "batched":
        calls = "a batch of both halves of guidance (without guidance half as much)"
    lines += [
        "",
        f"MiB are of {DEPTH} features a site in bfloat16 (Taylor of order 1), in {calls}. "
        f"`forecastcache memory {name} --site SITE` says the same.",
    ]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """The generated pages, by their paths in docs."""
    return {f"models/{path_of(name)}": model_page(name) for name in generated()}


def _sites(record: Adapter) -> str:
    kept = {site: _kept(record, site) for site in record.granularities}
    rows = [f"| `{site}` | {text} |" for site, text in kept.items()]
    return "\n".join(["| `site` | what is kept |", "|---|---|", *rows])


def _kept(record: Adapter, site: Granularity) -> str:
    if site == "output":
        return "what the model returns"
    if site == "hidden":
        tails = (record.tail,) if isinstance(record.tail, str) else record.tail or ()
        return "what is given to " + " and to ".join(f"`{tail}`" for tail in tails)
    if site == "block":
        return _of_each({trunk.path: _change(trunk) for trunk in record.trunk})
    return _of_each({trunk.path: _outputs(trunk) for trunk in record.trunk})


def _of_each(texts: dict[str, str]) -> str:
    """Texts of block lists by their paths, those alike in one."""
    paths: dict[str, list[str]] = {}
    for path, text in texts.items():
        paths.setdefault(text, []).append(path)
    return "; ".join(f"{text} each block of {_listed(of)}" for text, of in paths.items() if text)


def _change(trunk: Trunk) -> str:
    """What a block adds to its streams, or returns anew."""
    named = _listed(name for name in trunk.streams if name)
    changed = f"what is added to {named}" if named else ""
    anew = "what is returned" if None in trunk.streams else ""
    return " and ".join(filter(None, (anew, changed))) + " by"


def _outputs(trunk: Trunk) -> str:
    """The modules whose outputs are kept, and those that need not run then."""
    if "" in trunk.modules:
        return "the output of"
    skipped = _listed(skip.path for skip in trunk.skipped)
    without = f" (which makes {skipped} needless)" if skipped else ""
    return f"the outputs of {_listed(trunk.modules)}{without} in" if trunk.modules else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _memory(name: str) -> Iterator[str]:
    models = {it: json.loads((PUBLISHED / f"{it}.json").read_text()) for it in published_names()}
    served = {f"diffusers.{it['class']}": model for model, it in models.items()}
    planned = [it for kind, it in served.items() if kind in records()[name].models]
    yield from map(memory, planned)
    if not planned:
        yield (
            "No published configuration of it ships, and `forecastcache memory` does not know how "
            "it is called. Run once and read `session.report().cache_bytes`."
        )


def _limits(record: Adapter) -> Iterator[str]:
    yield "No figure of fidelity is of this model: its trained weights were not run here."
    if record.grid is None:
        yield "`fc.Bands` serves it at `output` alone, since the record tells no grid of tokens."
    if record.modulated is None:
        yield "Schedules that look at the modulated timestep embedding do not serve it."


def _module_of(name: str) -> str:
    """The module that a built-in record is declared in; '' for another package's."""
    modules = [point.module for point in declared(ADAPTERS.group).get(name, ())]
    return next((it for it in modules if it.startswith("forecastcache.adapters.")), "")


def _paragraphs(module: str) -> list[str]:
    texts = (import_module(module).__doc__ or "").split("\n\n")
    return [" ".join(text.split()) for text in texts]


def _has_sites_inside(kind: type) -> bool:
    return bool(adapter_of(kind).trunk)


def _mebibytes(count: int) -> str:
    value = count / 2**20
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def navigation() -> list[dict[str, Any]]:
    """The place of the generated pages in the navigation."""
    return [{"Every other record": [{name: f"models/{path_of(name)}"} for name in generated()]}]
