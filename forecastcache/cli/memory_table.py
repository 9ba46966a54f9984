"""Memory tables: what the command line prints of a planned cache, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from forecastcache.cli.narrow import print_table
from forecastcache.memory.budget import in_mebibytes
from forecastcache.memory.footprint import Footprint, TakenAs
from forecastcache.memory.plan import MemoryPlan

KEPT = {
    "output": "the model's output",
    "hidden": "its last layer's input",
    "block": "{} blocks",
    "module": "{} attentions and MLPs",
    "tokens": "{} modules and norms",
}
SPANS = "{} spans of blocks"


def print_footprint(found: Footprint, predictor: str | None) -> None:
    """What a cache holds at every site, beside the model that it is of.

    Args:
        found: what was planned.
        predictor: predictor whose depth it is; None for a depth that was given.
    """
    console = Console()
    first, *_ = found.caches
    kept = f"{first.depth} feature{'s' * (first.depth > 1)} a site"
    of = "" if predictor is None else f" ({predictor})"
    stored = "" if f"torch.{first.dtype}" == str(found.dtype) else f", stored in {first.dtype}"
    lines = [f"{found.model}: {kept}{of}{stored}", _sizes(found)]
    lines += [f"weights: {_weights(found)}"]
    lines += [f"activations of a computed step: {in_mebibytes(found.activations)}"]
    lines += [f"not counted: {'; '.join(found.uncounted)}"]
    console.print(*lines, sep="\n", highlight=False, markup=False)
    print_table(console, _sites(found))
    for line in _remedies(found):
        console.print(line, highlight=False, markup=False)


def print_plan(plan: MemoryPlan) -> None:
    """What a cache will hold at one site, places that differ by their block alone in one row."""
    console = Console()
    console.print(
        f"{plan.site}: {plan.depth} features in each of {plan.branches} "
        f"branch{'es' * (plan.branches > 1)}",
        highlight=False,
    )
    table = Table("site", "sites", "feature", "bytes a branch")
    for column in (table.columns[1], table.columns[3]):
        column.justify = "right"
    table.columns[0].overflow = "fold"
    for pattern, count, site in plan.groups():
        shapes = " and ".join(" x ".join(map(str, shape)) for shape in site.shapes)
        table.add_row(pattern or "the model", str(count), shapes, f"{count * site.bytes:,}")
    print_table(console, table)
    total = plan.total_bytes
    exact, brief = f"{total:,} bytes", in_mebibytes(total)
    console.print(f"in all {exact}" + (f", {brief}" if brief != exact else ""), highlight=False)


def _sizes(found: Footprint) -> str:
    taken = list(found.taken())
    parts = []
    for title, given in (("given", True), ("assumed", False)):
        words = [_in_words(it) for it in taken if it.given is given]
        if words:
            parts.append(f"{title}: {', '.join(words)}")
    return "; ".join(parts)


def _in_words(taken: TakenAs) -> str:
    if isinstance(taken.value, str):
        return taken.value
    name = taken.name.replace("_", " ")
    if taken.asked is None:
        return f"{name} {taken.value}"
    return f"{name} {taken.asked}, which the pipeline makes {taken.value}"


def _weights(found: Footprint) -> str:
    counted = [it for it in found.components if it.bytes is not None]
    words = [
        f"{it.name} {in_mebibytes(it.bytes or 0)}" + (f" ({it.remark})" if it.remark else "")
        for it in counted
    ]
    total = f"; in all {in_mebibytes(found.weights)}" if len(counted) > 1 else ""
    return ", ".join(words) + total


def _sites(found: Footprint) -> Table:
    title = "in MiB"
    titles = ["site", "what is kept", "cache", "with model"]
    if found.gpu is not None:
        title += f"; the GPU has {_mebibytes(found.gpu)}"
        titles += ["fits", "remains"]
    table = Table(*titles, title=title, title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for cache in found.caches:
        if cache.site not in found.shown:
            continue
        name, _, part = cache.site.partition(":")
        kept = SPANS if part and name == "block" else KEPT[name]
        row = [cache.site, kept.format(len(cache.sites))]
        row += [_mebibytes(cache.total_bytes), _mebibytes(found.needed(cache))]
        remains = found.remains(cache)
        if remains is not None:
            row += ["yes" if remains >= 0 else "no", _mebibytes(remains)]
        table.add_row(*row)
    return table


def _mebibytes(count: int) -> str:
    value = count / 2**20
    size = abs(value)
    return f"{value:,.{0 if size >= 10 else 1 if size >= 0.1 else 3}f}"


def _remedies(found: Footprint) -> Iterator[str]:
    for cache in found.caches:
        remains = found.remains(cache)
        if cache.site not in found.shown or remains is None or remains >= 0:
            continue
        words = [
            f"{it.change} ({in_mebibytes(it.remaining_bytes)} remain)"
            for it in found.remedies(cache)
        ]
        cure = "; or ".join(words) or "nothing that is known here makes it: take a larger GPU"
        yield f"{cache.site} does not fit: {cure}"
