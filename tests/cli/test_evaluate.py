"""forecastcache evaluate: one table of predictors and baselines."""

from __future__ import annotations

import json
import re

from PIL import Image

from ..browser import overflow

MODEL = ("zoo:dit-digits", "--steps", 6, "--count", 2)


def test_a_table_of_predictors_and_baselines(forecastcache, request, tmp_path):
    out = tmp_path / "out"
    asked = (
        *MODEL, "--predictor", "reuse", "--predictor", "taylor:order=1", "--interval", "2",
        "--site", "output,hidden", "--baseline", "steps:count=4", "--baseline", "steps:count=2000",
        "--out", out,
    )  # fmt: skip
    code, printed, err = forecastcache("evaluate", *asked, "--json")
    rows = json.loads(printed)["rows"]
    assert (code, len(rows)) == (0, 1 + 2 * 2 + 2), err
    assert [row["name"] for row in rows[:2]] == ["plain, again", "reuse every:2, output"]
    assert all(0 <= row["judged"] <= 1 for row in rows if row["error"] is None)
    assert "cannot be larger than" in rows[-1]["error"]
    saved = json.loads((out / "rows.json").read_text())
    assert saved["rows"] == rows
    assert saved["model"] == "zoo:dit-digits"
    table = (out / "table.md").read_text()
    assert table.count("\n|") == len(rows) + 1
    assert rows[0]["lpips"] is not None or "No LPIPS: " in table
    for name in (
        "fidelity-against-speed", "error-against-interval", "memory-against-fidelity",
        "error-by-step", "samples",
    ):  # fmt: skip
        with Image.open(out / f"{name}.png") as image:
            assert image.width > 500
    assert not (out / "report.html").exists()
    code, printed, _ = forecastcache("evaluate", *asked, "--html", "--theme", "dark")
    assert code == 0
    assert "taylor:order=1 every:2, hidden" in printed
    assert printed.splitlines()[-1] == str(out / "report.html")
    with Image.open(out / "samples.png") as image:
        assert image.getpixel((0, 0))[:3] == (20, 24, 29)
    again = json.loads((out / "rows.json").read_text())["rows"]
    assert [row.get("seconds") for row in again] == [row.get("seconds") for row in rows]
    browser = request.getfixturevalue("browser")  # which may skip what is left
    shown = browser(out / "report.html", 390, True)
    assert overflow(shown) == 0
    assert shown.locator("tbody tr").count() == len(rows)
    assert shown.locator(".chart svg").count() == 4
    assert shown.locator(".sample").count() == 2
    methods = 5  # those that did not fail, and the plain run
    assert shown.locator("select.left option").count() == methods + 1
    assert shown.locator(".command").inner_text().startswith("forecastcache evaluate zoo:dit-dig")


def test_a_calibration_stands_in_the_table(forecastcache, tmp_path):
    file = tmp_path / "dit.cal"
    assert (
        forecastcache(
            "calibrate", *MODEL[:3], "--count", 4, "--schedule", "none", "--out", file, "--json"
        )[0]
        == 0
    )
    code, printed, _ = forecastcache(
        "evaluate", *MODEL, "--calibration", file, "--computed", "3,4", "--out", tmp_path / "out",
        "--json",
    )  # fmt: skip
    rows = json.loads(printed)["rows"]
    assert (code, [row["count"] for row in rows]) == (0, [6, 3, 4])
    assert rows[1]["name"] == f"{file} computed:3, output"
    code, _, err = forecastcache(
        "evaluate", *MODEL, "--calibration", file, "--computed", 3, "--guidance-scale", 5
    )
    assert (code, "of guidance 2.0, but 5.0 is asked for" in err) == (2, True)


def test_mistakes_get_one_line(forecastcache, tmp_path):
    out = ("--out", tmp_path / "out")
    mistakes = {
        (): "there is nothing to evaluate: give --predictor, --baseline or --sweep",
        ("--predictor", "none", "--interval", "3"): "row 'none every:3 output'",
        ("--predictor", "reuse", "--interval", "x"): "--interval x is none: write 3..8",
        ("--predictor", "reuse", "--interval", "3", "--site", "roof"): "the options: sites.0",
        ("--baseline", "magic"): "no baseline is called 'magic'",
        ("--sweep", tmp_path / "none"): "cannot be read",
        ("--sweep", tmp_path / "none", "--baseline", "steps"): "leave out --predictor",
        ("--calibration", tmp_path / "none", "--computed", "3"): "is no file: make one",
        ("--calibration", tmp_path / "none"): "go together: give both, or none",
        ("--calibration", "zoo:dit-digits", "--computed", "9"): "is of 50 steps",
        ("--predictor", "reuse"): "predictors and schedules go together",
        ("--baseline", "steps", "--computed", "3"): "go together: give both, or none",
        ("--baseline", "steps", "--computed", "x"): "--computed x is none: write 3..8",
        ("--predictor", "reuse", "--interval", "2", "--size", "big"): "--size big is no size",
    }
    for arguments, complaint in mistakes.items():
        code, printed, err = forecastcache("evaluate", *MODEL, *arguments, *out)
        assert (code, printed) == (2, ""), arguments
        assert err.count("\n") == 1, err
        assert re.search(complaint, err), err
    assert not (tmp_path / "out").exists()
