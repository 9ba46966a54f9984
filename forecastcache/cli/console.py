"""Console: what the command line prints for people, and what it keeps other libraries from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from forecastcache._util.decibels import format_decibels
from forecastcache.calibration.offers import Offer
from forecastcache.cli.narrow import print_table
from forecastcache.cli.verbosity import is_quiet, is_verbose, warn_once
from forecastcache.memory.budget import in_mebibytes

if TYPE_CHECKING:
    from forecastcache.calibration.expected import Expected
    from forecastcache.calibration.targets import Effort
    from forecastcache.evaluation.measurement import Measurement

FEW = 64  # samples below which a Fréchet distance says nothing


def print_measurement(
    model: str,
    row: Measurement,
    guidance: float | None,
    learned: Mapping[str, Any],
    seeds: Sequence[int],
) -> None:
    """One forecast run beside the plain one, and beside what was learned for it, if anything."""
    console = Console()
    lines = [
        f"{model}, site {row.site}: {row.predictor}, {row.schedule}",
        f"{row.steps} steps, {row.count} computed: {' '.join(map(str, row.computed or ()))}"
        + ("" if guidance is None else f"; guidance {guidance:g}"),
        _with_seeds(seeds),
    ]
    console.print(*lines, sep="\n", highlight=False)
    table = Table("", "plain", "forecast", "")
    for column in table.columns[1:3]:
        column.justify = "right"
    for cells in (*_cost(row), *_quality(row, learned), *_memory(row)):
        table.add_row(*cells)
    print_table(console, table)


def _with_seeds(seeds: Sequence[int]) -> str:
    first, count = seeds[0], len(seeds)
    if count == 1:
        return f"1 sample, seed {first}"
    if list(seeds) == list(range(first, first + count)):
        return f"{count} samples, seeds {first} to {seeds[-1]}"
    return f"{count} samples, seeds {', '.join(map(str, seeds))}"


def _cost(row: Measurement) -> Iterator[tuple[str, ...]]:
    faster = f"{row.speedup:.2f} times as fast, ceiling {row.ceiling:.2f}"
    yield f"seconds for {row.samples}", f"{row.seconds_plain:.2f}", f"{row.seconds:.2f}", faster
    if row.flops and row.flops_plain:
        plain, forecast = f"{row.flops_plain / 1e9:.1f}", f"{row.flops / 1e9:.1f}"
        yield "GFLOPs of a call", plain, forecast, f"{row.flops_ratio:.2f} times fewer"


def _quality(row: Measurement, learned: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if row.judged is not None:
        yield "judged as asked", f"{row.judged_plain:.0%}", f"{row.judged:.0%}"
        if (row.samples or 0) >= FEW:
            real = "to real ones, in the judge's features"
            yield "Fréchet distance", f"{row.frechet_plain:.1f}", f"{row.frechet:.1f}", real
    rolled = learned.get("latent_psnr_db")
    expected = "before decoding" if rolled is None else f"{rolled:.1f} dB expected, as rolled"
    yield "latent PSNR", "", format_decibels(row.latent_psnr_db), expected
    if learned.get("drift"):
        worst = max(learned["drift"].values())
        yield "forecasts missed", "", f"{worst:.1f} times", "what was expected, at most"
    yield "PSNR of samples", "", format_decibels(row.psnr_db), "after decoding"
    yield "SSIM of samples", "", f"{row.ssim:.4f}"


def _memory(row: Measurement) -> Iterator[tuple[str, ...]]:
    planned = row.cache_bytes_planned
    known = f"planned {planned:,}" if planned is not None else f"planned not: {row.unplanned}"
    yield "cache bytes", "0", f"{row.cache_bytes:,}", escape(known)


def print_calibration(figures: dict[str, Any]) -> None:
    """What a calibration has learned."""
    console = Console()
    identity = figures["identity"]
    console.print(
        f"{identity['model']['name']} with {identity['scheduler']['name']}, "
        f"{identity['steps']} steps; {figures['prompts']} prompts at "
        f"{', '.join(figures['sizes'])}; {figures['evaluations']:,} evaluations of the network. "
        "Open loop serves any schedule",
        highlight=False,
    )
    if figures["fits"]:
        rolled = [
            Offer(
                tuple(fit["computed"]),
                "closed",
                fit["latent_psnr_db"],
                fit["fitted_latent_psnr_db"] if fit["latent_psnr_db"] is None else None,
            )
            for fit in figures["fits"]
        ]
        print_offers(rolled, identity["steps"])


def print_expected(found: Expected, effort: Effort) -> None:
    """What a calibration will take."""
    table = Table("stage", "evaluations, at most", title="one evaluation: one step of one sample")
    table.columns[1].justify = "right"
    for stage in ("record", "search", "fit", "refine", "total"):
        table.add_row(stage, f"{getattr(effort, stage):,}")
    console = Console()
    print_table(console, table)
    counts = [it.count for it in effort.targets]
    refined = f"{effort.refined} of {len(counts)} schedules refined" if counts else "no fits"
    console.print(
        f"As many as {effort.plain_runs:.0f} plain runs of each sample; {effort.tries} tries a "
        f"search, {refined}.\n"
        f"{found.seconds_per_evaluation:.3g} s an evaluation, measured: {found.seconds:,.0f} s.\n"
        f"On the host: {in_mebibytes(found.kept_bytes)} of plain samples, as much of outputs if "
        "the sampler is not of first order, "
        f"{in_mebibytes(found.refined_bytes)} more while rows are refined.\n"
        "A sampler that draws noise takes a quarter of a plain run besides.",
        highlight=False,
    )


def print_offers(offers: Sequence[Offer], steps: int) -> None:
    """Schedules with the latent PSNR that was rolled of them, or else is foretold."""
    foretold = any(offer.foretold_latent_psnr_db is not None for offer in offers)
    titles = ["computed", "times fewer", "latent PSNR, rolled", *["foretold"] * foretold]
    table = Table(*titles, "rows", "steps")
    for column in table.columns[: len(titles)]:
        column.justify = "right"
    for offer in offers:
        count = len(offer.computed)
        figures = [str(count), f"{steps / count:.1f}", *_rolled_and_foretold(offer)]
        table.add_row(*figures[: len(titles)], offer.loop, " ".join(map(str, offer.computed)))
    print_table(Console(), table)


def _rolled_and_foretold(offer: Offer) -> tuple[str, str]:
    if offer.loop == "exact":
        return "exact", ""
    if offer.foretold_latent_psnr_db is None:
        return format_decibels(offer.latent_psnr_db), ""
    if offer.band_db is None:
        return "", f"{offer.foretold_latent_psnr_db:.1f} dB, unchecked"
    low, high = offer.band_db
    return "", f"{low:.1f} to {high:.1f} dB"


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar a stage, with the time left; yields what to call with (stage, done, of)."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    bars = Progress(*columns, disable=quiet or is_quiet(), console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def tell(stage: str, done: int, of: int) -> None:
        if not tasks:  # not before: what is refused at once leaves no empty line
            bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=of)
        bars.update(tasks[stage], completed=done)

    try:
        yield tell
    finally:
        if tasks:
            bars.stop()


def print_list(found: dict[str, dict[str, str]]) -> None:
    """What is installed, kind by kind."""
    console = Console()
    for kind, entries in found.items():
        table = Table(title=kind, title_justify="left", show_header=False, box=None)
        for name, about in entries.items():
            table.add_row(f"[bold]{name}[/bold]", escape(about))
        print_table(console, table)
        console.print()


def quiet_libraries() -> None:
    """Let diffusers and transformers print errors alone, and draw no bars, unless --verbose."""
    if is_verbose():
        return
    for library in ("diffusers", "transformers"):
        if find_spec(library):
            logging: Any = import_module(f"{library}.utils.logging")
            logging.set_verbosity_error()
            logging.disable_progress_bar()


@contextmanager
def plainly_warned() -> Iterator[None]:
    """Print at the end what was warned of: once, a line each, without the place in the code."""
    if is_verbose():
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)  # for the authors of what is below us
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        warn_once(text)
