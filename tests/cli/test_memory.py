"""forecastcache memory: what a cache will hold."""

from __future__ import annotations

import json


def test_memory_says_what_flux_needs(forecastcache):
    arguments = (
        "memory", "flux.1-dev", "--height", 1000, "--width", 1000, "--predictor", "taylor",
        "--order", 2, "--site", "module",
    )  # fmt: skip
    code, out, _ = forecastcache(*arguments)
    assert code == 0
    assert "in all 6,102,024,192 bytes, 5,819 MiB" in out
    code, out, _ = forecastcache(*arguments, "--json")
    figures = json.loads(out)
    assert code == 0
    assert figures["total_bytes"] == 6_102_024_192
    assert len(figures["sites"]) == 19 * 3 + 38
    assert sum(site["bytes"] for site in figures["sites"]) == figures["total_bytes"]


def test_memory_takes_a_depth_a_dtype_and_text(forecastcache):
    _, out, _ = forecastcache(
        "memory", "hunyuanvideo", "--height", 480, "--width", 640, "--frames", 65, "--depth", 9,
        "--json",
    )  # fmt: skip
    assert json.loads(out)["total_bytes"] == 23_500_800
    _, out, _ = forecastcache(
        "memory", "qwen-image", "--site", "block", "--no-guidance", "--text-tokens", 100,
        "--storage-dtype", "fp32", "--set", "order=0", "--json",
    )  # fmt: skip
    figures = json.loads(out)
    assert figures["branches"] == 1
    assert figures["total_bytes"] == 60 * (64 * 64 + 100) * 3072 * 4
