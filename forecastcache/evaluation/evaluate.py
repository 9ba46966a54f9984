"""evaluate(): many ways of sampling one request, held against the plain run in one table."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecastcache import zoo
from forecastcache._util.atomic_write import atomic_write
from forecastcache._util.fingerprint import digest
from forecastcache._util.progress import Progress, silent
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.evaluation import charts, pictures, tables
from forecastcache.evaluation.captions import Caption, captions
from forecastcache.evaluation.chosen_metrics import ChosenMetrics
from forecastcache.evaluation.compare import COSTS, lead, with_fidelity
from forecastcache.evaluation.measure import Measure
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Method
from forecastcache.evaluation.metric_charts import chart_name, save_metric_charts
from forecastcache.evaluation.provenance import model_in_titles, provenance, to_agree_on
from forecastcache.evaluation.report import report
from forecastcache.evaluation.store import ROWS, Store, code_of, key_of
from forecastcache.evaluation.style import THEMES
from forecastcache.evaluation.sweep import Sweep, require_names_of_their_own
from forecastcache.metrics.metric import Metric, metrics_of
from forecastcache.metrics.weights import fingerprint_of_files
from forecastcache.sampling.request import Request
from forecastcache.zoo.scores import Scorer, scorer_of

logger = logging.getLogger("forecastcache")
TABLES = ("rows.csv", "table.md", "rows.json")
SHEET, PAGE = "samples.png", "report.html"
SHOWN = 6  # rows on the sheet
CHARTS = (
    charts.fidelity_against_speed,
    charts.error_against_interval,
    charts.memory_against_fidelity,
    charts.error_by_step,
)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How methods compare. It prints as its table, in a notebook too.

    Attributes:
        provenance: model, request and versions that the rows are of, ready for JSON.
        rows: figures of each method.
        strips: pictures of samples by the name of their row, where they were kept.
        kept: number of rows that an earlier call had left, which were not measured again.
        plain_strip: picture of the plain run's samples, where it was kept.
        captions: what each sample was asked as.
    """

    provenance: dict[str, Any]
    rows: list[Measurement]
    strips: dict[str, Path]
    kept: int = 0
    plain_strip: Path | None = None
    captions: Sequence[Caption] = ()

    def __repr__(self) -> str:
        return f"Evaluation of {len(self.rows)} rows"

    def __str__(self) -> str:
        return tables.text(self.rows)

    def markdown(self) -> str:
        """The table, for a document."""
        return tables.markdown(self.rows)

    _repr_markdown_ = markdown

    def figures(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {**self.provenance, "rows": [row.figures() for row in self.rows]}

    def save(
        self, folder: str | Path, html: bool = False, command: str = "", theme: str = "light"
    ) -> list[Path]:
        """Write tables and pictures; gives their paths.

        Args:
            folder: folder of the files.
            html: whether to write all of it as one page, too.
            command: command to show on the page.
            theme: `light` or `dark`, of the pictures; a page follows its reader's.
        """
        colours = THEMES[theme]
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        csv, table, data = (folder / name for name in TABLES)
        tables.save_csv(self.rows, csv)
        for path, text in (
            (table, self.markdown()),
            (data, json.dumps(self.figures(), indent=2) + "\n"),
        ):
            with atomic_write(path) as partial:
                partial.write_text(text, encoding="utf-8")
        saved = [csv, table, data]
        model = model_in_titles(self.provenance)
        for draw in CHARTS:
            saved.append(folder / _name_of(draw))
            draw(self.rows, saved[-1], model, colours)
        saved += save_metric_charts(self.rows, folder, model, colours)
        if self.strips:
            saved.append(folder / SHEET)
            with_samples = [row for row in self.rows if row.name in self.strips]
            pictures.sheet(
                charts.best([row for row in with_samples if row.kind != "plain"], SHOWN),
                self.strips, saved[-1], self.plain_strip, self.captions, model, colours,
            )  # fmt: skip
        if html:
            saved.append(folder / PAGE)
            report(self, CHARTS, command).save(saved[-1])
        return saved


def evaluate(
    pipe: Any,
    request: Request,
    methods: Sweep | Sequence[Method],
    model: str = "",
    out: str | Path | None = None,
    progress: Progress = silent,
    group: ProcessGroup = ProcessGroup(),  # noqa: B008  # frozen
    metrics: Sequence[str | Metric] = (),
) -> Evaluation:
    """Sample a request in many ways and hold each against the plain run beside it.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: the samples to ask the pipeline for.
        methods: a sweep, or the methods one by one.
        model: name of the pipeline; samples of a zoo model are scored.
        out: folder that rows are kept in as they come; those that an earlier call left there are
            not measured again. None keeps nothing.
        progress: called with (stage, done, of) after every row.
        group: processes that share the rows; every one finds all of them, and the main one should
            save them.
        metrics: further metrics of the samples, a column each: names, such as `lpips`, names with
            a folder of weights, such as `clip=FOLDER`, or objects.

    Raises:
        CalibrationError: another process has ended or was asked for something else.
        ForecastCacheError: a forecast row cannot be, a metric lacks something, two rows have one
            name, or `out` holds tables of something else, before anything is measured; or a
            forecast row or a metric failed. A baseline that fails has its error in its row.
    """
    if isinstance(methods, Sweep):
        methods = methods.methods(request.steps)
    require_names_of_their_own(methods)
    asked = metrics_of(metrics)
    if out is not None:
        _require_own(Path(out), asked)
    arguments = request.arguments(pipe)  # refuses before the first run
    chosen = ChosenMetrics(asked)
    chosen.prepare(arguments.get("prompt", ()))
    for method in methods:
        _refuse(pipe, request, method)
    of = {**provenance(pipe, request, model), **_provenance_of(asked)}
    group.require_same(to_agree_on(of, [key_of(method) for method in methods]))
    scorer = scorer_of(model, arguments) if model.startswith(zoo.PREFIX) else None
    store = Store(None if out is None else Path(out), of, group.rank)
    mine = methods[group.rank :: group.size]
    kept = sum(store.get(method) is not None for method in methods)
    own = _rows(pipe, request, mine, store, chosen, scorer, progress)
    names = [method.name for method in methods]
    rows = [row for part in group.gather(own) for row in part]
    rows.sort(key=lambda row: names.index(row.name))
    return Evaluation(
        of, _with_leads(rows), store.strips(methods), kept, store.plain_strip(),
        captions(pipe, request),
    )  # fmt: skip


def _name_of(draw: Callable[..., None]) -> str:
    return f"{draw.__name__.replace('_', '-')}.png"


def _provenance_of(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What the metrics are, their code and weights included; nothing where none is asked for."""
    found = {
        name: digest(
            repr((it, code_of(type(it)), fingerprint_of_files(getattr(it, "weights", None))))
        )
        for name, it in metrics.items()
    }
    return {"metrics": found} if found else {}


def _require_own(folder: Path, metrics: Iterable[str]) -> None:
    """Refuse a folder with files of the names that are written, but without rows of ours."""
    if any(folder.glob(ROWS)):
        return
    for name in (*TABLES, *map(_name_of, CHARTS), *map(chart_name, metrics), SHEET, PAGE):
        if (folder / name).exists():
            raise OptionError(
                f"{folder} has a {name} that no evaluation has written there: give another --out"
            )


def _refuse(pipe: Any, request: Request, method: Method) -> None:
    if method.kind == "forecast":
        with _named(method), method.apply(pipe, request):
            pass


@contextmanager
def _named(method: Method) -> Iterator[None]:
    """Have an error of ours say which row it is of."""
    try:
        yield
    except ForecastCacheError as error:
        raise OptionError(f"row {method.name!r}: {error}") from None


def _rows(
    pipe: Any,
    request: Request,
    methods: Sequence[Method],
    store: Store,
    metrics: ChosenMetrics,
    scorer: Scorer | None,
    progress: Progress,
) -> list[Measurement]:
    before = {method.name: store.get(method) for method in methods}
    rows = [row for row in before.values() if row is not None]
    rest = [method for method in methods if before[method.name] is None]
    logger.info("evaluation: %d rows kept, %d to measure", len(rows), len(rest))
    if not rest:
        return rows
    measure = Measure(pipe, request, scorer, metrics)
    for method in rest:
        samples, plain = None, None
        try:
            found = measure(method)
            row, samples, plain = found.row, found.samples, found.plain
        except Exception as error:  # a baseline may fail in any way: the table shows it
            if method.kind != "baseline":
                with _named(method):
                    raise
            said = " ".join(str(error).split()) or type(error).__name__
            row = Measurement.of(method, error=said)
        store.add(method, row, samples, plain)
        rows.append(row)
        progress("rows", len(rows), len(methods))
    return rows


def _with_leads(rows: Sequence[Measurement]) -> list[Measurement]:
    baselines = with_fidelity(rows, "baseline")
    leads = {
        row.name: lead([row], baselines, "FLOPs", COSTS["FLOPs"](row))
        for row in with_fidelity(rows, "forecast")
    }
    return [row.model_copy(update={"lead_db": leads.get(row.name)}) for row in rows]
