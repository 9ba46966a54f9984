"""Our rows against what people would otherwise use: docs/peers.md.

python benchmarks/peers.py [zoo:NAME ...]    measures and writes; interrupted, it goes on
python benchmarks/peers.py --report          writes the tables of what was measured before
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers.utils import logging
from matplotlib.figure import Figure
from measure import RESULTS, record
from tuning import BUDGETS, STEPS, Trials

from forecastcache import zoo
from forecastcache.evaluation.evaluation import evaluate
from forecastcache.evaluation.standing import (
    COSTS,
    Cost,
    best_within,
    lead,
    measured,
    times_fewer,
)  # fmt: skip
from forecastcache.evaluation.sweep import Sweep
from forecastcache.sampling import Request, load

ROOT = Path(__file__).parents[1]
DOCUMENT, PICTURE = ROOT / "docs" / "peers.md", ROOT / "docs" / "peers.png"
README = ROOT / "README.md"
WORK = ROOT / "build" / "peers"
COUNT = {"zoo:hunyuan-digits": 6}  # held-out clips
PICTURES = 16  # held out, of the others
OURS = range(4, 19)  # computed steps of our rows
FEWER = range(6, 23)  # steps of better and worse solvers
NOISE = 0.05  # of seconds: a rival may take so much longer and still count as no dearer
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
}
Row = dict[str, Any]


def measure(model: str) -> None:
    folder = folder_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    fewer = [
        f"steps:count={count}{solver}"
        for solver in ("", ",solver=dpm++", ",solver=unipc")
        for count in FEWER
    ]
    sweep = Sweep(
        calibration=model,
        computed=tuple(OURS),
        rivals=(*fewer, *settings(model)),
    )
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)

    def tell(stage: str, done: int, of: int) -> None:
        print(f"{model}: {done} of {of} rows", flush=True)

    request = Request.of(model, count=COUNT.get(model, PICTURES), steps=STEPS)
    evaluate(pipe, request, sweep.entries(STEPS), model, folder, tell).save(folder)


def settings(model: str) -> list[str]:
    """Of the rivals, the best on calibration prompts; what was searched before is kept."""
    path = folder_of(model) / "settings.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    trials = Trials(model)
    for name, search in trials.searches().items():
        if name not in known:
            known[name] = search()
            path.write_text(json.dumps(known, indent=1))
            print(f"{model}: {name}: {len(known[name])} settings", flush=True)
    return list(dict.fromkeys(spec for specs in known.values() for spec in specs))


def folder_of(model: str) -> Path:
    return WORK / model.removeprefix(zoo.PREFIX)


def rows(model: str) -> list[Row]:
    """What was measured of a model; nothing if it was not."""
    path = folder_of(model) / "rows.json"
    found = json.loads(path.read_text())["rows"] if path.exists() else []
    left_out = ("latent_psnr_by_step", "lpips", "lpips_missing")
    return [
        {"model": model, **{key: it for key, it in row.items() if key not in left_out}}
        for row in found
    ]


def headline(every: dict[str, list[Row]]) -> str:
    lines = [table_head(["", *(f"`{model}`" for model in every)])]
    costs: tuple[Cost, ...] = ("seconds", "FLOPs", "computed steps")
    for cost in costs:
        cells = []
        for found in every.values():
            leads = [it for it in leads_by_budget(found, cost) if it is not None]
            cells.append(f"{min(leads):.1f} to {max(leads):.1f}, median {median(leads):.1f}")
        lines.append(line([f"dB above the best rival at no more {cost}", *cells]))
    cells = [f"{median(fewer_by_budget(found)):.1f}" for found in every.values()]
    lines.append(line(["times fewer computed steps than the best rival at equal PSNR", *cells]))
    return "\n".join(lines)


def leads_by_budget(found: Sequence[Row], cost: Cost) -> list[float | None]:
    ours, rivals = measured(found, "forecast"), measured(found, "rival")
    slack = NOISE if cost == "seconds" else 0.0
    return [lead(within(ours, budget), rivals, cost, slack) for budget in BUDGETS]


def fewer_by_budget(found: Sequence[Row]) -> list[float]:
    ours, rivals = measured(found, "forecast"), measured(found, "rival")
    bests = [best_within(rivals, "computed steps", budget) for budget in BUDGETS]
    fewer = [times_fewer(ours, best, "computed steps") for best in bests if best]
    return [it for it in fewer if it is not None]


def within(ours: Sequence[Row], budget: int) -> Row:
    """As of the rivals, the best that computes no more: a search does not always find the best."""
    best = best_within(ours, "computed steps", budget)
    assert best is not None
    return best


def by_budget(found: Sequence[Row]) -> str:
    """Latent PSNR at no more computed steps, and our lead by all three costs."""
    ours, rivals = measured(found, "forecast"), measured(found, "rival")
    families = {
        name: [row for row in rivals if belongs(row["name"])] for name, belongs in FAMILIES.items()
    }
    shown = [
        name
        for name, members in families.items()
        if best_within(members, "computed steps", BUDGETS[-1])
    ]
    leads = {cost: leads_by_budget(found, cost) for cost in COSTS}
    lines = [table_head(["computed", "ours", *shown, *(f"lead, {cost}" for cost in leads)])]
    for place, budget in enumerate(BUDGETS):
        cells = [str(budget), f"{within(ours, budget)['latent_psnr_db']:.1f}"]
        for name in shown:
            best = best_within(families[name], "computed steps", budget)
            cells.append(f"{best['latent_psnr_db']:.1f}" if best else "")
        cells += [decibels(each[place]) for each in leads.values()]
        lines.append(line(cells))
    return "\n".join(lines)


def decibels(lead: float | None) -> str:
    """A lead, in bold where there is none; nothing where every rival costs more."""
    if lead is None:
        return ""
    return f"{lead:+.1f}" if lead > 0 else f"**{lead:+.1f}**"


def beside(found: Sequence[Row]) -> str:
    """What cannot stand in the table: rivals that fail, or that spare too little."""
    said = []
    for name, belongs in FAMILIES.items():
        of_family = [row for row in found if row["kind"] == "rival" and belongs(row["name"])]
        failed = [row for row in of_family if "error" in row]
        well = measured(of_family, "rival")
        if failed:
            said.append(f"- {name} fails: `{failed[0]['name']}`: {failed[0]['error']}")
        elif well and not best_within(well, "computed steps", BUDGETS[-1]):
            least = min(well, key=COSTS["FLOPs"])
            said.append(
                f"- {name} runs part of the network at too many steps to stand above: at best "
                f"{least['flops_ratio']:.2f} times fewer FLOPs, "
                f"{least['latent_psnr_db']:.1f} dB (`{least['name']}`)"
            )
    return "\n".join(said)


def picture(every: dict[str, list[Row]]) -> None:
    figure = Figure(figsize=(11, 8), layout="constrained")
    for axes, (model, found) in zip(figure.subplots(2, 2).flat, every.items()):
        groups = {"forecastcache": measured(found, "forecast")}
        for name, belongs in FAMILIES.items():
            groups[name] = [row for row in measured(found, "rival") if belongs(row["name"])]
        for name, members in groups.items():
            points = [
                (budget, best["latent_psnr_db"])
                for budget in OURS
                if (best := best_within(members, "computed steps", budget))
            ]
            if points:
                ours = name == "forecastcache"
                style = {"linewidth": 2.5, "color": "black"} if ours else {"linewidth": 1}
                axes.plot(*zip(*points), ".-", label=name, **style)
        axes.set(title=model, xscale="log", ylabel="latent PSNR, dB")
        axes.set_xlabel(f"computed steps of {STEPS}, at most")
        axes.set_xticks([3, 5, 7, 9, 12, 15, 18], ["3", "5", "7", "9", "12", "15", "18"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(PICTURE, dpi=130)


def table_head(cells: Sequence[str]) -> str:
    return line(cells) + "\n" + line(["---", *["---:"] * (len(cells) - 1)])


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def report() -> None:
    result = json.loads((RESULTS / "peers.json").read_text())
    every: dict[str, list[Row]] = {}
    for row in result["rows"]:
        every.setdefault(row["model"], []).append(row)
    picture(every)
    parts = [headline(every)]
    for model, found in every.items():
        noise = next(row for row in found if row["kind"] == "plain")
        floor = noise["latent_psnr_db"]
        again = "identical" if floor is None else f"{floor:.1f} dB"
        parts.append(f"### `{model}`\n\n{by_budget(found)}\n\n{beside(found)}".rstrip())
        parts.append(f"The plain run again: {again}, {noise['speedup']:.2f} times as fast.")
    parts.append(
        f"torch {result['torch']}, diffusers {result['diffusers']}, cache-dit "
        f"{result['cache_dit']}, Python {result['python']}; {result['machine']}."
    )
    put(DOCUMENT, "tables", "\n\n".join(parts))
    put(README, "peers", headline(every))


def put(path: Path, name: str, inside: str) -> None:
    """Between two marks of a document."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = path.read_text().partition(start)
    path.write_text(f"{before}{start}\n\n{inside}\n\n{end}{rest.partition(end)[2]}")


def main() -> None:
    logging.set_verbosity_error()
    models = [zoo.PREFIX + name for name in zoo.MODELS]
    if sys.argv[1:] != ["--report"]:
        torch.manual_seed(0)
        for model in sys.argv[1:] or models:
            measure(model)
        found = [row for model in models for row in rows(model)]
        record("peers", found, cache_dit=version("cache-dit"))
    report()


if __name__ == "__main__":
    main()
