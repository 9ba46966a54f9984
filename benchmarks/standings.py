"""How ours compare with the baselines: tables and picture of docs/peers.md and the README."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import RESULTS, put
from tuning import BUDGETS, STEPS

from forecastcache import zoo
from forecastcache.evaluation.compare import (
    COSTS,
    Cost,
    best_within,
    lead,
    times_fewer,
    with_fidelity,
)
from forecastcache.evaluation.labels import Label, label_ends
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.style import LIGHT, drawing, looks, named_axes, plain_ticks

ROOT = Path(__file__).parents[1]
DOCUMENT, PICTURE = ROOT / "docs" / "peers.md", ROOT / "docs" / "peers.png"
README = ROOT / "README.md"
RECORDED = RESULTS / "peers.json"
CURVE, TICKS = range(4, 19), (5, 7, 9, 12, 15, 18)
NOISE = 0.05  # of seconds: a row may take so much longer and still be within a budget
ROUNDING = 1e-9  # of a cost that lies on the line
FAMILIES = {
    "fewer steps": lambda name: name.startswith("steps") and "solver" not in name,
    "DPM++ 2M": lambda name: "solver=dpm++" in name,
    "UniPC": lambda name: "solver=unipc" in name,
    "TaylorSeer, lite": lambda name: name.startswith("taylorseer-lite"),
    "TaylorSeer, default": lambda name: name.startswith("taylorseer:"),
    "FirstBlockCache": lambda name: name.startswith("first-block"),
    "MagCache": lambda name: name.startswith("magcache"),
    "FasterCache": lambda name: name.startswith("fastercache"),
    "cache-dit, TaylorSeer": lambda name: "calibrator=taylorseer" in name,
    "cache-dit, FoCa": lambda name: "calibrator=foca" in name,
    "a formula, steps searched": lambda name: name.endswith(", output"),
}
# What each is drawn as: the name by which charts everywhere know its family.
HOUSES = {
    "forecastcache": "learned",
    "fewer steps": "steps",
    "DPM++ 2M": "steps",
    "UniPC": "steps",
    "TaylorSeer, lite": "taylorseer-lite",
    "TaylorSeer, default": "taylorseer",
    "FirstBlockCache": "first-block",
    "MagCache": "magcache",
    "FasterCache": "fastercache",
    "cache-dit, TaylorSeer": "cache-dit",
    "cache-dit, FoCa": "cache-dit",
    "a formula, steps searched": "variable-order",
}


def recorded() -> dict[str, list[Measurement]]:
    """The measurements that were recorded, by model."""
    every: dict[str, list[Measurement]] = {}
    rows = json.loads(RECORDED.read_text())["rows"] if RECORDED.exists() else []
    for row in rows:
        every.setdefault(row.pop("model"), []).append(Measurement.model_validate(row))
    return every


def report() -> None:
    """Write what was recorded into the documents."""
    result, every = json.loads(RECORDED.read_text()), recorded()
    picture(every)
    parts = [headline(every)]
    for model, found in every.items():
        floor = next(row.latent_psnr_db for row in found if row.kind == "plain")
        again = "identical" if floor is None else f"{floor:.1f} dB"
        parts.append(f"### `{model}`\n\n{by_budget(found)}\n\n{not_in_table(found)}".rstrip())
        parts.append(f"The plain run again: {again}.")
    parts.append(
        f"torch {result['torch']}, diffusers {result['diffusers']}, cache-dit "
        f"{result['cache_dit']}, Python {result['python']}; {result['machine']}."
    )
    put(DOCUMENT, "tables", "\n\n".join(parts))
    put(README, "peers", headline(every))


def ours_of(found: Sequence[Measurement]) -> list[Measurement]:
    """The rows of a calibration."""
    return [row for row in with_fidelity(found, "forecast") if row.name.startswith(zoo.PREFIX)]


def others_of(found: Sequence[Measurement]) -> list[Measurement]:
    """What others have made."""
    return with_fidelity(found, "baseline")


def baselines_of(found: Sequence[Measurement]) -> list[Measurement]:
    """What needs no calibration: baselines, and the formulas that anybody can use."""
    ours = ours_of(found)
    formulas = [row for row in with_fidelity(found, "forecast") if row not in ours]
    return others_of(found) + formulas


def families(found: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Ours and the baselines, by who made them."""
    baselines = baselines_of(found)
    groups = {"forecastcache": ours_of(found)}
    for name, belongs in FAMILIES.items():
        groups[name] = [row for row in baselines if belongs(row.name)]
    return groups


def pareto_front(family: Sequence[Measurement]) -> list[Measurement]:
    """The rows than which no other of the family is as near for as few FLOPs."""
    return [row for row in family if best_within(family, "FLOPs", row.flops) is row]


def headline(every: dict[str, list[Measurement]]) -> str:
    lines = [table_head(["", *(f"`{model}`" for model in every)])]
    costs: tuple[Cost, ...] = ("seconds", "FLOPs", "computed steps")
    for cost in costs:
        cells = []
        for found in every.values():
            leads = [it for it in leads_by_budget(found, cost) if it is not None]
            least, most = (decibels(each(leads)) for each in (min, max)) if leads else ("", "")
            cells.append(f"{least} to {most}, median {median(leads):+.1f}" if leads else "")
        if all(cells):  # seconds are timed apart
            lines.append(line([f"dB above the best baseline within the same {cost}", *cells]))
    for who, baselines in (
        ("baseline", baselines_of),
        ("of others' caches and solvers", others_of),
    ):
        cells = [
            f"{median(fewer_by_budget(found, baselines(found))):.1f}" for found in every.values()
        ]
        what = f"times fewer computed steps than the best {who} at equal latent PSNR, median"
        lines.append(line([what, *cells]))
    return "\n".join(lines)


