"""calibrate, plan and run --calibration: from prompts to a faster run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

MODEL = ("zoo:dit-digits", "--steps", 10)


@pytest.fixture
def calibrated(forecastcache, tmp_path) -> Path:
    out = tmp_path / "dit.cal"
    code, printed, _ = forecastcache(
        "calibrate", *MODEL, "--count", 4, "--schedule", "0,3,6,9", "--out", out, "--json"
    )
    figures = json.loads(printed)
    assert code == 0
    assert figures["evaluations"] == 4 * 10 + 4 * 4 * 2
    assert figures["identity"]["model"]["name"] == "DiTTransformer2DModel"
    assert figures["identity"]["guidance"] == 2.0
    assert [fit["computed"] for fit in figures["fits"]] == [[0, 3, 6, 9]]
    assert figures["sampler_missed"] < 1e-4
    return out


def test_a_run_by_a_calibration(forecastcache, calibrated, tmp_path):
    code, out, _ = forecastcache(
        "run", *MODEL, "--calibration", calibrated, "--computed", 4, "--count", 2,
        "--out", tmp_path, "--json",
    )  # fmt: skip
    figures = json.loads(out)
    assert (code, figures["computed"]) == (0, [0, 3, 6, 9])
    assert figures["predictor"].startswith("Learned(6 rows")


def test_plans_by_count_by_speed_and_by_nearness(forecastcache, calibrated, tmp_path):
    def offers(*options: object) -> list[dict]:
        code, out, _ = forecastcache("plan", calibrated, *options, "--json")
        assert code == 0
        return json.loads(out)["offers"]

    assert {offer["loop"] for offer in offers("--computed", 4)} == {"open", "closed"}
    assert {len(offer["computed"]) for offer in offers("--speedup", 3)} == {3}
    (near,) = offers("--psnr", 1)
    assert near["psnr_db"] >= 1
    picture = tmp_path / "frontier.png"
    assert len(offers("--picture", picture)) == 11  # ten planned, one fitted
    with Image.open(picture) as image:
        assert image.width > 500
    code, out, _ = forecastcache("plan", calibrated)
    assert code == 0
    assert "0 3 6 9" in out


def test_mistakes_get_one_line(forecastcache, calibrated, tmp_path):
    one = tmp_path / "one.txt"
    one.write_text("7\n")
    out = ("--out", tmp_path / "new.cal")
    mistakes = {
        ("calibrate", *MODEL, *out, "--prompts", one): "has one prompt: give 2 at least",
        ("calibrate", *MODEL, *out, "--prompts", tmp_path / "none"): "is no file",
        ("calibrate", *MODEL, *out, "--schedule", "often"): "is no schedule: write every:7",
        ("calibrate", *MODEL, *out, "--schedule", "0,12"): "step 12, but the trajectory has 10",
        ("calibrate", *MODEL, *out, "--limit", 100): "take 500 evaluations.*more than --limit 100",
        ("plan", tmp_path / "none"): "is no file: make one with forecastcache calibrate",
        ("plan", calibrated, "--computed", 3, "--psnr", 30): "give one",
        ("plan", calibrated, "--computed", 11): "11 steps of 10 cannot be computed",
        ("plan", calibrated, "--speedup", 11): "above 10, the number of steps",
        ("run", *MODEL, "--calibration", calibrated, "--order", 1): "leave out --predictor",
        ("run", *MODEL, "--computed", 4): "--computed goes with --calibration",
        ("run", "zoo:dit-digits", "--calibration", calibrated): "but 50 are asked for",
        ("run", *MODEL, "--calibration", calibrated, "--guidance-scale", 3): "guidance 2.0, but 3",
        ("run", "zoo:flux-digits", "--steps", 10, "--calibration", calibrated): "this is FluxTran",
    }
    for arguments, complaint in mistakes.items():
        code, printed, err = forecastcache(*arguments)
        assert (code, printed) == (2, ""), arguments
        assert err.count("\n") == 1, err
        assert re.search(complaint, err), err
    assert not (tmp_path / "new.cal").exists()
