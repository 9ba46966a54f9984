"""forecastcache demo: the story of one line, told by a pipeline of the zoo."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image


def test_it_learns_from_four_pictures_and_shows_what_came_of_it(
    forecastcache, tmp_path, monkeypatch
):
    monkeypatch.setenv("FORECASTCACHE_HOME", str(tmp_path / "kept"))
    code, out, err = forecastcache("demo", "--steps", 10, "--count", 2, "--out", tmp_path)
    lines = out.strip().splitlines()
    assert code == 0, err
    assert "fast = fc.accelerate(pipe, speedup=5)" in lines
    timed = [line for line in lines if re.match(r" +\d+\.\d\d s  \w", line)]
    assert len(timed) == 4 + 1 + 2 + 2  # a picture each, with its prompt, and the fit
    assert "FluxPipeline, speedup 5: learned" in lines
    assert any(line.startswith("computed 2 of 10 steps: 0 ") for line in lines)
    with Image.open(Path(lines[-1])) as picture:
        assert picture.width > 500
    assert not (tmp_path / "kept").exists()  # it tells the same story the next time
