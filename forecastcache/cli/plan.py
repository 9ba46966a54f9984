"""forecastcache plan: what speed costs, by a calibration file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from forecastcache.bounds import MOST
from forecastcache.cli import completion
from forecastcache.cli.console import print_offers
from forecastcache.cli.options import JsonOption
from forecastcache.cli.outputs import require_file
from forecastcache.cli.panels import argument, how, output
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.calibration.calibration import Calibration
    from forecastcache.calibration.offers import Offer

SHOWN = 20  # computed steps, at most, in the table


CalibrationArgument = Annotated[
    str,
    argument(
        help="What `forecastcache calibrate` has learned: a file, zoo:NAME or a hub id.",
        autocompletion=completion.models,
    ),
]
PlannedCountOption = Annotated[
    int | None,
    how(min=1, max=MOST["steps"], help="Number of steps that may be computed."),
]
TimesFewerOption = Annotated[float | None, how(min=1, help="Compute so many times fewer steps.")]
LeastPsnrOption = Annotated[
    float | None,
    how(
        metavar="DB",
        help="Latent PSNR to the plain run that is to be reached, in dB, as it was rolled.",
    ),
]
PictureOption = Annotated[
    Path | None,
    output(metavar="FILE", help="A PNG to draw of latent PSNR against computed steps."),
]
RowsOption = Annotated[
    Path | None,
    output(
        metavar="FILE",
        help="A PNG to draw of the rows of --computed, as weights and as differences.",
    ),
]
RuleOption = Annotated[
    str | None,
    how(
        metavar="RULE",
        help="Plan the steps of --computed by the published rule of dpcache or meancache "
        "(flow matching).",
    ),
]


def plan_command(
    calibration: CalibrationArgument,
    computed: PlannedCountOption = None,
    speedup: TimesFewerOption = None,
    psnr: LeastPsnrOption = None,
    picture: PictureOption = None,
    rows: RowsOption = None,
    by: RuleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each speed costs by a calibration, or the schedule for one speed."""
    _require_one_of(computed, speedup, psnr)
    _require_drawable(picture, rows, computed, by)
    from forecastcache.calibration.calibration import Calibration
    from forecastcache.calibration.schedule_dp import require_count

    file = Calibration.load(calibration)
    steps = file.identity.steps
    if computed is not None:
        require_count(computed, steps)
        if by is not None:
            _print_planned(file, by, computed, as_json)
            return
    _require_forecast_steps(rows, computed, steps)
    chosen = _chosen(file, computed, speedup, psnr)
    _draw(calibration, file, picture, rows, computed)
    if as_json:
        print(json.dumps({"steps": steps, "offers": list(map(asdict, chosen))}, indent=2))
        return
    print_offers(chosen, steps)
    for drawn in filter(None, (picture, rows)):
        print(drawn)


def _require_one_of(*ways: float | None) -> None:
    if sum(way is not None for way in ways) > 1:
        raise OptionError("--computed, --speedup and --psnr each choose by themselves: give one")


def _print_planned(file: Calibration, by: str, count: int, as_json: bool) -> None:
    """The steps that a published rule chooses; nobody has rolled them."""
    from forecastcache.calibration.paths import planned_by

    recording = file.recording
    computed = planned_by(by, recording.gram, recording.motion.sensitivity, count)
    if as_json:
        print(json.dumps({"steps": recording.steps, "by": by, "computed": computed}, indent=2))
    else:
        print(",".join(map(str, computed)))


def _require_drawable(
    picture: Path | None, rows: Path | None, count: int | None, by: str | None
) -> None:
    """Refuse pictures that cannot be written, before anything is planned."""
    if by is not None and (count is None or picture or rows):
        raise OptionError("--by plans the steps of --computed, and draws nothing: give --computed")
    if rows is not None and count is None:
        raise OptionError("--rows draws the rows of one choice: give --computed")
    if rows is not None and rows == picture:
        raise OptionError(f"--picture and --rows are both {rows}: give two names")
    for option, path in (("--picture", picture), ("--rows", rows)):
        if path is not None:
            require_file(option, path)


def _require_forecast_steps(rows: Path | None, count: int | None, steps: int) -> None:
    if rows is not None and count == steps:
        raise OptionError(
            f"--rows draws forecast steps, and --computed {count} of {steps} leaves none: "
            "compute fewer, or leave out --rows"
        )


def _chosen(
    file: Calibration, count: int | None, speedup: float | None, psnr: float | None
) -> Sequence[Offer]:
    """The offers that were asked for."""
    steps = file.identity.steps
    if count is not None:
        return list(dict.fromkeys([file.offer(count), *file.frontier([count])]))
    if speedup is not None:
        if not speedup <= steps:  # NaN too
            raise OptionError(f"--speedup {speedup:g} is above {steps}, the number of steps")
        return [file.offer(int(steps / speedup))]
    if psnr is not None:
        return [_as_near_as(file, psnr)]
    return file.frontier([count for count in range(1, steps + 1) if count <= SHOWN])


def _as_near_as(file: Calibration, psnr: float) -> Offer:
    """The offer of fewest computed steps with this latent PSNR, of those that were rolled."""
    fits = [fit for fit in file.fits if fit.latent_psnr_db is not None]
    if not fits:
        raise OptionError(
            "--psnr takes figures that were rolled on samples that rows were not fitted to, and "
            "the file has none: calibrate two prompts or more with --schedule search:9, or choose "
            "by --computed"
        )
    rolled = {fit.computed: fit.figure for fit in fits}
    enough = [len(computed) for computed, near in rolled.items() if near >= psnr]
    if not enough:
        nearest = max(rolled, key=lambda computed: rolled[computed])
        raise OptionError(
            f"--psnr {psnr:g} is not to be had: {rolled[nearest]:.1f} dB is the most that was "
            f"rolled ({len(nearest)} computed): ask for less, or calibrate more computed steps"
        )
    return file.offer(min(enough))


def _draw(
    name: str, file: Calibration, picture: Path | None, rows: Path | None, count: int | None
) -> None:
    # Imported here: matplotlib takes a second that a refused option need not wait for.
    from forecastcache.evaluation import plan_charts

    steps = file.identity.steps
    if picture is not None:
        plan_charts.frontier(file.frontier(range(1, steps)), steps, picture, name)
    if rows is not None and count is not None:
        computed = " ".join(map(str, file.offer(count).computed))
        note = f"{name}, {steps} steps, computed: {computed}"
        plan_charts.row_map(file.explanations(count), rows, note)
