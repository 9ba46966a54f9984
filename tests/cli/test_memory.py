"""forecastcache memory: what a cache will hold beside its model."""

from __future__ import annotations

import json
import logging
import socket

import pytest

from forecastcache.accelerated.choice import chosen_by
from forecastcache.accelerated.goal import Goal
from forecastcache.calibration.calibration import Calibration
from forecastcache.memory.planned_model import planned_model

from ..conftest import SITES

FLUX = "zoo:flux-digits"


def test_memory_says_what_flux_needs(forecastcache):
    arguments = (
        "memory", "flux.1-dev", "--height", 1000, "--width", 1000, "--predictor", "taylor",
        "--order", 2, "--site", "module",
    )  # fmt: skip
    code, out, _ = forecastcache(*arguments)
    assert code == 0
    assert "in all 6,102,024,192 bytes, 5,819 MiB" in out
    assert "given: height 1000, which the pipeline makes 992" in out
    code, out, _ = forecastcache(*arguments, "--json")
    figures = json.loads(out)
    (cache,) = figures["caches"]
    assert code == 0
    assert cache["total_bytes"] == 6_102_024_192
    assert len(cache["sites"]) == 19 * 3 + 38
    assert sum(site["bytes"] for site in cache["sites"]) == cache["total_bytes"]


def test_memory_takes_a_depth_a_dtype_and_text(forecastcache):
    _, out, _ = forecastcache(
        "memory", "hunyuanvideo", "--height", 480, "--width", 640, "--frames", 65, "--depth", 9,
        "--json",
    )  # fmt: skip
    caches = {each["site"]: each for each in json.loads(out)["caches"]}
    assert caches["output"]["total_bytes"] == 23_500_800
    _, out, _ = forecastcache(
        "memory", "qwen-image", "--site", "block", "--no-guidance", "--text-tokens", 100,
        "--storage-dtype", "fp32", "--set", "order=0", "--json",
    )  # fmt: skip
    (cache,) = json.loads(out)["caches"]
    assert cache["branches"] == 1
    assert cache["total_bytes"] == 60 * (64 * 64 + 100) * 3072 * 4


def test_memory_shows_every_site_in_80_columns_and_what_fits(forecastcache, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = forecastcache("memory", FLUX, "--height", 32, "--width", 32, "--gpu", "8.7 MiB")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == [*SITES, "tokens"]
    assert [row.split("│")[5].strip() for row in rows] == ["yes", "yes", "yes", "no", "no"]
    text = " ".join(out.split())
    assert "given: height 32, width 32; assumed: batch 1, text tokens 512" in text
    assert "text_encoder_2" in text
    assert "module does not fit: site='block' (" in text
    _, out, _ = forecastcache(
        "memory", FLUX, "--height", 32, "--width", 32, "--gpu", "8.7MiB", "--json"
    )
    figures = json.loads(out)
    assert [cache["fits"] for cache in figures["caches"]] == [True, True, True, False, False]
    for cache in figures["caches"]:
        assert cache["needed_bytes"] + cache["remaining_bytes"] == figures["gpu_bytes"]
        assert bool(cache["remedies"]) is not cache["fits"]
    assert figures["sizes"]["height"] == {
        "name": "height", "value": 32, "asked": None, "given": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("site", "kept"), [("block:1-7", "2 spans of blocks"), ("tokens:0.25", "33 modules and norms")]
)
def test_memory_plans_what_is_forecast_of_a_partly_computed_step(forecastcache, site, kept):
    code, out, _ = forecastcache("memory", FLUX, "--site", site)
    assert code == 0
    assert kept in " ".join(out.split())


@pytest.mark.parametrize("predictor", [(), ("--predictor", "learned")])
@pytest.mark.parametrize("count", [None, 9])
def test_memory_takes_the_depth_of_a_calibration(forecastcache, predictor, count):
    computed = () if count is None else ("--computed", count)
    code, out, _ = forecastcache(
        "memory", FLUX, "--calibration", FLUX, *predictor, *computed, "--json"
    )
    assert code == 0
    (cache,) = json.loads(out)["caches"]
    goal = None if count is None else Goal.of(computed=count)
    schedule, rows = chosen_by(Calibration.load(FLUX), goal)
    assert cache["site"] == "output"
    assert cache["depth"] == rows.depth
    assert f"{len(schedule.computed(50))} of 50 steps computed" in json.loads(out)["predictor"]


def test_a_hub_that_cannot_be_reached_is_named_once(forecastcache, monkeypatch, caplog):
    import huggingface_hub
    from huggingface_hub.utils import _http

    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(_http.time, "sleep", lambda _: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    code, out, err = forecastcache("memory", "nobody/no-such-model")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert "cannot be reached" in err
    assert logger.level == level
    assert not [it for it in caplog.records if it.name.startswith("huggingface_hub")]
    assert next(planned_model("zoo:dit-digits").parameters()).is_meta


def test_it_is_drawn_where_asked(forecastcache, tmp_path):
    for name in ("memory.png", "memory.svg"):
        code, out, err = forecastcache(
            "memory", "zoo:dit-digits", "--gpu", "10MiB", "--chart", tmp_path / name
        )
        assert code == 0, err
        assert out.splitlines()[-1] == str(tmp_path / name)
    drawn = (tmp_path / "memory.svg").read_text()
    assert all(word in drawn for word in ("output", "weights", "activations", "GPU 10 MiB"))
    code, _, err = forecastcache("memory", "zoo:dit-digits", "--chart", tmp_path)
    assert code == 2
    assert "is a folder: give the name of a file in it" in err
