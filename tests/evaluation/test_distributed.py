"""An evaluation that several processes share."""

from __future__ import annotations

import json

import pytest

from ..processes import torchrun

ASKED = (
    "evaluate", "zoo:dit-digits", "--steps", "8", "--count", "2", "--predictor", "reuse",
    "--interval", "2..4", "--baseline", "steps:count=3", "--baseline", "steps:count=4",
)  # fmt: skip


@pytest.mark.slow
def test_two_processes_share_the_rows_and_write_one_table(tmp_path):
    done = torchrun(2, "-m", "forecastcache", *ASKED, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]  # said once, by the first of them
    assert [row["name"] for row in rows] == [
        "plain, again", "reuse every:2, output", "reuse every:3, output", "reuse every:4, output",
        "steps:count=3", "steps:count=4",
    ]  # fmt: skip
    written = [
        [json.loads(line)["row"]["name"] for line in path.read_text().splitlines() if line]
        for path in sorted(tmp_path.glob("rows-*.jsonl"))
    ]
    assert [len(names) for names in written] == [3, 3]
    assert not set(written[0]) & set(written[1])
    assert rows[0]["psnr_db"] is None
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == rows