def leads_by_budget(found: Sequence[Measurement], cost: Cost) -> list[float | None]:
    """Our best less the best baseline, within what a run of so many steps costs."""
    slack = NOISE if cost == "seconds" else 0.0
    ours, baselines = (
        [row for row in rows if cost != "seconds" or row.seconds]
        for rows in (ours_of(found), baselines_of(found))
    )
    costs = costs_of_budgets(found, cost)
    return [lead(ours, baselines, cost, budget, slack) for budget in costs]


def costs_of_budgets(found: Sequence[Measurement], cost: Cost) -> list[float]:
    """What plain runs of so many steps cost, on a line through them, which evens out noise."""
    shorter = [row for row in found if FAMILIES["fewer steps"](row.name)]
    timed = [row for row in shorter if cost != "seconds" or row.seconds]
    if not timed:
        return []
    counts = [COSTS["computed steps"](row) for row in timed]
    slope, start = np.polyfit(counts, [COSTS[cost](row) for row in timed], 1)
    return [(start + slope * budget) * (1 + ROUNDING) for budget in BUDGETS]


def fewer_by_budget(found: Sequence[Measurement], baselines: Sequence[Measurement]) -> list[float]:
    ours = ours_of(found)
    bests = [best_within(baselines, "computed steps", budget) for budget in BUDGETS]
    fewer = [times_fewer(ours, best, "computed steps") for best in bests if best]
    return [it for it in fewer if it is not None]


def by_budget(found: Sequence[Measurement]) -> str:
    """Latent PSNR at no more computed steps, and our lead by all three costs."""
    groups = families(found)
    ours = groups.pop("forecastcache")
    shown = [
        name
        for name, members in groups.items()
        if best_within(members, "computed steps", BUDGETS[-1])
    ]
    leads = {cost: leads_by_budget(found, cost) for cost in COSTS}
    leads = {cost: each for cost, each in leads.items() if any(it is not None for it in each)}
    lines = [table_head(["computed", "ours", *shown, *(f"lead, {cost}" for cost in leads)])]
    for place, budget in enumerate(BUDGETS):
        mine = best_within(ours, "computed steps", budget)
        cells = [str(budget), f"{mine.latent_psnr_db:.1f}" if mine else ""]
        for name in shown:
            best = best_within(groups[name], "computed steps", budget)
            cells.append(f"{best.latent_psnr_db:.1f}" if best else "")
        cells += [decibels(each[place]) for each in leads.values()]
        lines.append(line(cells))
    return "\n".join(lines)


def decibels(lead: float | None) -> str:
    """A lead, in bold where there is none; nothing where every baseline is over the budget."""
    if lead is None:
        return ""
    if math.isinf(lead):
        return "**none of ours**"
    return f"{lead:+.1f}" if lead > 0 else f"**{lead:+.1f}**"


def not_in_table(found: Sequence[Measurement]) -> str:
    """What cannot stand in the table: baselines that fail, or that spare too little."""
    said = []
    for name, belongs in FAMILIES.items():
        of_family = [row for row in found if row.kind == "baseline" and belongs(row.name)]
        failed = [row for row in of_family if row.failed]
        well = with_fidelity(of_family, "baseline")
        if failed:
            said.append(f"- {name} fails: `{failed[0].name}`: {failed[0].error}")
        elif well and not best_within(well, "computed steps", BUDGETS[-1]):
            least = min(well, key=COSTS["FLOPs"])
            said.append(
                f"- {name} runs part of the network at too many steps to stand above: at best "
                f"{least.flops_ratio:.2f} times fewer FLOPs, "
                f"{least.latent_psnr_db:.1f} dB (`{least.name}`)"
            )
    return "\n".join(said)


def picture(every: dict[str, list[Measurement]]) -> None:
    """Latent PSNR against computed steps, a panel a model, each line named at its end."""
    note = f"{STEPS} steps; the best of each family within so many computed steps"
    looked = looks(HOUSES.items())
    size = (11, 0.6 + 3.9 * -(-len(every) // 2))
    with drawing(PICTURE, size, "At equal computed steps", note, right=1.75) as figure:
        figure.get_layout_engine().set(wspace=0.32)
        ends: dict[Any, list[Label]] = {}
        for axes, (model, found) in zip(panels(figure, len(every)), every.items()):
            named_axes(axes, f"computed steps of {STEPS}, at most", "latent PSNR (dB)")
            axes.set_title(model, fontweight="bold")
            ends[axes] = []
            for name, members in families(found).items():
                points = [
                    (budget, best.latent_psnr_db)
                    for budget in CURVE
                    if (best := best_within(members, "computed steps", budget))
                ]
                if points:
                    look = looked[name]
                    axes.plot(
                        *zip(*points), marker=look.marker, color=LIGHT.colour(look.hue),
                        linewidth=look.width, markersize=3.5, zorder=3 if look.ours else 2,
                    )  # fmt: skip
                    ends[axes].append(Label(*points[-1], name, look.hue, look.ours))
            plain_ticks(axes, TICKS, [str(tick) for tick in TICKS])
        for axes, labels in ends.items():
            label_ends(axes, labels, LIGHT)


def panels(figure: Any, count: int) -> list[Any]:
    """Axes for so many models, two beside each other."""
    every = figure.subplots(-(-count // 2), 2, squeeze=False).flatten()
    for axes in every[count:]:
        axes.set_visible(False)
    return [*every[:count]]


def table_head(cells: Sequence[str]) -> str:
    return line(cells) + "\n" + line(["---", *["---:"] * (len(cells) - 1)])


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
