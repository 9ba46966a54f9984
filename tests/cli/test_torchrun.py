"""Commands that torchrun starts several times."""

from __future__ import annotations

import json

import pytest

from ..processes import torchrun

TIMED = ("seconds", "speedup", "peak_bytes", "cache_bytes", "picture", "learned")
RUN = ("run", "zoo:dit-digits", "--steps", 8, "--count", 5, "--computed", 4, "--json", "--out")


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_run_shares_the_samples_and_says_once_what_one_process_says(
    forecastcache, tmp_path, monkeypatch, size
):
    kept = tmp_path / "kept"
    done = torchrun(size, "-m", "forecastcache", *RUN, tmp_path / "many", FORECASTCACHE_HOME=kept)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "many").iterdir())) == 1
    assert len(list(kept.glob("*.safetensors"))) == 1
    many = json.loads(done.stdout)
    assert not many["learned"]["kept_before"]  # the first process learns, the others find it
    monkeypatch.setenv("FORECASTCACHE_HOME", str(kept))
    code, out, _ = forecastcache(*RUN, tmp_path / "one")
    assert code == 0
    one = json.loads(out)
    assert one["learned"]["kept_before"]
    for step, missed in one["learned"]["drift"].items():
        assert many["learned"]["drift"][step] == pytest.approx(missed, rel=1e-5)
    for name, figure in one.items():
        rounded = isinstance(figure, float) or name == "psnr_db_by_sample"
        if rounded and not name.startswith(TIMED):
            assert many[name] == pytest.approx(figure, rel=1e-5), name
        elif not name.startswith((*TIMED, "latent_psnr_by_step")):
            assert many[name] == figure, name


@pytest.mark.slow
def test_more_processes_than_samples_end_in_one_line_each(tmp_path):
    asked = ("run", "zoo:dit-digits", "--steps", 8, "--count", 1, "--out", tmp_path / "out")
    done = torchrun(2, "-m", "forecastcache", *asked)
    assert done.returncode != 0
    assert "2 processes cannot share 1 samples: start fewer, or ask for more" in done.stderr
    assert not (tmp_path / "out").exists()
