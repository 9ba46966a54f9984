"""Every notebook runs from top to bottom, and is committed as it ran.

`make notebooks` has these tests keep what the notebooks show.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes of a notebook: each version of it stays in the history
PLACES = (str(ROOT), str(Path.home()), "/tmp/", "\\Temp\\")  # of one machine
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own packages
@every_notebook
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # more cost small models more than they give
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,  # seconds a cell, on a machine that does other things as well
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": tmp_path}},
    ).execute()
    if os.environ.get("KEEP_NOTEBOOKS"):
        for data in (output.get("data", {}) for output in outputs(notebook)):
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
        nbformat.write(notebook, path)


@every_notebook
def test_it_is_committed_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert outputs(notebook)
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not any(place in str(output) for place in PLACES)
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize(
    ("name", "most"), [("06_write_a_predictor", 25), ("07_your_own_schedule", 30)]
)
def test_a_method_is_in_the_table_within_so_many_lines(name, most):
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code"
        and not any("image/png" in it.get("data", {}) for it in cell.outputs)
    ]  # without the pictures, of which one is of others' methods
    last = next(i for i, source in enumerate(code) if "evaluate(" in source)
    lines = [line for source in code[: last + 1] for line in source.splitlines() if line.strip()]
    assert len(lines) <= most


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def smaller(png: str) -> str:
    """The picture with a palette of its own, which a chart fills with some dozens of colours."""
    file = BytesIO()
    Image.open(BytesIO(b64decode(png))).convert("RGB").quantize(256).save(
        file, "PNG", optimize=True
    )
    return b64encode(file.getvalue()).decode()
