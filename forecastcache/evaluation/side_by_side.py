"""Side by side: methods beside the plain run, as a picture and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forecastcache.evaluation import tables
from forecastcache.evaluation.captions import Caption
from forecastcache.evaluation.measure import Measured
from forecastcache.evaluation.page import Page, Table, samples_of
from forecastcache.evaluation.pictures import side_by_side
from forecastcache.evaluation.provenance import model_in_titles
from forecastcache.evaluation.report import facts_of
from forecastcache.evaluation.style import THEMES, about


def save_side_by_side(
    found: Sequence[Measured],
    captions: Sequence[Caption],
    provenance: Mapping[str, Any],
    command: str,
    picture: Path,
    page: Path,
    theme: str = "light",
) -> None:
    """Save methods beside the plain run.

    Args:
        found: figures and samples of each method.
        captions: what each sample was asked as.
        provenance: model, request and versions.
        command: command to show on the page.
        picture: path of the PNG.
        page: path of the HTML file, which needs nothing else.
        theme: `light` or `dark`, of the picture; a page follows its reader's.
    """
    plain, rows = found[0].plain, [it.row for it in found]
    methods = {it.row.name: it.samples for it in found}
    model, steps = model_in_titles(provenance), int(provenance["request"]["steps"])
    note = about(model, steps, len(plain))
    title = "Methods beside the plain run"
    side_by_side(plain, methods, title, note, picture, captions, THEMES[theme])
    titles, lines = tables.cells(rows)
    names = ", ".join(methods)
    Page(
        title=f"forecastcache compare: {model}",
        summary=f"{note}: {names}, each beside the plain run.",
        command=command,
        facts=facts_of(provenance),
        table=Table(titles, lines, tables.remarks(rows)),
        samples_note="Drag a picture to move the border between left and right; arrow keys do it "
        "too. The figure is the PSNR of the right one to the plain run.",
        **samples_of(
            plain, methods, captions, {row.name: row.psnr_db_by_sample for row in rows}
        ),
    ).save(page)  # fmt: skip
