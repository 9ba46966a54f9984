"""calibrate, plan and run --calibration: from prompts to a faster run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

MODEL = ("zoo:dit-digits", "--steps", 10)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("calibrated")


@pytest.fixture
def calibrated(forecastcache, shelf) -> Path:
    """A calibration that tests read, made by the first of them."""
    out = shelf / "dit.cal"
    if out.exists():
        return out
    code, printed, _ = forecastcache(
        "calibrate", *MODEL, "--count", 4, "--schedule", "0,3,6,9", "--out", out, "--json"
    )
    figures = json.loads(printed)
    assert code == 0
    assert figures["evaluations"] <= 4 * 10 + 4 * 4 * 5 + 4 * (10 + 4 * 7)
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

    loops = {offer["loop"] for offer in offers("--computed", 4)}
    assert loops == {"closed"}
    assert {len(offer["computed"]) for offer in offers("--speedup", 3)} == {3}
    (near,) = offers("--psnr", 1)
    assert near["latent_psnr_db"] >= 1
    assert (near["loop"], near["foretold_latent_psnr_db"]) == ("closed", None)
    (exact,) = offers("--speedup", 1)
    assert (exact["loop"], exact["latent_psnr_db"]) == ("exact", None)
    picture = tmp_path / "frontier.png"
    assert [len(it["computed"]) for it in offers("--picture", picture)] == list(range(1, 11))
    with Image.open(picture) as image:
        assert image.width > 500
    code, out, _ = forecastcache("plan", calibrated)
    assert code == 0
    assert "0 3 6 9" in out
    assert re.search(r"10 │ +1.0 │ +exact │", out)
    assert "unchecked" in out


def test_what_is_foretold_is_said_in_a_line(forecastcache, calibrated, tmp_path):
    by_it = ("run", *MODEL, "--calibration", calibrated, "--count", 1, "--out", tmp_path, "--json")
    code, out, err = forecastcache(*by_it)
    assert (code, json.loads(out)["count"]) == (0, 4), err  # rolled, and so more than a fifth
    assert "foretold" not in err
    code, out, err = forecastcache(*by_it, "--computed", 2)
    assert (code, json.loads(out)["count"]) == (0, 2), err
    assert re.search(r"^forecastcache: no schedule of at most 2 .* was rolled", err, re.MULTILINE)


def test_mistakes_get_one_line(forecastcache, calibrated, tmp_path):
    out = ("--out", tmp_path / "new.cal")
    mistakes = {
        ("calibrate", *MODEL, *out, "--prompts", tmp_path / "none"): "is no file",
        ("calibrate", *MODEL, *out, "--schedule", "often"): "is no schedule: write every:7",
        ("calibrate", *MODEL, *out, "--schedule", "0,12"): "step 12, but the trajectory has 10",
        ("calibrate", *MODEL, *out, "--limit", 100): "takes .* at least, but --evaluations",
        ("plan", tmp_path / "none"): "is no file: make one with forecastcache calibrate",
        ("plan", calibrated, "--computed", 3, "--psnr", 30): "give one",
        ("plan", calibrated, "--computed", 11): "11 steps of 10 cannot be computed",
        ("plan", calibrated, "--psnr", 99): "dB is the most that was rolled .4 computed",
        ("plan", calibrated, "--psnr", "nan"): "is not to be had",
        ("plan", calibrated, "--speedup", 11): "above 10, the number of steps",
        (
            "run",
            *MODEL,
            "--calibration",
            calibrated,
            "--order",
            1,
        ): "leave out --calibration or --order",
        ("run", *MODEL, "--calibration", calibrated, "--psnr", 99): "psnr=99 is not to be had",
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


def test_sizes_between_two_calibrated_are_served(forecastcache, tmp_path):
    out, model = tmp_path / "flux.cal", ("zoo:flux-digits", "--steps", 10)
    code, printed, err = forecastcache(
        "calibrate", *model, "--count", 4, "--schedule", "0,3,6,9", "--size", "32x32",
        "--size", "64x64", "--out", out, "--json",
    )  # fmt: skip
    figures = json.loads(printed)
    assert (code, figures["sizes"]) == (0, ["32x32", "64x64"]), err
    by_it = ("--calibration", out, "--computed", 4, "--count", 2, "--out", tmp_path, "--json")
    code, printed, err = forecastcache("run", *model, "--size", "48x48", *by_it)
    assert (code, json.loads(printed)["computed"]) == (0, [0, 3, 6, 9])
    (line,) = [line for line in err.splitlines() if "lie between" in line]
    assert line.startswith("forecastcache: the run's step times lie between those that were")
    assert "lie between" not in forecastcache("run", *model, "--size", "64x64", *by_it)[2]


def test_guidance_beyond_two_calibrated_is_refused_before_a_run(forecastcache, tmp_path):
    out, model = tmp_path / "dit.cal", ("zoo:dit-digits", "--steps", 4)
    code, printed, err = forecastcache(
        "calibrate", *model, "--count", 2, "--schedule", "0,2", "--no-refine",
        "--guidance-scale", 2, "--guidance-scale", 4, "--out", out, "--json",
    )  # fmt: skip
    figures = json.loads(printed)
    assert (code, figures["identity"]["scales"]) == (0, [2, 4]), err
    by_it = ("--calibration", out, "--computed", 2)
    code, _, err = forecastcache("run", *model, "--guidance-scale", 7, *by_it)
    assert code == 2
    assert "the calibration is of guidance 2 to 4, but 7.0 is asked for" in err


def test_prompts_come_with_seeds_and_arguments_of_their_own(forecastcache, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    lines = [
        {"prompt": "a red seven", "seed": 5},
        {"prompt": "a blue two", "seed": 7, "height": 48, "width": 48},
        {"prompt": "a green one", "seed": 6},
        {"prompt": "a blue four", "seed": 8, "width": 48, "height": 48},
    ]
    prompts.write_text("\n".join(map(json.dumps, lines)) + "\n")
    model = ("zoo:flux-digits", "--steps", 4, "--prompts", prompts)
    code, printed, err = forecastcache(
        "calibrate", *model, "--schedule", "none", "--out", tmp_path / "flux.cal", "--json"
    )
    figures = json.loads(printed)
    assert (code, figures["sizes"], figures["prompts"]) == (0, ["32x32", "48x48"], 4), err
    code, _, err = forecastcache("run", *model, "--out", tmp_path)
    assert code == 2
    assert "asks for 2 kinds of call, and one can be had here" in err
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines[::2]))
    code, _, err = forecastcache("run", *model, "--out", tmp_path, "--count", 3)
    assert code == 2
    assert "2 seeds are given for 3 pictures: give one for each" in err


def test_the_rows_are_drawn(forecastcache, calibrated, tmp_path):
    picture = tmp_path / "rows.png"
    code, out, _ = forecastcache("plan", calibrated, "--computed", 4, "--rows", picture)
    assert (code, out.splitlines()[-1]) == (0, str(picture))
    with Image.open(picture) as image:
        assert image.width > 500
    code, _, err = forecastcache("plan", calibrated, "--rows", picture)
    assert (code, "give --computed" in err) == (2, True)


def test_a_dry_run_says_what_it_takes_and_writes_nothing(forecastcache, tmp_path):
    code, said, err = forecastcache(
        "calibrate", "zoo:dit-digits", "--count", 3, "--steps", 10, "--schedule", "search:3",
        "--tries", 5, "--no-refine", "--dry-run", "--json", "--out", tmp_path / "dit.cal",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(said)
    record, search, fit = 3 * 10, 3 * 5 * 3, 3 * 6 * 3
    assert told["evaluations"] == record + search + fit
    assert told["kept_bytes"] == 3 * 11 * 256 * 4  # 3 prompts, x_0 to x_10, 256 elements, float32
    assert told["seconds"] == pytest.approx(told["evaluations"] * told["seconds_per_evaluation"])
    assert not list(tmp_path.iterdir())
