"""Several processes share a calibration, and come to what one comes to."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.distributed import ProcessGroup, Shard, process_group
from forecastcache.calibration.sealed import read_arrays, write_arrays
from forecastcache.errors import CalibrationError

from ..processes import finish, start, torchrun
from . import worker

MODULE = "tests.calibration.worker"


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "dit.cal"
    worker.main(out, dies_at=None)
    return out


@pytest.mark.parametrize(
    "size", [2, *(pytest.param(size, marks=pytest.mark.slow) for size in (3, 4))]
)
def test_any_number_of_processes_writes_the_same_file(alone, tmp_path, size):
    out = tmp_path / "dit.cal"
    ended = finish(start(size, MODULE, out))
    assert [code for code, _ in ended] == [0] * size, ended
    one, many = Calibration.load(alone), Calibration.load(out)
    for name in ("gram", "branches", "products"):
        np.testing.assert_allclose(
            getattr(many.recording, name), getattr(one.recording, name), rtol=1e-10
        )
    assert many.recording.prompts == one.recording.prompts == worker.COUNT
    assert [fit.computed for fit in many.fits] == [fit.computed for fit in one.fits]
    for mine, its in zip(many.fits, one.fits):
        assert mine.latent_psnr_db == pytest.approx(its.latent_psnr_db, rel=1e-10)
        for a, b in zip(mine.rows, its.rows):
            np.testing.assert_allclose(a.weights, b.weights, rtol=1e-10)
    assert [path.name for path in tmp_path.iterdir()] == ["dit.cal"]


@pytest.mark.slow
def test_one_that_dies_ends_the_others_and_loses_no_finished_prompt(alone, tmp_path):
    out = tmp_path / "dit.cal"
    (code, said), (died, _) = finish(start(2, MODULE, out, 2))
    assert (code, died) == (2, -9)
    assert "process 1 has ended before the work was done" in said
    assert not out.exists()
    parts = tmp_path / "dit.cal.parts"
    # Two by the one that lives, one (told as 2 of 4) by the one that died.
    recorded = sorted(parts.glob("*.safetensors"))
    assert len(recorded) == 3
    header, mark = read_arrays(recorded[0])
    write_arrays(recorded[0], header, {**mark, "gram": 2 * mark["gram"]})  # is it taken as it is?
    ended = finish(start(2, MODULE, out))
    assert [code for code, _ in ended] == [0, 0], ended
    gram = Calibration.load(alone).recording.gram
    np.testing.assert_allclose(
        Calibration.load(out).recording.gram, gram + mark["gram"], rtol=1e-10
    )


@pytest.mark.slow
def test_torchrun_ends_the_others_and_names_the_one_that_died(tmp_path):
    ended = torchrun(2, "-m", MODULE, tmp_path / "dit.cal", 2)
    assert ended.returncode != 0
    assert re.search(r"rank +: 1 .*\n +exitcode +: -9", ended.stderr)
    assert not (tmp_path / "dit.cal").exists()
    assert list((tmp_path / "dit.cal.parts").glob("*.safetensors"))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_a_group_shares_all_parts_and_none_twice(parts, size, seed):
    every = list(range(parts))
    if size > parts:
        with pytest.raises(CalibrationError, match=f"{size} processes cannot share {parts} parts"):
            ProcessGroup(0, size).own(every)
        return
    shares = [ProcessGroup(rank, size).own(every) for rank in range(size)]
    assert sorted(part for share in shares for part in share) == every
    assert all(shares)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_shard_sums_over_its_parts(sizes):
    numbers = np.arange(float(sum(sizes)))
    shard = Shard(tuple(sizes), len(sizes))
    assert shard.sum(lambda part: numbers[part].sum()) == numbers.sum()


def test_each_process_has_a_device_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert ProcessGroup(3, 8).device("cuda") == "cuda:3"
    assert ProcessGroup(3, 8).device("cuda:0") == "cuda:0"
    assert ProcessGroup(3, 8).device("cpu") == "cpu"
    assert ProcessGroup().device("cuda") == "cuda"


def test_alone_nothing_is_called_together(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as one:
        assert (one.rank, one.size, one.is_main) == (0, 1, True)
        one.wait()
