"""Chosen: what `run` samples with, from options, a calibration, or learned at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache.cli.args import predictor_from, schedule_from, site_from
from forecastcache.cli.console import plainly_warned, progress_bars
from forecastcache.config import Config
from forecastcache.errors import OptionError
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.predictors.reuse import Reuse
from forecastcache.schedule import Every, Schedule, Warped

if TYPE_CHECKING:
    from forecastcache.accelerated.goal import Goal
    from forecastcache.accelerated.preparation import Prepared
    from forecastcache.calibration.identity import Identity
    from forecastcache.sampling.request import Request

FORMULA = ("predictor", "order", "settings", "interval", "first", "schedule")
GOALS = ("speedup", "computed", "psnr")
SAMPLES = 4  # to learn from
COST = 4.0  # plain runs of them that a fit may take
SEED = 1000  # of the first to learn from, beyond those of the pictures that are made


@dataclass(frozen=True)
class Chosen:
    """What fills in which steps.

    Attributes:
        schedule: schedule of the computed steps.
        predictor: predictor of the others.
        site: granularity of what is forecast.
        identity: identity of what it was calibrated on; None if it was not.
        config: set-up that holds the further options of the session; None for their defaults.
        learned: what was learned for it, ready for JSON; None if nothing was.
        drift: how many times what was expected its forecasts have missed at computed steps, once
            it has run; empty if nothing was learned.
    """

    schedule: Schedule
    predictor: Predictor
    site: Granularity = "output"
    identity: Identity | None = None
    config: Config | None = None
    learned: Mapping[str, Any] | None = None
    drift: Mapping[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What files are called by."""
        return f"{type(self.predictor).__name__.lower()}-{self.site}".replace(":", "-")

    def told(self) -> dict[str, Any]:
        """What was learned, and how it has done since; empty if nothing was learned."""
        return {} if self.learned is None else {**self.learned, "drift": dict(self.drift)}


@dataclass(frozen=True)
class Wanted:
    """A goal that is to be looked up or learned, once there is a pipeline."""

    goal: Goal
    name: str = "accelerated"


@dataclass(frozen=True)
class Said:
    """The options of `run` that say what to sample with; None or empty where not given."""

    predictor: str | None
    order: int | None
    settings: Sequence[str]
    interval: int | None
    first: int | None
    schedule: str | None
    site: str | None
    config: Path | None
    calibration: str | None
    speedup: float | None
    computed: int | None
    psnr: float | None

    def chosen(self, steps: int) -> Chosen | Wanted:
        """What they ask for, for trajectories of so many steps.

        Raises:
            OptionError: two contradict each other, or one is out of range.
        """
        site = site_from(self.site or "output")
        goal, chooser = self._goal(), next(iter(self._given(("calibration", *GOALS))), None)
        if self.config is not None:
            chosen = self._configured(self.config)
        elif chooser is None:
            chosen = Chosen(self._schedule(steps), self._predictor(site), site)
        else:
            self._refuse_beside(chooser, site)
            if self.calibration is None:
                assert goal is not None
                if goal.count(steps) < steps:  # refuses what no run of so many steps can reach
                    return Wanted(goal)
                return Chosen(Every(1), Reuse())
            chosen = _calibrated(self.calibration, goal, steps)
        chosen.schedule.check(steps)
        chosen.predictor.check(steps, chosen.schedule.foreseen(steps))
        return chosen

    def _given(self, options: Sequence[str]) -> list[str]:
        """Those of some options that are given, as they are written."""
        given = [name for name in options if getattr(self, name) not in (None, [])]
        return [f"--{'set' if name == 'settings' else name}" for name in given]

    def _goal(self) -> Goal | None:
        asked = self._given(GOALS)
        if len(asked) > 1:
            raise OptionError(f"{' and '.join(asked)} each choose by themselves: give one")
        from forecastcache.accelerated.goal import Goal

        return Goal.of(self.speedup, self.computed, self.psnr) if asked else None

    def _refuse_beside(self, chooser: str, site: Granularity) -> None:
        others = self._given(FORMULA)
        if others:
            raise OptionError(
                f"{chooser} gives schedule and predictor, as {' and '.join(others)} would: leave "
                f"out {chooser} or {others[0]}"
            )
        if site != "output":
            raise OptionError(
                f"{chooser} has rows of the model's output, and none of --site {site}: leave out "
                "--site"
            )

    def _configured(self, path: Path) -> Chosen:
        others = self._given((*FORMULA, "site", "calibration", *GOALS))
        if others:
            raise OptionError(
                f"--config holds the whole set-up, and {' and '.join(others)} would change it: "
                f"leave out --config or {others[0]}, or write it in {path}"
            )
        config = Config.from_yaml(path)
        return Chosen(*config.parts, config.site, config=config)

    def _schedule(self, steps: int) -> Schedule:
        """The schedule asked for; where none is, the usual number of steps, warped."""
        if self._given(("schedule", "interval", "first")):
            return schedule_from(self.schedule, self.interval, self.first)
        from forecastcache.accelerated.goal import usual_count

        return Warped(usual_count(steps))

    def _predictor(self, site: Granularity) -> Predictor:
        """The predictor asked for; where none is, the formula that needs no calibration.

        Other sites keep many features, of which Taylor reads two and variable order four.
        """
        paper = self._given(("order", "settings", "interval", "first"))
        usual = "taylor" if paper or site != "output" else "variable-order"
        return predictor_from(self.predictor or usual, self.order, self.settings)


