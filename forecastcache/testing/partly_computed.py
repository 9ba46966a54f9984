"""Partly computed steps: what a forecast step that runs some of the model must do."""

from __future__ import annotations

import torch

from forecastcache.granularity import Blocks, Granularity, Tokens
from forecastcache.testing.requirement import require
from forecastcache.testing.subject import SCHEDULE, TIMES, Subject
from forecastcache.testing.watched import running

HALF = str(Tokens(0.5))


def spans(model: Subject) -> list[Granularity]:
    """The span of all blocks but the last; none where there is one block, or no trunk."""
    trunks = [
        model.module.get_submodule(trunk.path) for trunk in model.adapter.trunks(model.module)
    ]
    count = sum(1 for trunk in trunks for _ in trunk.children())
    return [str(Blocks(0, count - 2))] if count > 1 else []


def check_a_span_rests(model: Subject, site: Granularity) -> None:
    """A forecast step runs all blocks but those of the span."""
    spanned = {path for each in model.sites(site) for path in (each.path, *each.through)}
    with running(model, site) as count, model.attach(site):
        ran = []
        for time in TIMES:
            count.clear()
            model.call(time, {})
            ran.append({*count})
    computed = SCHEDULE.computed(len(TIMES))
    forecast = next(index for index in range(len(TIMES)) if index not in computed)
    wrong = sorted(ran[forecast] ^ (ran[0] - spanned))
    require(
        not wrong,
        f"{model}, site {site!r}: a forecast step ran what it was to forecast, or left out what "
        f"was to run: {', '.join(wrong)}",
    )


def check_no_tokens(model: Subject) -> None:
    """With no token computed, forecast steps are those of the `module` site; with half, others."""
    found = []
    for site in ("module", str(Tokens(0)), HALF):
        with model.attach(site):
            found.append(model.run({}))
    module, none, half = found
    require(
        all(map(torch.equal, module, none)),
        f"{model}, site 'tokens': with no token computed a run differs from site 'module'",
    )
    require(
        not all(map(torch.equal, module, half)),
        f"{model}, site 'tokens': with half of the tokens computed a run is that of site 'module'",
    )
