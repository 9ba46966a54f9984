"""Evaluation: many ways of sampling one request, held against the plain run in one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecastcache import zoo
from forecastcache.calibration.team import Team
from forecastcache.entry import Entry
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.evaluation import charts, pictures, tables
from forecastcache.evaluation.about import about
from forecastcache.evaluation.kept import Kept, Row
from forecastcache.evaluation.measure import Measure
from forecastcache.evaluation.standing import lead, measured
from forecastcache.sampling import Request
from forecastcache.whole import whole
from forecastcache.zoo.appraisal import Critic, critic

Tell = Callable[[str, int, int], None]
CHARTS = (
    charts.fidelity_against_speed,
    charts.error_against_interval,
    charts.memory_against_fidelity,
    charts.error_by_step,
)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How ways of sampling stand. In a notebook it shows as its table.

    Attributes:
        about: of which model, request and versions, ready for JSON.
        rows: the figures of each, likewise.
        strips: pictures of samples by the name of their row, where they were kept.
    """

    about: Row
    rows: list[Row]
    strips: dict[str, Path]

    def __repr__(self) -> str:
        return f"Evaluation of {len(self.rows)} rows"

    def markdown(self) -> str:
        """The table, for a document."""
        return tables.markdown(self.rows)

    _repr_markdown_ = markdown

    def figures(self) -> Row:
        """Everything, ready for JSON."""
        return {**self.about, "rows": self.rows}

    def save(self, folder: Path) -> list[Path]:
        """Write tables and pictures; gives their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        csv, table, data = (folder / name for name in ("rows.csv", "table.md", "rows.json"))
        tables.save_csv(self.rows, csv)
        for path, text in (
            (table, self.markdown()),
            (data, json.dumps(self.figures(), indent=2) + "\n"),
        ):
            with whole(path) as partial:
                partial.write_text(text, encoding="utf-8")
        saved = [csv, table, data]
        for draw in CHARTS:
            saved.append(folder / f"{draw.__name__.replace('_', '-')}.png")
            draw(self.rows, saved[-1])
        if self.strips:
            saved.append(folder / "samples.png")
            pictures.sheet(self.strips, saved[-1])
        return saved


def evaluate(
    pipe: Any,
    request: Request,
    entries: Sequence[Entry],
    model: str = "",
    out: Path | None = None,
    tell: Tell = lambda stage, done, of: None,
    team: Team = Team(),  # noqa: B008  # frozen
) -> Evaluation:
    """Sample a request in many ways and hold each against the plain run beside it.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for.
        entries: the ways, such as `Sweep(...).entries(steps)`.
        model: its name; samples of a zoo model are judged.
        out: folder that rows are kept in as they come; those that an earlier call left there are
            not measured again. None keeps nothing.
        tell: hears how far it is.
        team: the processes that share the rows.

    Raises:
        ForecastCacheError: a row of ours cannot be, before anything is measured; or it failed. A
            rival that fails has its error in its row.
    """
    arguments = request.arguments(pipe)  # refuses before the first run
    for entry in entries:
        _refuse(pipe, request, entry)
    of = about(pipe, request, model)
    judge = critic(model, arguments) if model.startswith(zoo.PREFIX) else None
    kept = Kept(out, of, team.rank)
    mine = entries[team.rank :: team.size]
    own = _measured(pipe, request, mine, kept, judge, tell)
    names = [entry.name for entry in entries]
    rows = [row for part in team.gathered(own) for row in part]
    rows.sort(key=lambda row: names.index(row["name"]))
    rivals = measured(rows, "rival")
    for row in measured(rows, "forecast"):
        row["lead_db"] = lead(row, rivals, "FLOPs")
    return Evaluation(of, rows, kept.strips(entries))


def _refuse(pipe: Any, request: Request, entry: Entry) -> None:
    if entry.kind == "forecast":
        with _named(entry), entry.on(pipe, request):
            pass


@contextmanager
def _named(entry: Entry) -> Iterator[None]:
    """Have an error of ours say which row it is of."""
    try:
        yield
    except ForecastCacheError as error:
        raise OptionError(f"row {entry.name!r}: {error}") from None


def _measured(
    pipe: Any,
    request: Request,
    entries: Sequence[Entry],
    kept: Kept,
    judge: Critic | None,
    tell: Tell,
) -> list[Row]:
    before = {entry.name: kept.get(entry) for entry in entries}
    known = [row for row in before.values() if row is not None]
    rest = [entry for entry in entries if before[entry.name] is None]
    if not rest:
        return known
    measure = Measure(pipe, request, judge)
    for entry in rest:
        row = {"name": entry.name, "kind": entry.kind, "line": entry.line}
        samples = None
        try:
            figures, samples = measure(entry)
            row |= figures
        except Exception as error:  # a rival may fail in any way: the table shows it
            if entry.kind != "rival":
                with _named(entry):
                    raise
            row |= {"error": " ".join(str(error).split()) or type(error).__name__}
        kept.add(entry, row, samples)
        known.append(row)
        tell("rows", len(known), len(entries))
    return known