def _calibrated(source: str, goal: Goal | None, steps: int) -> Chosen:
    from forecastcache.accelerated.choice import chosen_by
    from forecastcache.calibration.calibration import Calibration

    learned = Calibration.load(source)
    learned.identity.require_steps(steps)
    with plainly_warned():
        chosen = chosen_by(learned, goal)
    return Chosen(*chosen, identity=learned.identity)


def prepared(
    asked: Chosen | Wanted,
    model: str,
    pipe: Any,
    request: Request,
    fields: Mapping[str, Any],
    quiet: bool,
) -> Chosen:
    """What was chosen; for a goal what is kept, or else is learned now. Says what that costs.

    Args:
        asked: what was chosen, or the goal to reach.
        model: name of the model.
        pipe: its pipeline.
        request: the samples that it will be asked for.
        fields: fields of that request, as they were given.
        quiet: whether nothing is printed.
    """
    if isinstance(asked, Chosen):
        return asked
    from forecastcache.accelerated.kept import Kept, home
    from forecastcache.accelerated.preparation import Preparation

    with plainly_warned():
        preparation = Preparation(pipe, request, asked.goal, Kept(home()))
        found = preparation.found()
        if found is None:
            examples = _examples(model, request, fields)
            if not quiet:
                print(
                    f"nothing is kept for such calls and {asked.goal}: learning it from "
                    f"{len(examples)} samples of other noise takes a plain run of each, and a fit "
                    f"that costs at most {COST:g} more of each"
                )
            with progress_bars(quiet) as progress:
                found = preparation.learn(examples, COST, progress)
    if not quiet:
        print(f"learned before, kept in {found.file}" if not found.samples else _told(found))
        if found.fewer_steps is not None:
            print(found.fewer_steps.advice or found.fewer_steps)
    return Chosen(found.schedule, found.predictor, learned=found.figures(), drift=found.drift)


def _told(found: Prepared) -> str:
    missed = ""
    if not found.reached:
        most = max(fit.figure for fit in found.calibration.fits)
        missed = f"; {found.goal} was not reached: {most:.1f} dB is the most"
    kept = "not kept" if found.file is None else f"kept in {found.file}"
    return (
        f"fitted in {found.fit_seconds:.1f} s at the cost of {found.fit_plain_runs:.1f} plain "
        f"runs of each; {kept}{missed}"
    )


def _examples(model: str, request: Request, fields: Mapping[str, Any]) -> Request:
    """The samples to learn from: prompts that were given, or of the model's calibration split."""
    from forecastcache.sampling.request import Request

    prompts = tuple(fields.get("prompts", ()))[:SAMPLES]
    last = max(request.seeds, default=request.seed + len(request) - 1)
    asked = {"prompts": prompts, "count": len(prompts) or SAMPLES, "seeds": ()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say of prompts was said before
        return Request.of(
            model, split="calibration", **{**fields, **asked, "seed": max(SEED, last + 1)}
        )
