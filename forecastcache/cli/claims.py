"""forecastcache claims: what papers say, measured again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from forecastcache.cli.options import JsonOption
from forecastcache.cli.panels import argument, what


def claims_command(
    names: Annotated[
        list[str] | None,
        argument(help="Names of the claims to measure. Left out, they are listed."),
    ] = None,
    every: Annotated[
        bool, what("--all", help="Measure all of them, which takes some ten minutes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List what papers say of their methods, or measure it again on the zoo."""
    # Imported here: diffusers takes seconds that a list need not wait for.
    from forecastcache.evaluation.claims import CLAIMS, claim

    chosen = CLAIMS if every else tuple(map(claim, names or ()))
    if not chosen:
        said = {each.name: {"paper": each.paper, "says": each.says} for each in CLAIMS}
        print(json.dumps(said, indent=2) if as_json else _listed(said))
        return
    results = {}
    for each in chosen:
        found = each.measure()
        results[each.name] = {"says": each.says, "setting": each.setting, **asdict(found)}
        if not as_json:
            print(f"{each.name}: {each.says} ({each.paper})", flush=True)
            print(f"  {found.in_words}: {found.reason}", flush=True)
    if as_json:
        print(json.dumps(results, indent=2))


def _listed(said: dict[str, dict[str, str]]) -> str:
    lines = (f"{name}: {it['says']} ({it['paper']})" for name, it in said.items())
    return "\n".join([*lines, "measure one by `forecastcache claims NAME`"])
