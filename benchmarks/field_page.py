"""The page of the field: tables and picture of what benchmarks/field.py has measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from measure import put
from standings import FAMILIES, HOUSES, others_of, panels, recorded
from tuning import SLACK, STEPS

from forecastcache.evaluation.compare import best_within
from forecastcache.evaluation.labels import Label, label_ends
from forecastcache.evaluation.style import LIGHT, drawing, family_of, looks, named_axes

MODELS = ("zoo:flux-digits", "zoo:hunyuan-digits", "zoo:dit-digits@4", "zoo:flux-emoji")
BUDGETS = (6, 9, 12, 18)
HELD_OUT = 8  # samples
OURS = "forecastcache, calibrated"
LEARNED = "forecastcache, from four samples"
NAMED = 8  # methods of the picture, a model
NAMES = 2.4  # inches right of each panel
TIMED = 9  # budget whose runs' seconds are told
DOCUMENT = Path(__file__).parents[1] / "docs" / "field.md"


def others(model: str) -> dict[str, dict[int, float]]:
    """What the packages of others have at the same budgets, as docs/peers.md has it."""
    rows = others_of(recorded().get(model, []))
    if not rows:
        return {}
    fewer = [row for row in rows if FAMILIES["fewer steps"](row.name)]
    line = np.polyfit([row.count or 0 for row in fewer], [row.flops or 0 for row in fewer], 1)
    found: dict[str, dict[int, float]] = {}
    for family, belongs in FAMILIES.items():
        own = [row for row in rows if belongs(row.name)]
        for budget in BUDGETS:
            best = best_within(own, "FLOPs", float(np.polyval(line, budget)) * SLACK)
            if best is not None and best.latent_psnr_db is not None:
                found.setdefault(family, {})[budget] = best.latent_psnr_db
    return found


def standing(known: Sequence[dict[str, Any]], name: str) -> dict[str, dict[int, float]]:
    """Latent PSNR by method and budget, the best first."""
    found: dict[str, dict[int, float]] = {}
    for row in known:
        if row["model"] == name:
            own = found.setdefault(row["method"], {})
            if row["budget"] is not None:
                own[row["budget"]] = row["latent_psnr_db"]
    found |= {f"*{family}*": own for family, own in others(name).items()}
    return dict(sorted(found.items(), key=lambda it: -mean([it[1].get(b, 0) for b in BUDGETS])))


def table(known: Sequence[dict[str, Any]], name: str) -> str:
    lines = [
        f"| method | {' | '.join(map(str, BUDGETS))} | seconds at {TIMED} |",
        "|---|" + "---:|" * (len(BUDGETS) + 1),
    ]
    own = [row for row in known if row["model"] == name and row["budget"] == TIMED]
    seconds = {row["method"]: f"{row['time']:.2f}" for row in own if "time" in row}
    for method, found in standing(known, name).items():
        cells = [f"{found[it]:.1f}" if it in found else "" for it in BUDGETS]
        lines.append(f"| {method} | {' | '.join([*cells, seconds.get(method, '')])} |")
    return "\n".join(lines)


def picture(known: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """All methods of each model; ours and the best of the others named and drawn in colour."""
    title, note = "Every method at equal cost", f"{STEPS} steps, {HELD_OUT} held-out samples"
    note += f"; the best {NAMED} of each model are named, all others grey"
    size = (12.4, 3.9 * -(-len(names) // 2) + 0.6)
    with drawing(DOCUMENT.with_suffix(".png"), size, title, note, right=NAMES) as figure:
        figure.get_layout_engine().set(wspace=NAMES * 2 / size[0], hspace=0.06)
        ends: dict[Any, list[Label]] = {}
        for axes, name in zip(panels(figure, len(names)), names):
            found = {method: own for method, own in standing(known, name).items() if own}
            told = list(found)[:NAMED]
            looked = looks((method, house(method)) for method in told)
            named_axes(axes, "cost of the network (plain steps' FLOPs)", "latent PSNR (dB)")
            axes.set(title=name, xticks=BUDGETS)
            for method, own in found.items():
                look = looked.get(method)
                axes.plot(
                    own.keys(), own.values(), marker=look.marker if look else "o",
                    color=LIGHT.colour(look.hue if look else "grid"),
                    linewidth=look.width if look else 0.8, markersize=4 if look else 2.5,
                    zorder=3 if look else 2,
                )  # fmt: skip
                if look:
                    last = max(own)
                    label = Label(last, own[last], method.strip("*"), look.hue, look.ours)
                    ends.setdefault(axes, []).append(label)
        for axes, labels in ends.items():
            label_ends(axes, labels, LIGHT)


def house(method: str) -> str:
    """The family by which charts everywhere know a method."""
    if method in (OURS, LEARNED):
        return "learned"
    first, _, then = method.strip("*").partition(", ")
    if method.startswith("*"):
        return HOUSES[method.strip("*")]
    return family_of(then if first == "warped" else first)


def report(known: Sequence[dict[str, Any]]) -> None:
    names = [name for name in MODELS if any(row["model"] == name for row in known)]
    picture(known, names)
    parts = [f"### `{name}`\n\n{table(known, name)}" for name in names]
    put(DOCUMENT, "tables", "\n\n".join(parts))
