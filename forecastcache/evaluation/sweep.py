"""Sweep: what an evaluation is to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forecastcache._util.strict_yaml import read_yaml
from forecastcache.baselines.baseline import baseline_method
from forecastcache.bounds import MOST, require_at_most
from forecastcache.calibration.calibration import Calibration
from forecastcache.config import Config
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.evaluation.method import Forecast, Method, Plain
from forecastcache.granularity import AnySite, Granularity
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule
from forecastcache.spec import as_text, parse_predictor, parse_schedule


class Sweep(BaseModel):
    """Every predictor at every schedule and site, a calibration's rows, and baselines.

    Attributes:
        predictors: specs such as `taylor:order=2`.
        schedules: specs such as `every:5` or `0,6,12`.
        sites: granularities of what is forecast.
        calibration: file, zoo:NAME or hub id, whose rows are compared too.
        counts: numbers of steps that these rows compute: 9 for the schedule that suits nine best.
        configs: files of whole set-ups, as `fc.Config` writes them, a row each.
        baselines: specs such as `steps:count=12,solver=unipc`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    predictors: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    sites: tuple[AnySite, ...] = ("output",)
    calibration: str | None = None
    counts: tuple[Annotated[int, Field(ge=1, le=MOST["steps"])], ...] = ()
    configs: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Sweep:
        """From a YAML or JSON file with these keys.

        Raises:
            OptionError: there is none, or it holds something else.
        """
        try:
            data = read_yaml(Path(path), MOST["bytes of a sweep file"])
        except OSError as error:
            raise OptionError(
                f"--sweep {path} cannot be read ({error.strerror}): give a file"
            ) from None
        except ValueError as error:
            raise OptionError(f"--sweep {path} is neither YAML nor JSON: {error}") from None
        return cls.of(f"--sweep {path}", data or {})

    @classmethod
    def of(cls, source: str, data: Any) -> Sweep:
        """From data with these keys; `source` is what an error calls it.

        Raises:
            OptionError: they are other ones, or hold something else.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "it"
            known = ", ".join(cls.model_fields)
            raise OptionError(
                f"{source}: {place}: {first['msg'].lower()}; it takes {known}"
            ) from None

    def methods(self, total: int) -> list[Method]:
        """The methods of all rows, for trajectories of `total` steps; the plain run comes first.

        Raises:
            ForecastCacheError: one of them cannot be; it is named.
        """
        if bool(self.predictors) != bool(self.schedules):
            raise OptionError(
                "predictors and schedules go together: give --predictor, and --schedule or "
                "--interval"
            )
        if bool(self.calibration) != bool(self.counts):
            raise OptionError(
                "calibration and counts (--computed) go together: give both, or none"
            )
        crossed = len(self.sites) * len(self.predictors) * len(self.schedules)
        others = len(self.counts) + len(self.configs) + len(self.baselines)
        require_at_most("rows", crossed + others, "the evaluation")
        chosen: list[Method] = [
            _named(f"{predictor} {schedule} {site}", _forecast, predictor, schedule, site, total)
            for site in self.sites
            for predictor in self.predictors
            for schedule in self.schedules
        ]
        chosen += self._learned(total)
        chosen += [_named(path, _of_config, path, total) for path in self.configs]
        chosen += [_named(spec, baseline_method, spec, total) for spec in self.baselines]
        if not chosen:
            raise OptionError(
                "there is nothing to evaluate: give --predictor, --baseline or --sweep"
            )
        methods = [Plain(), *chosen]
        require_names_of_their_own(methods)
        return methods

    def _learned(self, total: int) -> Iterator[Method]:
        if self.calibration is None:
            return
        calibration = Calibration.load(self.calibration)
        calibration.identity.require_steps(total)
        for count in self.counts:
            row = f"{self.calibration} computed:{count}"
            yield _named(row, _of_calibration, self.calibration, calibration, count)


def require_names_of_their_own(methods: Sequence[Method]) -> None:
    """Refuse methods of which two have the same name.

    Raises:
        OptionError: naming them.
    """
    names = [method.name for method in methods]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise OptionError(f"the row {twice!r} stands twice: leave one out, or rename it")


def _forecast(predictor: str, schedule: str, site: Granularity, total: int) -> Method:
    chosen, when = parse_predictor(predictor), parse_schedule(schedule)
    _check(chosen, when, total)
    return Forecast(chosen, when, site, predictor, schedule)


def _of_config(path: str, total: int) -> Method:
    config = Config.from_yaml(Path(path))
    schedule, predictor = config.parts
    _check(predictor, schedule, total)
    when = as_text(schedule)
    return Forecast(predictor, schedule, config.site, path, when, config=config)


def _check(predictor: Predictor, schedule: Schedule, total: int) -> None:
    schedule.check(total)
    predictor.check(total, schedule.foreseen(total))


def _of_calibration(source: str, calibration: Calibration, count: int) -> Method:
    schedule, predictor = calibration.choose(count)
    when = f"computed:{count}"
    return Forecast(predictor, schedule, "output", source, when, calibration.identity)


def _named(row: str, make: Callable[..., Method], *arguments: Any) -> Method:
    try:
        return make(*arguments)
    except ForecastCacheError as error:
        raise OptionError(f"row {row!r}: {error}") from None
