"""What papers say of their methods, measured again: docs/claims.md.

python benchmarks/claims.py [--report | NAME ...]

`--report` writes the page again from results/claims.json; with names, these are measured again and
the others kept.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from time import process_time

import torch
from diffusers.utils import logging
from measure import RESULTS, put, record

from forecastcache.evaluation.claims import CLAIMS, claim

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
KEPT = RESULTS / "claims.json"


def measured(name: str) -> dict[str, object]:
    started = process_time()
    found = claim(name).measure()
    figures = [
        {key: round(it, 3) if isinstance(it, float) else it for key, it in row.items()}
        for row in found.figures
    ]
    return {
        "claim": name,
        **{**asdict(found), "figures": figures},
        "core_seconds": round(process_time() - started),
    }


def table(rows: dict[str, dict[str, object]]) -> str:
    lines = ["| claim | says | measured on | | why |", "|---|---|---|---|---|"]
    for each in CLAIMS:
        row = rows[each.name]
        verdict = "agrees" if row["agrees"] else "**does not**"
        lines.append(
            f"| `{each.name}`, {each.paper} | {each.says} | {each.setting} | {verdict} | "
            f"{row['reason']} |"
        )
    return "\n".join(lines)


def main() -> None:
    names = [it for it in sys.argv[1:] if it != "--report"]
    kept = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    known = {row["claim"]: row for row in kept}
    if "--report" not in sys.argv:
        for name in names or [each.name for each in CLAIMS]:
            known[name] = measured(name)
            record("claims", list(known.values()))
    put(PAGE, "tables", table(known))


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    main()
