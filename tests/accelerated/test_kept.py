"""What is kept, where several processes keep it at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

import forecastcache as fc
from forecastcache.accelerated import kept
from forecastcache.accelerated.kept import Kept
from forecastcache.accelerated.scope import Scope
from forecastcache.accelerated.seen import NEWEST, Seen, typical
from forecastcache.errors import ForecastCacheWarning

from ..conftest import make_pipeline
from .test_accelerate import accelerated, call


@pytest.fixture(scope="module")
def calibration(tmp_path_factory) -> fc.Calibration:
    """One of two fits."""
    folder = tmp_path_factory.mktemp("learned")
    for count in (3, 4):
        call(accelerated(make_pipeline(), folder, computed=count, pictures=1))
    (file,) = folder.glob("*.safetensors")
    return fc.Calibration.load(file)


def test_two_that_learn_at_once_both_keep_what_they_learned(tmp_path):
    # Neither finds anything when it starts; each is a process of its own as far as files go.
    one, other = (accelerated(make_pipeline(), tmp_path, computed=n) for n in (3, 4))
    for label in (1, 2):
        call(one, label)
        call(other, label)
    third = accelerated(make_pipeline(), tmp_path, computed=3)
    call(third, 3)
    assert third.summary().state == "learned"
    (file,) = tmp_path.glob("*.safetensors")
    assert {len(it.computed) for it in fc.Calibration.load(file).fits} == {3, 4}


def test_what_another_learns_meanwhile_is_found(tmp_path):
    """Before as many pictures are recorded as it would learn from itself."""
    one, other = (accelerated(make_pipeline(), tmp_path, computed=3, pictures=2) for _ in "ab")
    call(other, 1)
    for label in (1, 2):
        call(one, label)
    call(other, 2)
    done = other.summary()
    assert (done.plain_calls, done.fast_calls, done.state) == (1, 1, "learned")
    assert other._newest is not None
    assert other._newest.learning.samples == 0  # what it had recorded is gone


def test_of_many_calls_the_seconds_of_the_newest_are_kept():
    seen = Seen()
    for second in range(NEWEST + 50):
        seen.note_plain(second)
    assert (seen.plain_calls, len(seen.plain)) == (NEWEST + 50, NEWEST)
    assert typical(seen.plain) == 50 + (NEWEST + 1 - 1) / 2


def test_a_file_is_whole_whoever_writes_it_meanwhile(calibration, tmp_path):
    scope = Scope({"pipeline": "Toy"})

    def put(_: int) -> None:
        Kept(tmp_path).put(scope, calibration)

    def get(_: int) -> fc.Calibration | None:
        return Kept(tmp_path).get(
            scope, lambda _: True
        )  # warns, which is an error here, of what is not whole

    put(0)
    with ThreadPoolExecutor(4) as threads:
        writes, reads = threads.map(put, range(20)), threads.map(get, range(20))
        assert list(writes) == [None] * 20
        assert all(it is not None and it.fits == calibration.fits for it in reads)
    assert sorted(it.suffix for it in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_what_is_written_at_the_same_time_is_kept_of_both(calibration, tmp_path, monkeypatch):
    (size,) = calibration.sizes
    parts = [replace(calibration, sizes=(replace(size, fits=(fit,)),)) for fit in size.fits]
    assert len(parts) == 2
    read = kept._with_others

    def read_slowly(*arguments) -> fc.Calibration:
        found = read(*arguments)
        time.sleep(0.02)  # in which the other one reads, unless it waits
        return found

    monkeypatch.setattr(kept, "_with_others", read_slowly)
    for turn in range(3):
        scope, both = Scope({"pipeline": "Toy", "turn": turn}), Barrier(2)

        def put(part: fc.Calibration, scope: Scope = scope, both: Barrier = both) -> None:
            both.wait()
            Kept(tmp_path).put(scope, part)

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(put, parts)) == [None] * 2
        found = fc.Calibration.load(Kept(tmp_path).path(scope))
        assert {it.computed for it in found.fits} == {it.computed for it in size.fits}
    assert not list(tmp_path.glob("*.lock"))


def test_what_is_of_another_scheduler_is_set_aside(calibration, tmp_path):
    pipe = make_pipeline()
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, steps_offset=1)
    call(accelerated(pipe, tmp_path, pictures=1))
    (file,) = tmp_path.glob("*.safetensors")
    calibration.save(file)
    again = accelerated(pipe, tmp_path)
    with pytest.warns(ForecastCacheWarning, match="is of another model or scheduler.; it is now"):
        call(again)
    assert again.summary().state == "1 of 2 pictures recorded"
