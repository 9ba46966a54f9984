"""Files: what is written comes back, and what is damaged is refused in words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.numpy import save_file

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, Part
from forecastcache.calibration.io import ARRAYS
from forecastcache.calibration.recording import Recording
from forecastcache.errors import CalibrationError
from forecastcache.predictors.row import Row

finite = st.floats(-1e6, 1e6)
names = st.text(min_size=1, max_size=9)


@st.composite
def recordings(draw) -> Recording:
    steps, branches = draw(st.integers(2, 6)), draw(st.integers(1, 2))

    def array(*shape: int) -> np.ndarray:
        return draw(arrays(np.float64, shape, elements=finite))

    return Recording(
        times=array(steps), gram=array(steps, steps), branches=array(branches, steps, steps),
        products=array(steps, 3, 3), prompts=draw(st.integers(2, 99)),
        elements=draw(st.integers(1, 10**9)), precision=draw(st.floats(0, 1e-2)),
    )  # fmt: skip


@st.composite
def fits(draw, steps: int) -> Fit:
    later = draw(st.sets(st.integers(1, steps - 1), max_size=steps - 2))
    computed = (0, *sorted(later))
    rows = []
    for target in sorted({*range(steps)} - {*computed}):
        known = tuple(step for step in computed if step < target)
        weights = draw(st.lists(finite, min_size=len(known), max_size=len(known)))
        rows.append(Row(target=target, computed=known, weights=tuple(weights)))
    return Fit(computed=computed, rows=tuple(rows), psnr_db=draw(st.floats(-9, 206)))


@st.composite
def calibrations(draw) -> Calibration:
    def size() -> SizeFits:
        recording = draw(recordings())
        made = draw(st.lists(fits(recording.steps), max_size=2))
        return SizeFits(draw(names), recording, tuple(made))

    identity = Identity(
        model=Part(name=draw(names), config=draw(names)),
        scheduler=Part(name=draw(names), config=draw(names)),
        steps=draw(st.integers(2, 99)), guidance=draw(st.none() | st.floats(0, 99)),
    )  # fmt: skip
    sizes = tuple(size() for _ in range(draw(st.integers(1, 2))))
    return Calibration(identity, sizes, draw(st.dictionaries(names, names, max_size=2)))


@settings(max_examples=60)
@given(calibrations())
def test_what_is_saved_comes_back(calibration):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.cal"
        calibration.save(path)
        again = Calibration.load(path)
    assert (again.identity, again.versions) == (calibration.identity, calibration.versions)
    for mine, its in zip(calibration.sizes, again.sizes, strict=True):
        assert (mine.name, mine.fits) == (its.name, its.fits)
        for name in ARRAYS:
            np.testing.assert_array_equal(
                getattr(mine.recording, name), getattr(its.recording, name)
            )
        for name in ("prompts", "elements", "precision"):
            assert getattr(mine.recording, name) == getattr(its.recording, name)


@settings(max_examples=200)
@given(data=st.data())
def test_whatever_is_damaged_is_refused_in_words_or_read_as_it_is(data):
    """Cut off, or any byte another one: no error but ours comes out."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.cal"
        WHOLE.save(path)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans(), label="cut off"):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        with suppress(CalibrationError):
            assert Calibration.load(path).sizes


def test_a_file_that_lacks_an_array_is_refused(tmp_path):
    WHOLE.save(tmp_path / "whole.cal")
    with safe_open(tmp_path / "whole.cal", "numpy") as file:
        metadata = file.metadata()
    save_file({"0.times": np.ones(3)}, tmp_path / "part.cal", metadata)
    with pytest.raises(CalibrationError, match="part.cal is damaged: it lacks arrays; calibrate"):
        Calibration.load(tmp_path / "part.cal")


WHOLE = Calibration(
    Identity(model=Part(name="M", config="c"), scheduler=Part(name="S", config="d"), steps=3,
             guidance=None),
    (
        SizeFits(
            "64x64",
            Recording(np.ones(3), np.eye(3), np.ones((1, 3, 3)), np.ones((3, 3, 3)), 4, 12, 1e-7),
            (Fit(computed=(0, 2), rows=(Row(target=1, computed=(0,), weights=(1.0,)),),
                 psnr_db=30.0),),
        ),
    ),
    {"torch": "2"},
)  # fmt: skip
