"""Depth: how many features a site a plan is for, by a number, a predictor or a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from forecastcache.cli.args import predictor_from
from forecastcache.cli.console import plainly_warned
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.calibration.identity import Identity

ROWS = "learned"  # the predictor whose rows a calibration has


class Depth(NamedTuple):
    """Number of features a site.

    Attributes:
        features: number of features that are kept.
        of: what keeps them, in words; None for a number that was given.
        identity: identity of what was calibrated; None where nothing was.
    """

    features: int
    of: str | None = None
    identity: Identity | None = None


@dataclass(frozen=True)
class DepthOptions:
    """The options of `memory` that say how many features are kept; None or empty if not given."""

    depth: int | None
    predictor: str | None
    order: int | None
    settings: list[str]
    calibration: str | None
    computed: int | None
    site: str | None

    def read(self) -> Depth:
        """What they come to.

        Raises:
            OptionError: two contradict each other, or one lacks another.
        """
        formula = {"--predictor": self.predictor, "--order": self.order, "--set": self.settings}
        if self.depth is not None:
            also = {"--calibration": self.calibration, "--computed": self.computed}
            self._refuse({**formula, **also}, "--depth and {} both say how many features are kept")
            return Depth(self.depth)
        if self.calibration is not None:
            rows = {"--predictor": None} if self.predictor == ROWS else {}
            self._refuse({**formula, **rows}, "--calibration gives rows, and {} a formula")
            return self._calibrated(self.calibration)
        if self.computed is not None:
            raise OptionError(
                "--computed chooses from a calibration: give --calibration, or say --depth"
            )
        if self.predictor == ROWS and not self.settings:
            raise OptionError(
                f"--predictor {ROWS} has the rows of a calibration: give --calibration, a file or "
                "zoo:NAME"
            )
        predictor = predictor_from(self.predictor or "taylor", self.order, self.settings)
        return Depth(predictor.depth, str(predictor))

    def _refuse(self, others: Mapping[str, Any], complaint: str) -> None:
        for option, value in others.items():
            if value not in (None, []):
                raise OptionError(f"{complaint.format(option)}: leave one out")

    def _calibrated(self, source: str) -> Depth:
        if self.site not in (None, "output"):
            raise OptionError(
                f"--calibration has rows of the model's output, and none of --site {self.site}: "
                "leave out --site"
            )
        from forecastcache.accelerated.choice import chosen_by
        from forecastcache.accelerated.goal import Goal
        from forecastcache.calibration.calibration import Calibration

        learned = Calibration.load(source)
        goal = None if self.computed is None else Goal.of(computed=self.computed)
        with plainly_warned():
            schedule, predictor = chosen_by(learned, goal)
        total = learned.identity.steps
        of = f"{predictor}, {len(schedule.computed(total))} of {total} steps computed"
        return Depth(predictor.depth, of, learned.identity)
