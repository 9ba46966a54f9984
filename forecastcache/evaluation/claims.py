"""Claims: what papers say of their methods, each measured again on the zoo by one function.

A claim agrees where the figures say what the paper says, at the bound that its reason names. A
zoo model is no FLUX.1-dev: what does not agree here may hold there, and the other way about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forecastcache.errors import OptionError
from forecastcache.evaluation.claim_measures import (
    Outcome,
    few_prompts,
    golden_path,
    linear_form,
    peak_suppression,
    projection,
    saturation,
    taylor_orders,
    third_coordinate,
)


@dataclass(frozen=True)
class Claim:
    """What a paper says, and how to measure it.

    Attributes:
        name: name on the command line.
        paper: paper and place in it.
        says: what it says.
        setting: what is measured here.
        measure: function that does so, in at most two minutes of a core.
    """

    name: str
    paper: str
    says: str
    setting: str
    measure: Callable[[], Outcome]


CLAIMS = (
    Claim(
        "taylorseer-orders", "TaylorSeer (2503.06923), Table 4",
        "Quality falls with the interval N, and rises with the order O until it levels off.",
        "zoo:dit-digits, 8 samples, `module`, first three steps computed, with the guard",
        taylor_orders,
    ),
    Claim(
        "taylorseer-saturation", "TaylorSeer (2503.06923), Table 4",
        "Beyond order 3 nothing is gained.",
        "zoo:dit-digits, 8 samples, `module`, first two steps computed",
        saturation,
    ),
    Claim(
        "l2p-linear-form", "L2P (2604.26365), abstract",
        "Formulas are fixed weights in one linear form, and weights learned for each step "
        "forecast better.",
        "zoo:flux-digits, plain runs, 8 samples fitted on and 8 others, N=6",
        linear_form,
    ),
    Claim(
        "l2p-projection", "L2P (2604.26365), abstract",
        "At most steps the output is reconstructed from earlier ones with a projection fidelity "
        "above 0.95.",
        "zoo:flux-digits, zoo:dit-digits, zoo:flux-emoji, plain runs of 2 to 4 samples",
        projection,
    ),
    Claim(
        "l2p-few-prompts", "L2P (2604.26365), abstract",
        "A small set of trajectories is enough to learn the weights.",
        "zoo:flux-digits, zoo:dit-digits, open-loop rows of 5 and of 50 samples, N=6",
        few_prompts,
    ),
    Claim(
        "golden-path", "The Golden Path Hypothesis, its repository's figures",
        "One schedule is within 1 dB of each prompt's own best on 79 % of new prompts.",
        "zoo:flux-digits, reuse, 9 of 50 computed, 24 schedules of the warped family",
        golden_path,
    ),
    Claim(
        "dpcache-third-coordinate", "DPCache (2602.22654), its ablation",
        "A cost of a gap that knows the computed step before it plans better than one that does "
        "not, by 0.78 dB.",
        "zoo:flux-digits, Taylor 1, 6, 9 and 13 of 50 computed",
        third_coordinate,
    ),
    Claim(
        "meancache-peaks", "MeanCache (2601.19961), its schedule",
        "A shortest path whose edges are raised to a power, so that none is a peak, plans better.",
        "zoo:flux-digits, reuse and mean velocity, 9, 13 and 21 of 50 computed, power 4 against 1",
        peak_suppression,
    ),
)  # fmt: skip


def claim(name: str) -> Claim:
    """The claim called `name`.

    Raises:
        OptionError: there is none.
    """
    known = {each.name: each for each in CLAIMS}
    if name not in known:
        raise OptionError(f"{name!r} is no claim: write one of {', '.join(known)}")
    return known[name]
