"""`forecastcache compare`: methods side by side."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from ..browser import overflow

MODEL = ("zoo:dit-digits", "--steps", 8, "--count", 2)


def test_it_writes_a_picture_and_a_page(forecastcache, request, tmp_path):
    code, out, err = forecastcache(
        "compare", *MODEL, "--a", "taylor", "--b", "reuse every:4, hidden",
        "--c", "steps:count=3", "--computed", 3, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    names = [row["name"] for row in found["rows"]]
    assert names == ["taylor warped:3, output", "reuse every:4, hidden", "steps:count=3"]
    assert found["rows"][0]["count"] == 3
    assert len(found["rows"][0]["psnr_db_by_sample"]) == 2
    with Image.open(found["picture"]) as image:
        assert image.height > image.width  # seven rows of two
    browser = request.getfixturevalue("browser")  # which may skip what is left
    shown = browser(tmp_path / "out" / "dit-digits-compare.html", 390)
    assert overflow(shown) == 0
    assert shown.locator("select.left option").all_inner_texts() == ["plain", *names]
    assert "compare zoo:dit-digits --steps 8" in shown.locator(".command").inner_text()
    assert shown.locator(".sample").count() == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--a", "tailor", "--b", "reuse"), "tailor is no predictor, baseline or calibration"),
        (("--a", "reuse", "--b", "reuse"), "the row 'reuse warped:4, output' stands twice"),
        (("--a", "reuse", "--b", "steps:count=3 every:4"), "only a predictor takes a schedule"),
        (("--a", "reuse", "--b", "learned"), "50 steps"),
        (("--a", "reuse", "--b", "taylor", "--site", "nowhere"), "--site nowhere"),
        (("--a", "reuse", "--b", "taylor, nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    forecastcache, tmp_path, arguments, said
):
    code, out, err = forecastcache("compare", *MODEL, *arguments, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_named(forecastcache, tmp_path):
    (tmp_path / "file").touch()
    said = ("--a", "reuse", "--b", "taylor", "--out", tmp_path / "file")
    code, _, err = forecastcache("compare", *MODEL, *said)
    assert code == 2
    assert f"--out {tmp_path / 'file'} cannot be written" in err


def test_learned_is_of_a_zoo_model(forecastcache, tmp_path):
    code, _, err = forecastcache("compare", tmp_path, "--a", "reuse", "--b", "learned")
    assert code == 2
    assert "learned is the calibration that ships beside a zoo model" in err
