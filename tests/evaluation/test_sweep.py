"""Evaluations: rows that say what happened, kept as they come."""

from __future__ import annotations

import csv
import json

import pytest
import torch

import forecastcache as fc
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.evaluation import charts, tables
from forecastcache.evaluation.entries import Applied, Forecast
from forecastcache.evaluation.measure import flops, measure
from forecastcache.evaluation.rivals import rival
from forecastcache.evaluation.sweep import Sweep, run
from forecastcache.sampling import Request, load

STEPS = 10
MODEL = "zoo:flux-digits"


@pytest.fixture(scope="module")
def pipe():
    pipe = load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def request_():
    return Request.of(MODEL, steps=STEPS, count=3)


def ours(schedule: fc.Schedule) -> Forecast:
    return Forecast(fc.Taylor(order=1), schedule, "output", str(schedule))


def test_all_computed_is_the_plain_run(pipe, request_):
    row = measure(pipe, request_, ours(fc.Every(1)))
    assert row["psnr_db"] is None  # identical
    assert row["latent_psnr_db"] is None
    assert row["ssim"] == pytest.approx(1)
    assert row["computed"] == STEPS
    assert row["latent_psnr_by_step"] == [None] * STEPS


def test_a_row_says_what_the_session_says(pipe, request_):
    entry = ours(fc.Listed((0, 1, 5)))
    row = measure(pipe, request_, entry)
    assert (row["computed"], row["steps"]) == (3, STEPS)
    assert row["cache_bytes"] == row["cache_bytes_planned"] > 0
    by_step = row["latent_psnr_by_step"]
    assert by_step[:2] == [None, None]  # not forecast yet
    assert by_step[2] > by_step[-1] == pytest.approx(row["latent_psnr_db"])
    spared = flops(pipe, request_) / flops(pipe, request_, entry)
    assert 2 < spared < STEPS / 3


@pytest.mark.parametrize(
    "spec",
    [
        "steps:count=5", "steps:count=5,solver=unipc", "steps:count=5,solver=dpm++",
        "taylorseer:interval=3", "taylorseer-lite:interval=3", "first-block:threshold=0.3",
    ],
)  # fmt: skip
def test_rivals_run_and_leave_nothing(pipe, request_, spec):
    plain = request_.sample(pipe)
    entry = rival(spec, STEPS)
    row = measure(pipe, request_, entry)
    assert 15 < row["latent_psnr_db"] < 70
    assert flops(pipe, request_, entry) < 0.95 * flops(pipe, request_)
    assert row["steps"] == (5 if spec.startswith("steps") else STEPS)
    assert torch.equal(request_.sample(pipe), plain)


def test_a_solver_that_sets_its_own_noise_levels_serves_pipelines_that_hand_them_over():
    pipe = load("zoo:qwen-digits")
    pipe.set_progress_bar_config(disable=True)
    request = Request.of("zoo:qwen-digits", steps=STEPS, count=2)
    row = measure(pipe, request, rival("steps:count=5,solver=dpm++", STEPS))
    assert 10 < row["latent_psnr_db"] < 60


def test_cache_dit_runs(request_):
    pytest.importorskip("cache_dit")
    pipe = load(MODEL)  # of its own: cache-dit leaves its mark
    pipe.set_progress_bar_config(disable=True)
    entry = rival("cache-dit:interval=3", STEPS)
    row = measure(pipe, request_, entry)
    assert entry.computed == (0, 1, 2, 3, 6, 9)
    assert 15 < row["latent_psnr_db"] < 70


def test_an_interrupted_sweep_goes_on(pipe, request_, tmp_path):
    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, of: int) -> None:
        if done == 2:
            raise Killed

    entries = [ours(fc.Every(n)) for n in (2, 3, 4)]
    kept, about = tmp_path / "rows.jsonl", {"model": MODEL}
    with pytest.raises(Killed):
        run(pipe, request_, entries, kept, about, tell=kill)
    before = [json.loads(line) for line in kept.read_text().splitlines() if line]
    assert len(before) == 2
    rows = run(pipe, request_, entries, kept, about)
    assert [row["seconds"] for row in rows[:2]] == [row["seconds"] for row in before]
    assert [row["name"] for row in rows] == [entry.name for entry in entries]
    with kept.open("a") as file:
        file.write('\n{"name": "cut o')  # as a kill may leave it
    assert run(pipe, request_, entries[:1], kept, about) == rows[:1]
    other = run(pipe, request_, entries[:1], kept, {"model": "another"})
    assert other[0]["seconds"] != rows[0]["seconds"]


