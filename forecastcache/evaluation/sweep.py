"""Sweep: many ways of sampling one request, a row each, kept as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from forecastcache.adapter import Granularity
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.evaluation.entries import Entry, Forecast
from forecastcache.evaluation.measure import flops, measure
from forecastcache.evaluation.rivals import CacheDiT, rival
from forecastcache.sampling import Request
from forecastcache.spec import parse, parse_schedule
from forecastcache.zoo.appraisal import Critic

Tell = Callable[[str, int, int], None]


class Sweep(BaseModel):
    """What an evaluation is to compare; every predictor at every schedule and site.

    Attributes:
        predictors: specs such as `taylor:order=2`.
        schedules: such as `every:5` or `0,6,12`.
        sites: that are forecast.
        rivals: specs such as `steps:count=12,solver=unipc`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    predictors: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    sites: tuple[Granularity, ...] = ("output",)
    rivals: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """From a YAML or JSON file with these keys.

        Raises:
            OptionError: there is none, or it holds something else.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--sweep {path} cannot be read ({error}): give a file") from None
        except yaml.YAMLError as error:
            reason = str(error).splitlines()[0]
            raise OptionError(f"--sweep {path} is neither YAML nor JSON: {reason}") from None
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

    def entries(self, total: int) -> list[Entry]:
        """A row each, for trajectories of `total` steps.

        Raises:
            ForecastCacheError: one of them cannot be; it is named.
        """
        if bool(self.predictors) != bool(self.schedules):
            raise OptionError(
                "predictors and schedules go together: give --predictor, and --schedule or "
                "--interval"
            )
        entries: list[Entry] = [
            _named(f"{predictor} {schedule} {site}", _forecast, predictor, schedule, site, total)
            for site in self.sites
            for predictor in self.predictors
            for schedule in self.schedules
        ]
        entries += [_named(spec, rival, spec, total) for spec in self.rivals]
        names = [entry.name for entry in entries]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise OptionError(f"the row {twice!r} stands twice: leave one out")
        return entries


def _forecast(predictor: str, schedule: str, site: Granularity, total: int) -> Entry:
    chosen, when = parse(predictor), parse_schedule(schedule)
    when.check(total)
    chosen.check(total, when.foreseen(total))
    return Forecast(chosen, when, site, f"{predictor} {schedule}")


def _named(row: str, make: Callable[..., Entry], *arguments: Any) -> Entry:
    try:
        return make(*arguments)
    except ForecastCacheError as error:
        raise OptionError(f"row {row!r}: {error}") from None


def run(
    pipe: Any,
    request: Request,
    entries: Sequence[Entry],
    kept: Path,
    about: dict[str, Any],
    critic: Critic | None = None,
    tell: Tell = lambda stage, done, of: None,
) -> list[dict[str, Any]]:
    """Measure every entry, or take the row that an earlier call left.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for.
        entries: the rows.
        kept: file that rows are added to as they come, JSON lines.
        about: of what the rows are; rows of anything else are not taken.
        critic: that judges samples.
        tell: hears how far it is.
    """
    entries = sorted(entries, key=lambda entry: isinstance(entry, CacheDiT))  # it leaves its mark
    known = _known(kept, about)
    for entry in entries:
        if entry.kind == "forecast":
            with entry.on(pipe):  # to refuse before the first row
                pass
    warm = [entry for entry in entries if entry.name not in known]
    flops_plain = 0
    if warm:
        request.sample(pipe, num_inference_steps=2)
        flops_plain = flops(pipe, request)
    rows = []
    for number, entry in enumerate(entries):
        if entry.name not in known:
            row = _row(pipe, request, entry, critic)
            if "flops" in row:
                row["flops_ratio"] = flops_plain / row["flops"] if row["flops"] else None
            known[entry.name] = {"about": about, **row}
            with kept.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(known[entry.name]))
        rows.append({key: it for key, it in known[entry.name].items() if key != "about"})
        tell("rows", number + 1, len(entries))
    return rows


def _row(pipe: Any, request: Request, entry: Entry, critic: Critic | None) -> dict[str, Any]:
    try:
        return {**measure(pipe, request, entry, critic), "flops": flops(pipe, request, entry)}
    except Exception as error:  # a rival may fail in any way: the table shows it
        if entry.kind == "forecast":
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        return {"name": entry.name, "kind": entry.kind, "error": reason}


def _known(kept: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if not kept.exists():
        return {}
    rows = map(_parsed, kept.read_text(encoding="utf-8").splitlines())
    return {
        row["name"]: row
        for row in rows
        if row and row["about"] == about and "error" not in row  # a failure is tried again
    }


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:  # cut off when an earlier call was killed, or empty
        return None
    return row
