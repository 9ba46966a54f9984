"""forecastcache explain: the row that a linear predictor gives the computed steps."""

from __future__ import annotations

import json
from typing import Annotated

from forecastcache.bounds import MOST
from forecastcache.cli import completion
from forecastcache.cli.args import predictor_from, steps_from, with_times
from forecastcache.cli.method_options import OrderOption, SetOption
from forecastcache.cli.options import JsonOption
from forecastcache.cli.panels import argument, how
from forecastcache.predictors.explanation import explain


def explain_command(
    predictor: Annotated[
        str,
        argument(
            help="A linear predictor: a name, or name:option=value,...",
            autocompletion=completion.predictors,
        ),
    ],
    computed: Annotated[
        str, how(metavar="LIST", help="The computed steps in the history: 0,1,2,8.")
    ],
    target: Annotated[int, how(max=MOST["steps"], help="The step to forecast.")],
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    times: Annotated[
        str | None,
        how(
            metavar="LIST",
            help="Times of these steps and of the target, for predictors with coordinate=time.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the weights that a linear PREDICTOR gives the computed steps."""
    steps = steps_from("--computed", computed)
    *history, goal = with_times([*steps, target], times)
    explanation = explain(predictor_from(predictor, order, settings), history, goal)
    if as_json:
        print(json.dumps(explanation.figures(), indent=2))
    else:
        print(explanation)