def test_a_rival_that_fails_says_why_and_ours_raises(pipe, request_, tmp_path):
    class Failing:
        name, kind = "broken", "rival"

        def on(self, pipe):
            raise RuntimeError("out of\nideas")

    rows = run(pipe, request_, [Failing()], tmp_path / "rows.jsonl", {})
    assert rows == [{"name": "broken", "kind": "rival", "error": "out of ideas"}]
    assert "| broken: out of ideas |" in tables.markdown(
        [*rows, {"name": "a", "computed": 3, "kind": "forecast"}]
    )
    Failing.kind = "forecast"
    with pytest.raises(RuntimeError, match="out of"):
        run(pipe, request_, [Failing()], tmp_path / "others.jsonl", {})


def test_a_sweep_is_every_predictor_at_every_schedule_and_site(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "predictors: ['taylor:order=1', reuse]\nschedules: ['every:3', '0,4']\n"
        "sites: [output, module]\nrivals: ['steps:count=4']\n"
    )
    entries = Sweep.read(path).entries(STEPS)
    assert len(entries) == 2 * 2 * 2 + 1
    assert entries[0].name == "taylor:order=1 every:3, output"
    assert entries[-1].name == "steps:count=4"
    path.write_text(json.dumps({"predictors": ["reuse"], "schedules": ["every:2"]}))
    assert len(Sweep.read(path).entries(STEPS)) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("predictor: [reuse]", "predictor: extra inputs.*it takes predictors, schedules"),
        ("sites: [roof]", "sites.0: input should be 'output'"),
        ("{", "is neither YAML nor JSON"),
    ],
)
def test_other_sweeps_are_refused(tmp_path, text, complaint):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=complaint):
        Sweep.read(path)
    with pytest.raises(OptionError, match="cannot be read"):
        Sweep.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"predictors": ["none"], "schedules": ["every:2"]}, "row 'none every:2 output': .*none"),
        ({"predictors": ["reuse"], "schedules": ["0,12"]}, "row 'reuse 0,12 output': .*step 12"),
        ({"rivals": ["steps:count=5", "steps:count=5"]}, "'steps:count=5' stands twice"),
        ({"predictors": ["reuse"]}, "predictors and schedules go together"),
        ({"rivals": ["magic"]}, "row 'magic': no rival is called 'magic': write one of steps"),
        ({"rivals": ["steps:speed=2"]}, "steps has no option 'speed'; it takes count, solver"),
        ({"rivals": ["steps:count=x"]}, "is no rival: invalid literal"),
        ({"rivals": ["steps:solver=magic"]}, "solver 'magic' is not known: write one of dpm"),
    ],
)
def test_rows_that_cannot_be_are_named_before_anything_runs(data, complaint):
    with pytest.raises(ForecastCacheError, match=complaint):
        Sweep.of("the options", data).entries(STEPS)


def test_a_rival_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'forecastcache\[peers\]'"):
        rival("cache-dit", STEPS)


def test_tables_and_charts_hold_the_rows(pipe, request_, tmp_path):
    rows = run(pipe, request_, [ours(fc.Every(2)), ours(fc.Every(3))], tmp_path / "r.jsonl", {})
    tables.save_csv(rows, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [float(row["speedup"]) for row in read] == [row["speedup"] for row in rows]
    assert "latent_psnr_by_step" not in read[0]
    assert tables.markdown(rows).count("\n") == 4
    assert charts._front([(1, 5), (2, 4), (1.5, 3), (3, 1), (2.5, 2)]) == [
        (1, 5), (2, 4), (2.5, 2), (3, 1)
    ]  # fmt: skip
    for draw in (
        charts.fidelity_against_speed,
        charts.memory_against_fidelity,
        charts.error_by_step,
    ):
        draw(rows, tmp_path / "chart.png")
        draw([], tmp_path / "empty.png")
        assert (tmp_path / "chart.png").stat().st_size > (tmp_path / "empty.png").stat().st_size
    assert Applied().changes == {}
