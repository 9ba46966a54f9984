"""Pages: all is in them and escaped; they sort, slide, play, and fit a phone."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest
import torch

from forecastcache.evaluation import charts
from forecastcache.evaluation.captions import Caption, captions
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.page import Chart, Page, Table, inline_svg, samples_of, sort_value
from forecastcache.sampling.request import Request

from ..browser import overflow

EVIL = "<script>alert('x')</script> & \"more\""
NAMES = (EVIL, "taylor:order=1 every:4, output", "zoo:dit-digits computed:9, output")


def measured(name: str, psnr: float, ratio: float) -> Measurement:
    return Measurement(
        name=name, kind="forecast", line=name, samples=2, steps=10, computed=(0, 5), count=2,
        interval=5.0, flops_ratio=ratio, latent_psnr_db=psnr, cache_bytes=2000,
        latent_psnr_by_step=(None, *[psnr + 3] * 9),
    )  # fmt: skip


ROWS = [measured(name, 30 + 9 * at, 2 + at) for at, name in enumerate(NAMES)]


def page(clips: bool = False) -> Page:
    generator = torch.Generator().manual_seed(0)
    plain = torch.rand(2, *([5] if clips else []), 3, 16, 24, generator=generator)
    methods = {name: (plain + 0.02 * at).clamp(0, 1) for at, name in enumerate(NAMES)}
    near = {name: [40.0 + at, None] for at, name in enumerate(NAMES)}
    lines = [[NAMES[0], "9", "1,000"], [NAMES[1], "10", ""], [NAMES[2], "8", "identical"]]
    return Page(
        title=f"title {EVIL}", summary=EVIL, command=EVIL, facts={"prompts": EVIL},
        table=Table(["", "computed", "PSNR"], lines, [EVIL]),
        charts=[
            Chart(draw.__name__, inline_svg(f"c{at}", partial(draw, ROWS, model=EVIL)))
            for at, draw in enumerate([charts.fidelity_against_speed, charts.error_by_step])
        ],
        **samples_of(plain, methods, [Caption(EVIL, 1), Caption("x" * 200, 2)], near),
    )  # fmt: skip


@pytest.fixture
def written(tmp_path):
    page().save(tmp_path / "page.html")
    return tmp_path / "page.html"


def test_it_needs_nothing_else_and_escapes_all(written):
    text = written.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("<script") == 1
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert not re.findall(r"url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len({*ids})
    for used in re.findall(r'href="#([^"]+)"', text):
        assert used in ids


def test_charts_take_the_colours_of_the_page():
    svg = inline_svg("c", partial(charts.fidelity_against_speed, ROWS))
    assert "var(--vermillion)" in svg
    assert "var(--ink)" in svg
    assert not re.findall(r"(?:fill|stroke): #(?!ffffff)\w{6}", svg)


def test_cells_sort_by_their_numbers():
    cells = ["1,000", "12.5", "98%", "+3.1", "identical", "", "-2", "nan"]
    expected = ["1000.0", "12.5", "98.0", "3.1", "1e308", "", "-2.0", ""]
    assert [sort_value(cell) for cell in cells] == expected


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_it_fits_sorts_and_slides(browser, written, width, dark):
    shown = browser(written, width, dark)
    assert overflow(shown) == 0
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")

    def column(number):
        return shown.locator(f"tbody tr > :nth-child({number})").all_inner_texts()

    shown.get_by_role("button", name="computed").click()
    assert column(2) == ["10", "9", "8"]
    shown.get_by_role("button", name="computed").click()
    assert column(2) == ["8", "9", "10"]
    assert shown.locator("th[aria-sort=ascending]").inner_text().startswith("computed")
    for _ in range(2):  # a row without a figure stays at the end
        shown.get_by_role("button", name="PSNR").click()
        assert column(3)[-1] == ""
    assert column(3)[:2] == ["1,000", "identical"]

    sample = shown.locator(".sample").first
    right = sample.locator(".view.right")
    before = right.evaluate("it => getComputedStyle(it).clipPath")
    sample.locator(".cut").focus()
    for _ in range(20):
        shown.keyboard.press("ArrowRight")
    after = right.evaluate("it => getComputedStyle(it).clipPath")
    assert ("50%" in before, "70%" in after) == (True, True)
    shown.locator("select.right").select_option(label=NAMES[2])
    assert sample.locator("figcaption").inner_text().endswith("42.0 dB")
    assert sample.locator(".view.right img").get_attribute("alt").endswith(NAMES[2])
    shown.locator(".differ").check()
    assert right.evaluate("it => getComputedStyle(it).mixBlendMode") == "difference"


def test_clips_play_together_and_stop(browser, tmp_path):
    page(clips=True).save(tmp_path / "clips.html")
    shown = browser(tmp_path / "clips.html", 390)
    assert overflow(shown) == 0
    section, play = shown.locator(".samples"), shown.locator(".play")
    assert play.inner_text() == "pause"
    frame = "it => [it.style.getPropertyValue('--column'), it.style.getPropertyValue('--line')]"
    shown.wait_for_function(
        "() => document.querySelector('.samples').style.getPropertyValue('--column') !== ''"
    )
    play.click()
    stopped = section.evaluate(frame)
    shown.wait_for_timeout(300)
    assert section.evaluate(frame) == stopped
    assert play.get_attribute("aria-pressed") == "false"


def test_a_page_of_nothing_is_one(browser, tmp_path):
    bare = replace(page(), table=None, charts=(), samples=(), films=None)
    bare.save(tmp_path / "bare.html")
    shown = browser(tmp_path / "bare.html", 390)
    assert shown.locator("section").count() == 0
    assert overflow(shown) == 0


def test_captions_say_what_was_asked(pipe):
    found = captions(pipe, Request(steps=3, classes=("1", "2"), seeds=(7, 9)))
    assert [str(it) for it in found] == ["class 1, seed 7", "class 2, seed 9"]
