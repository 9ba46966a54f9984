"""Report: an evaluation as one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from forecastcache.evaluation import tables
from forecastcache.evaluation.charts import best
from forecastcache.evaluation.page import Chart, Page, Table, inline_svg, samples_of
from forecastcache.evaluation.pictures import STRIP, pieces
from forecastcache.evaluation.provenance import model_in_titles
from forecastcache.evaluation.style import about

if TYPE_CHECKING:
    from forecastcache.evaluation.evaluate import Evaluation

METHODS = 8  # whose samples are shown
EMPTY: tuple[Any, ...] = (None, [], (), {})


def report(found: Evaluation, draws: Sequence[Callable[..., None]], command: str) -> Page:
    """The page of an evaluation.

    Args:
        found: the evaluation.
        draws: charts, each called with the rows, the target and the model's name.
        command: command to show on it.
    """
    model, rows = model_in_titles(found.provenance), found.rows
    steps = max((row.steps or 0 for row in rows), default=0)
    samples = max((row.samples or 0 for row in rows), default=0)
    baselines = sum(row.kind == "baseline" for row in rows)
    forecasts = sum(row.kind == "forecast" for row in rows)
    counts = f"{forecasts} forecast runs and {baselines} baselines beside the plain run"
    titles, lines = tables.cells(rows)
    return Page(
        title=f"forecastcache evaluate: {model}",
        summary=f"{about(model, steps, samples)}: {counts}.",
        command=command,
        facts=facts_of(found.provenance),
        table=Table(titles, lines, tables.remarks(rows)),
        charts=[
            Chart(
                f"{draw.__name__.replace('_', ' ')}, {model}",
                inline_svg(f"c{place}", partial(_drawn, draw, rows, model)),
            )
            for place, draw in enumerate(draws)
        ],
        **_samples(found),
    )


def facts_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Model, request and versions in words."""
    request = provenance["request"].items()
    return {
        "model": str(provenance["model"]),
        "weights": str(provenance["weights"]),
        "dtype and device": f"{provenance['dtype']}, {provenance['device']}",
        **{name.replace("_", " "): _in_words(it) for name, it in request if it not in EMPTY},
        "versions": _in_words(provenance["versions"]),
    }


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {it}" for name, it in value.items())
    return "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _drawn(draw: Callable[..., None], rows: Sequence[Any], model: str, target: Any) -> None:
    draw(rows, target, model)


def _samples(found: Evaluation) -> dict[str, Any]:
    """The fields that show samples; none where no pictures were kept."""
    with_samples = [row for row in found.rows if row.name in found.strips and row.kind != "plain"]
    count = min(len(found.captions), STRIP)
    if found.plain_strip is None or not with_samples or not count:
        return {}
    shown = best(with_samples, METHODS)
    note = "Drag a picture to move the border between left and right; arrow keys do it too."
    if len(shown) < len(with_samples):
        note += f" {len(shown)} of {len(with_samples)} rows, the best of each method first."
    return {
        "samples_note": note,
        **samples_of(
            pieces(found.plain_strip, count),
            {row.name: pieces(found.strips[row.name], count) for row in shown},
            found.captions,
            {row.name: row.psnr_db_by_sample for row in shown},
        ),
    }
