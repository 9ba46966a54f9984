"""`attach` by a calibration, by a set-up, and by parts."""

from __future__ import annotations

import inspect

import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.fits import SizeFits
from forecastcache.calibration.gram import RIDGE, open_loop_rows
from forecastcache.calibration.identity import Identity, versions
from forecastcache.errors import AttachError, OptionError

from ..calibration.toys import STEPS, Toy, curved, fit_of, rolls_of, starts
from ..conftest import sample

ROLLED = {3: ((0, 5, 11), 31.0), 4: ((0, 4, 8, 11), 40.0)}  # steps and dB by count


@pytest.fixture(scope="module")
def calibration() -> fc.Calibration:
    pipe = Toy(curved)
    recording, _ = rolls_of(pipe, starts(4))
    fits = tuple(
        fit_of(steps, open_loop_rows(recording.gram, steps, None, RIDGE), psnr)
        for steps, psnr in ROLLED.values()
    )
    identity = Identity.of(pipe, STEPS, None)
    return fc.Calibration(identity, (SizeFits("6", recording, fits),), versions())


def computed(pipe: Toy, **asked) -> tuple[int, ...]:
    with fc.attach(pipe, **asked) as session:
        pipe(starts(1))
    return tuple(it.step.index for it in session.calls if it.was_computed)


@pytest.mark.parametrize(
    ("asked", "count"),
    [({"speedup": 3}, 4), ({"computed": 3}, 3), ({"psnr": 35}, 4), ({"psnr": 20}, 3), ({}, 3)],
)
def test_a_calibration_gives_what_a_goal_asks_for(calibration, asked, count):
    assert computed(Toy(curved), calibration=calibration, **asked) == ROLLED[count][0]


def test_a_calibration_may_be_a_file_and_is_what_choose_gives(calibration, tmp_path):
    calibration.save(tmp_path / "cal")
    one, other = Toy(curved), Toy(curved)
    with fc.attach(one, calibration=tmp_path / "cal", speedup=3, dtype=torch.float64):
        made = one(starts(2)).images
    with fc.attach(other, *calibration.choose(4), dtype=torch.float64):
        assert torch.equal(made, other(starts(2)).images)


def test_a_set_up_is_its_parts(pipe):
    plain = sample(pipe, steps=6)
    config = fc.Config("every:3,first=1", "taylor", site="module", dtype="bfloat16")
    with fc.attach(pipe, config) as session:
        made = sample(pipe, steps=6)
    bytes_held = session.report().cache_bytes
    with fc.attach(
        pipe, fc.Every(3, first=1), fc.Taylor(), site="module", dtype=torch.bfloat16
    ) as by_parts:
        assert torch.equal(made, sample(pipe, steps=6))
    assert by_parts.report().cache_bytes == bytes_held
    assert not torch.equal(made, plain)


@pytest.mark.parametrize(
    ("parts", "asked", "complaint"),
    [
        (("every:3", "taylor"), {"speedup": 5}, "speedup chooses from a calibration"),
        (("every:3", "taylor"), {"calibration": "zoo:x"}, "leave out schedule and predictor"),
        ((), {"calibration": "zoo:x", "site": "module"}, "schedule and predictor: leave out site"),
        ((), {"calibration": "zoo:dit-digits", "speedup": 2, "psnr": 9}, "speedup and psnr each"),
        ((fc.Config("every:3", "taylor"), "reuse"), {}, "a Config gives .*: leave out predictor"),
        (
            (fc.Config("every:3", "taylor"),),
            {"site": "output", "budget": 9},
            "a Config gives all of the set-up: leave out site and budget",
        ),
    ],
)
def test_what_is_said_twice_is_refused(parts, asked, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        fc.attach(Toy(curved), *parts, **asked)
    assert "\n" not in str(error.value)


def test_a_psnr_that_nothing_was_rolled_at_names_the_most(calibration):
    with pytest.raises(OptionError, match=r"psnr=50 is not to be had.*40.0 dB is the most"):
        fc.attach(Toy(curved), calibration=calibration, psnr=50)


def test_parts_that_are_missing_are_asked_for():
    for parts in ((), ("every:3",)):
        with pytest.raises(AttachError, match=r"write attach\(pipe, schedule, predictor\)"):
            fc.attach(Toy(curved), *parts)
    with pytest.raises(TypeError, match="sight"):
        fc.attach(Toy(curved), "every:3", "taylor", sight="output")


def test_its_first_signature_is_the_engines():
    """Whoever calls it by parts is told of every option that there is."""
    from forecastcache.accelerated import attach as public
    from forecastcache.engine.attach import attach as engine

    (text,) = [it for it in inspect.getsource(public).split("@overload") if "predictor:" in it][:1]
    for name, parameter in inspect.signature(engine).parameters.items():
        assert f"    {name}: {parameter.annotation}" in text.replace('"', "'")
