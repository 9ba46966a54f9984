"""Choice: the schedule and the rows of a calibration that a goal asks for."""

from __future__ import annotations

from forecastcache.accelerated.goal import USUAL, Goal
from forecastcache.calibration.calibration import Calibration
from forecastcache.errors import OptionError
from forecastcache.predictor import LinearPredictor
from forecastcache.schedule import Listed


def chosen_by(calibration: Calibration, goal: Goal | None) -> tuple[Listed, LinearPredictor]:
    """Schedule and predictor of a calibration; see `Calibration.choose`.

    Args:
        calibration: calibration to choose from.
        goal: goal to choose by; None for a fifth of the steps, or the fewest that were rolled
            where those are more.

    Raises:
        OptionError: the goal asks for more steps than a trajectory has, or for a PSNR that nothing
            in the file was rolled at.
    """
    total = calibration.identity.steps
    if goal is None:
        fewest = min((len(fit.computed) for fit in calibration.fits), default=1)
        return calibration.choose(max(fewest, int(total / USUAL), 1))
    if goal.psnr is None:
        return calibration.choose(goal.count(total))
    enough = goal.chosen(calibration)
    if enough is None:
        most = max((fit.figure for fit in calibration.fits), default=None)
        known = "nothing was rolled" if most is None else f"{most:.1f} dB is the most"
        raise OptionError(
            f"psnr={goal.psnr:g} is not to be had of this calibration, in which {known}: ask for "
            "less, or calibrate more computed steps"
        )
    return calibration.choose(len(enough.computed))
