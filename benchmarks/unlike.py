"""Prompts unlike those that rows were fitted on: rows, Taylor, and rows that give way to it.

python benchmarks/unlike.py [zoo:NAME ...]

Writes a table into docs/accelerate.md. The calibrations' captions name a digit, an ink and a
background; these do not.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.utils import logging
from fidelity import Fidelity
from measure import RESULTS, put, record
from pydantic import SkipValidation

import forecastcache as fc
from forecastcache.accelerated.watch import Watched, checks
from forecastcache.calibration.calibration import Calibration
from forecastcache.predictor import LinearPredictor
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.step import Step

MODELS = ("zoo:flux-digits", "zoo:hunyuan-digits")
PROMPTS = (
    "", "a", "seven", "a seven", "7", "red", "dog", "the number four", "a three on blue",
)  # fmt: skip
COUNTS = (9, 18)
DOCUMENT = Path(__file__).parents[1] / "docs" / "accelerate.md"


class GivesWay(LinearPredictor):
    """Rows up to a step, a formula from it on.

    Args:
        rows: predictor of the steps before `until`.
        formula: predictor of the others.
        until: a computed step.
    """

    rows: SkipValidation[Any]
    formula: SkipValidation[Any]
    until: int

    @property
    def depth(self) -> int:
        return int(max(self.rows.depth, self.formula.depth))

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        chosen = self.rows if target.index < self.until else self.formula
        row: np.ndarray = chosen.row(computed, target)
        return row


def rows(name: str) -> list[dict[str, Any]]:
    pipe, calibration = load(name), Calibration.load(name)
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fc.ForecastCacheWarning)  # of words that it does not know
        asked = Fidelity(pipe, Request.of(name, prompts=PROMPTS, steps=50), len(PROMPTS))
    taylor, found = fc.Taylor(order=1), []
    for count in COUNTS:
        schedule, learned = calibration.choose(count)
        steps, drift = schedule.steps, dict[int, list[float]]()
        watched = Watched(steps=steps, checks=checks(calibration, steps), tell=drift.setdefault)
        fitted = learned.for_schedule(schedule)
        columns = {
            "rows": _rounded(asked, watched, learned),
            "taylor": _rounded(asked, schedule, taylor),
            "gives_way": _rounded(
                asked, schedule, GivesWay(rows=fitted, formula=taylor, until=steps[1])
            ),
            "drift": [round(max(each), 1) for each in zip(*drift.values())],
        }
        for number, prompt in enumerate(PROMPTS):
            own = {what: values[number] for what, values in columns.items()}
            found.append({"model": name, "count": count, "prompt": prompt, **own})
            print(found[-1], flush=True)
    return found


def _rounded(asked: Fidelity, schedule: Any, predictor: Any) -> list[float]:
    return [round(each, 1) for each in asked.each(schedule, predictor)]


def table(found: Sequence[dict[str, Any]]) -> str:
    models = list(dict.fromkeys(row["model"] for row in found))
    head = ["prompt"]
    for model in models:
        for count in COUNTS:
            head.append(f"{model.removeprefix('zoo:')}, {count}")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for prompt in PROMPTS:
        cells = []
        for model in models:
            for count in COUNTS:
                row = next(
                    it for it in found
                    if (it["model"], it["count"], it["prompt"]) == (model, count, prompt)
                )  # fmt: skip
                cells.append(
                    f"{row['rows']} / {row['taylor']} / {row['gives_way']} ({row['drift']})"
                )
        lines.append(f"| {prompt or 'none'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    logging.set_verbosity_error()
    path = RESULTS / "unlike.json"
    names = [] if "--report" in sys.argv else sys.argv[1:] or list(MODELS)
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in names:
        known = [row for row in known if row["model"] != name] + rows(name)
    if names:
        record("unlike", known)
    put(DOCUMENT, "unlike", table(known))


if __name__ == "__main__":
    main()
