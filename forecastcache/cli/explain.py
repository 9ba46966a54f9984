"""forecastcache explain: the row that a linear predictor gives the computed steps."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from forecastcache.bounds import MOST
from forecastcache.cli.args import predictor_from, steps_from, with_times
from forecastcache.cli.options import JsonOption, OrderOption, SetOption
from forecastcache.predictors.explanation import explain


def explain_command(
    predictor: Annotated[str, typer.Argument(help="a name, or name:option=value,...")],
    computed: Annotated[str, typer.Option(help="steps in the history: 0,1,2,8")],
    target: Annotated[int, typer.Option(max=MOST["steps"], help="step to forecast")],
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    times: Annotated[
        str | None, typer.Option(help="of these steps and the target, for coordinate=time")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the row of weights that a linear PREDICTOR gives the computed steps."""
    steps = steps_from("--computed", computed)
    *history, goal = with_times([*steps, target], times)
    explanation = explain(predictor_from(predictor, order, settings), history, goal)
    if as_json:
        print(json.dumps(explanation.figures(), indent=2))
    else:
        print(explanation)
