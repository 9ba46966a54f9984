"""Evaluations: rows that say what happened, kept as they come."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import forecastcache as fc
from forecastcache.errors import OptionError, RequestError
from forecastcache.evaluation import charts, tables
from forecastcache.evaluation.evaluate import evaluate
from forecastcache.evaluation.flops import Flops, counted
from forecastcache.evaluation.measure import Measure, latent_psnr
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Forecast, Plain
from forecastcache.evaluation.peak import Peak
from forecastcache.evaluation.pictures import save_strip
from forecastcache.evaluation.provenance import provenance
from forecastcache.evaluation.sweep import Sweep
from forecastcache.metrics.metric import METRICS
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

from ..conftest import make_unconditional

STEPS = 8
MODEL = "zoo:flux-digits"


@pytest.fixture(scope="module")
def pipe():
    pipe = load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def request_():
    return Request.of(MODEL, steps=STEPS, count=3)


@pytest.fixture(scope="module")
def measure(pipe, request_):
    return Measure(pipe, request_)


@pytest.fixture
def small():
    """A pipeline for what is said of any, and a request of it."""
    return make_unconditional(), Request(steps=6, count=2)


def ours(schedule: fc.Schedule) -> Forecast:
    return Forecast(fc.Taylor(order=1), schedule, "output", "taylor", str(schedule))


class Failing:
    name, line, kind = "broken", "broken", "baseline"

    def apply(self, pipe, request):
        raise RuntimeError("out of\nideas")


@pytest.mark.parametrize("method", [ours(fc.Every(1)), Plain()], ids=lambda it: it.kind)
def test_all_computed_is_the_plain_run(measure, method):
    row = measure(method).row
    assert row.psnr_db is None  # identical
    assert row.latent_psnr_db is None
    assert row.ssim == pytest.approx(1)
    assert (row.computed, row.count) == (tuple(range(STEPS)), STEPS)
    assert (row.interval, row.flops_ratio) == (1, 1)
    assert row.latent_psnr_by_step == (None,) * STEPS


def test_a_row_says_what_the_session_says(measure):
    found = measure(ours(fc.Listed((0, 1, 5))))
    row = found.row
    assert (row.computed, row.count, row.steps) == ((0, 1, 5), 3, STEPS)
    assert row.cache_bytes == row.cache_bytes_planned > 0
    assert row.unplanned is None
    assert row.latent_psnr_by_step[:2] == (None, None)  # not forecast yet
    assert row.latent_psnr_by_step[2] > row.latent_psnr_by_step[-1]
    assert row.latent_psnr_by_step[-1] == pytest.approx(row.latent_psnr_db)
    assert 2 < row.flops_ratio < STEPS / 3
    assert found.samples.shape == found.plain.shape == (3, 3, 32, 32)


def test_flops_tell_at_which_steps_the_network_ran(pipe, request_):
    def spent(method: Forecast | Plain, asked: Request = request_) -> Flops:
        with method.apply(pipe, asked):
            return counted(pipe, lambda: asked.run(pipe))

    plain, forecast = spent(Plain()), spent(ours(fc.Listed((0, 4, 5))))
    assert plain.computed(plain) == tuple(range(len(plain.by_step))) == tuple(range(STEPS))
    assert len(set(plain.by_step[1:])) == 1
    assert forecast.computed(plain) == (0, 4, 5)
    assert [step for step, each in enumerate(forecast.by_step) if each] == [0, 4, 5]
    assert spent(ours(fc.Listed((0, 1)))).computed(plain) == (0, 1)
    one = spent(Plain(), request_.split(pipe, 1)[0])
    assert plain.by_step[1] == 3 * one.by_step[1]  # of all samples


def test_flops_are_of_the_whole_call(pipe, request_, measure):
    row = measure(Plain()).row
    whole = counted(pipe, lambda: request_.sample(pipe))
    assert row.flops == row.flops_plain == whole.total > sum(whole.by_step)


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_a_peak_is_of_its_own_stretch_of_work():
    large = torch.ones(100_000_000)
    before = Peak(torch.device("cpu"))
    another = torch.ones(50_000_000)
    with_both = before.bytes
    del large, another
    after = Peak(torch.device("cpu")).bytes
    assert with_both - after == pytest.approx(600e6, rel=0.1)


def test_lpips_is_measured_or_said_to_be_missing(measure):
    row = measure(ours(fc.Every(2))).row
    assert (row.lpips is None) == (row.lpips_missing is not None)
    if row.lpips is None:
        assert f"\nNo LPIPS: {row.lpips_missing}\n" in tables.markdown([row])
        assert "--metrics lpips=FOLDER" in row.lpips_missing


def mean_error(samples, plain):
    """Mean absolute error of the samples."""
    return (samples - plain).abs().mean()


def test_a_metric_of_ones_own_is_a_column_a_figure_and_a_chart(small, tmp_path):
    before = dict(METRICS._added)
    fc.register_metric("mean-error")(mean_error)
    try:
        methods = [Plain(), ours(fc.Every(2))]
        found = evaluate(*small, methods, out=tmp_path, metrics=["mean-error"])
        plain, mine = found.rows
        assert (plain.metrics["mean-error"], mine.metrics["mean-error"] > 0) == (0, True)
        table = found.markdown()
        assert "| SSIM of samples | mean error |" in table
        assert f"| {mine.metrics['mean-error']:.4f} |" in table
        assert "mean error: Mean absolute error of the samples. More is better." in table
        saved = found.save(tmp_path)
        assert tmp_path / "mean-error-against-speed.png" in saved
        with (tmp_path / "rows.csv").open() as file:
            assert next(float(row["mean-error"]) for row in csv.DictReader(file)) == 0
        rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
        assert rows[1]["metrics"] == mine.metrics
        # Rows that were measured without it are measured again, those with it are kept.
        assert evaluate(*small, methods, out=tmp_path, metrics=["mean-error"]).kept == 2
        assert evaluate(*small, methods, out=tmp_path).kept == 0
    finally:
        METRICS._added.clear()
        METRICS._added.update(before)


def test_a_metric_that_lacks_something_is_refused_before_anything_is_sampled(small):
    heard = []
    with pytest.raises(OptionError, match="the CLIP score needs prompts"):
        evaluate(*small, [Plain()], metrics=["clip"], progress=lambda *it: heard.append(it))
    assert not heard


def test_an_interrupted_evaluation_goes_on(small, tmp_path):
    pipe, request = small

    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, of: int) -> None:
        if done == 2:
            raise Killed

    def kept() -> list[dict]:
        lines = (tmp_path / "rows-0.jsonl").read_text().splitlines()
        return [json.loads(line)["row"] for line in lines if line]

    methods = [ours(fc.Every(n)) for n in (2, 3, 4)]
    with pytest.raises(Killed):
        evaluate(pipe, request, methods, out=tmp_path, progress=kill)
    before = kept()
    assert len(before) == 2
    rows = evaluate(pipe, request, methods, out=tmp_path).rows
    assert [row.seconds for row in rows[:2]] == [row["seconds"] for row in before]
    assert [row.name for row in rows] == [method.name for method in methods]
    with (tmp_path / "rows-0.jsonl").open("a") as file:
        file.write('\n{"name": "cut o')  # as a kill may leave it
    assert evaluate(pipe, request, methods[:1], out=tmp_path).rows == rows[:1]
    other = replace(request, seed=9)
    assert evaluate(pipe, other, methods[:1], out=tmp_path).rows[0] != rows[0]
    # Of the same name, and yet another: a calibration may have been made again, for one.
    renamed = Forecast(fc.Taylor(order=2), fc.Every(2), "output", "taylor", str(fc.Every(2)))
    assert renamed.name == methods[0].name
    (again,) = evaluate(pipe, request, [renamed], out=tmp_path).rows
    assert again.latent_psnr_db != rows[0].latent_psnr_db


def test_tables_that_no_evaluation_has_written_are_not_overwritten(pipe, request_, tmp_path):
    (tmp_path / "table.md").write_text("mine")
    with pytest.raises(OptionError, match="has a table.md that no evaluation has written there"):
        evaluate(pipe, request_, [Plain()], out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]


def test_rows_of_another_thing_are_not_taken(pipe, tmp_path):
    """Of other weights, other arguments, or a predictor whose code was changed."""

    class Halved(fc.Reuse):
        def weights(self, computed, target):
            return np.array([0.5])

    now = Halved

    class Halved(fc.Reuse):
        def weights(self, computed, target):
            return np.array([0.25])

    asked = Request(steps=4, count=2)
    psnrs = []
    for unet, predictor in ((0, now()), (0, Halved()), (1, Halved())):
        own = make_unconditional()
        with torch.no_grad():
            own.unet.conv_in.weight.mul_(1 + unet)
        method = Forecast(predictor, fc.Every(2), "output", "halved", "every:2")
        (row,) = evaluate(own, asked, [method], out=tmp_path).rows
        psnrs.append(row.latent_psnr_db)
    assert len(set(psnrs)) == 3
    one, other = torch.zeros(2, 512), torch.zeros(2, 512)
    other[1, 300] = 1
    tellings = [
        provenance(
            pipe, Request(call={"prompt_embeds": it, "image": Image.new("RGB", (4, 4))}), ""
        )
        for it in (one, other, one)
    ]
    assert tellings[0] != tellings[1]
    assert tellings[0] == tellings[2]


def test_latents_that_are_not_numbers_are_no_identical_ones():
    plain, near = torch.zeros(2, 4), torch.zeros(2, 4)
    near[1] += 0.02
    assert latent_psnr(plain, plain) is None
    assert latent_psnr(near, plain) == pytest.approx(40)  # of the one that differs
    with pytest.raises(RequestError, match="NaN or infinity"):
        latent_psnr(plain / 0, plain)


def test_pictures_without_colour_are_kept_too(tmp_path):
    save_strip(torch.rand(3, 1, 8, 8), tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as image:
        assert (image.size, image.mode) == ((24, 8), "RGB")


def test_a_baseline_that_fails_says_why_and_is_tried_again(small, tmp_path):
    rows = evaluate(*small, [Failing()], out=tmp_path).rows
    assert rows == [Measurement.of(Failing(), error="out of ideas")]
    done = Measurement.of(Plain(), count=3)
    assert "| broken: out of ideas |" in tables.markdown([*rows, done])
    heard = []
    evaluate(*small, [Failing()], out=tmp_path, progress=lambda *it: heard.append(it))
    assert heard == [("rows", 1, 1)]


def test_a_row_of_ours_that_cannot_be_is_named_before_anything_is_sampled():
    heard = []
    method = Forecast(fc.Reuse(), fc.Every(2), "block", "reuse", "every:2")
    with pytest.raises(OptionError, match="row 'reuse every:2, block': UNet2DModel is served by"):
        evaluate(
            make_unconditional(), Request(steps=STEPS, count=2), [Plain(), method],
            progress=lambda *it: heard.append(it),
        )  # fmt: skip
    assert not heard


def test_two_rows_of_one_name_are_refused_before_anything_is_sampled():
    heard = []
    predictors = fc.Reuse(), fc.BDF()
    twins = [Forecast(it, fc.Every(2), "output", "own", "every:2") for it in predictors]
    with pytest.raises(OptionError, match="the row 'own every:2, output' stands twice: leave one"):
        evaluate(
            make_unconditional(), Request(steps=STEPS, count=2), twins,
            progress=lambda *it: heard.append(it),
        )  # fmt: skip
    assert not heard


def test_a_row_of_ours_that_fails_ends_the_evaluation(small, monkeypatch):
    class Endless(fc.Reuse):
        def weights(self, computed, target):
            return np.array([np.inf if target.index > 3 else 1])

    method = Forecast(Endless(), fc.Every(2), "output", "endless", "every:2")
    with pytest.raises(OptionError, match="row 'endless every:2, output': .*inf"):
        evaluate(*small, [method])
    monkeypatch.setattr(Failing, "kind", "plain")
    with pytest.raises(RuntimeError, match="out of"):
        evaluate(*small, [Failing()])


@pytest.fixture(scope="module")
def evaluated(pipe, request_, tmp_path_factory):
    """An evaluation and its folder."""
    out = tmp_path_factory.mktemp("evaluated")
    sweep = Sweep(predictors=("taylor:order=1",), schedules=("every:2", "every:3"))
    return evaluate(pipe, request_, sweep, MODEL, out), out


def test_tables_charts_and_samples_hold_the_rows(evaluated):
    found, out = evaluated
    saved = found.save(out)
    rows = found.rows
    with (out / "rows.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [float(row["speedup"]) for row in read] == [row.speedup for row in rows]
    assert "latent_psnr_by_step" not in read[0]
    assert found._repr_markdown_().splitlines()[2].startswith(f"| plain, again | {STEPS} |")
    assert json.loads((out / "rows.json").read_text()) == found.figures()
    with Image.open(out / "samples.png") as image:
        assert image.height > image.width / 3  # three strips
    assert [path.name for path in saved if path.suffix == ".png"] == [
        "fidelity-against-speed.png", "error-against-interval.png", "memory-against-fidelity.png",
        "error-by-step.png", "samples.png",
    ]  # fmt: skip
    for path in saved:
        assert path.stat().st_size > 0


def test_a_row_of_ours_says_by_how_much_it_leads(small):
    sweep = Sweep(
        predictors=("taylor:order=1",), schedules=("every:2",),
        baselines=("steps:count=2", "steps:count=5"),
    )  # fmt: skip
    found = evaluate(*small, sweep)
    _, mine, two, five = found.rows  # four computed: only the first of the baselines costs less
    assert two.flops < mine.flops < five.flops
    assert mine.lead_db == mine.latent_psnr_db - two.latent_psnr_db
    assert "Lead: latent PSNR above the best" in found.markdown()
    assert two.lead_db is None
    assert str(found).splitlines()[0].split()[:2] == ["computed", "seconds"]
    assert str(found).splitlines()[2].startswith("taylor:order=1 every:2, output")


def test_charts_of_nothing_are_empty(evaluated, tmp_path):
    rows = evaluated[0].rows
    for draw in (
        charts.fidelity_against_speed, charts.memory_against_fidelity, charts.error_by_step,
        charts.error_against_interval,
    ):  # fmt: skip
        draw(rows, tmp_path / "chart.png")
        draw([], tmp_path / "empty.png")
        assert (tmp_path / "chart.png").stat().st_size > (tmp_path / "empty.png").stat().st_size
    points = [(1, 5), (2, 4), (1.5, 3), (3, 1), (2.5, 2)]
    assert charts._front(points) == [(1, 5), (2, 4), (2.5, 2), (3, 1)]
